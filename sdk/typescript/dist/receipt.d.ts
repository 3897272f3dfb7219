/** What every telemetry method returns: the event's id at once, its verdict when the server has answered. */
import type { Verdict } from './verdict.js';
/**
 * - `pending`: in the buffer or on its way;
 * - `accepted`: the server has it durably;
 * - `rejected`: the server refused it for good;
 * - `dropped`: lost on this side (buffer full, closed, given up);
 * - `invalid`: never recorded, the arguments were unusable.
 */
export type Status = 'pending' | 'accepted' | 'rejected' | 'dropped' | 'invalid';
/** The fate of one recorded event. `error` says why it is `rejected`, `dropped` or `invalid`. */
export declare class Receipt {
    #private;
    readonly eventId: string;
    status: Status;
    error: string | null;
    /** @internal `eventId` is the UUIDv7 under which the event is sent; empty if `invalid`. */
    constructor(eventId: string, hurry: () => void);
    /**
     * The server's verdict, waited for up to `timeoutSeconds`. Buffered events are sent at once instead of at the next
     * flush. Null: no pact was in scope, the event did not arrive, or time is up; `status` tells which. Never rejects.
     */
    verdict(timeoutSeconds?: number): Promise<Verdict | null>;
    /** @internal Fixes the fate of the event and wakes whoever waits for it. */
    settle(status: Status, verdict?: Verdict | null, error?: string | null): this;
}
