import type { Config } from './options.js';
import type { Snapshot } from './plain.js';
import type { Reports } from './reports.js';
import { type Transport } from './transport.js';
/** What has been recorded, and may not have arrived. */
export interface Earlier {
    hasUnsettled(): boolean;
    /** Send it and wait; whether all has arrived. */
    settle(timeoutSeconds: number): Promise<boolean>;
}
export interface Question {
    readonly pactId: string | null;
    /** Why the pact that was meant has no id. */
    readonly pactFault: string | null;
    readonly agentId: string;
    readonly sessionId: string;
    readonly tool: string;
    readonly params: Snapshot;
    readonly reservationId: string | null;
}
/** Asks before a call, and refuses what the pact forbids at `blockOn` or graver. */
export declare class Preflight {
    #private;
    private readonly config;
    private readonly transport;
    private readonly reports;
    private readonly earlier;
    constructor(config: Config, transport: Transport, reports: Reports, earlier: Earlier);
    /**
     * Resolves if the call may go ahead; with a `reservationId`, what it takes of budgets is then held under this id.
     *
     * @throws PactViolation it breaks the pact at the severity of `blockOn` or graver.
     * @throws PreflightUnavailable nobody can say, and `preflightUnavailable` is `block`.
     */
    check(question: Question): Promise<void>;
    /** Have a reservation cancelled, in the background. If that fails, it lapses by itself. */
    giveBack(agentId: string, reservationId: string): void;
}
