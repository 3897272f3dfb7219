/** `Telemetry`: what an agent's code holds. */
import type { Stats } from './buffer.js';
import type { EventContext, Scope } from './events.js';
import { type TelemetryOptions } from './options.js';
import type { Receipt } from './receipt.js';
import { Recording, Session, type SessionEndEvent, type SessionOptions } from './session.js';
/** Records an agent's behaviour and delivers it in the background. It never throws into the agent, except `blockOn`. */
export declare class Telemetry extends Recording {
    #private;
    /** @throws TypeError or RangeError an option is of no use. */
    constructor(options: TelemetryOptions);
    /** A session around `work`: records its start and its end, whatever becomes of it; gives what `work` gives. */
    session<R>(options: SessionOptions, work: (session: Session) => R): Promise<Awaited<R>>;
    /** A session to be ended by hand; its start is recorded now. */
    openSession(options?: SessionOptions): Session;
    /** Record the opening of a session; `session()` does this and closes it too. */
    sessionStart({ startedAt, ...context }?: EventContext & {
        readonly startedAt?: Date | string;
    }): Receipt;
    /** Record the end of a session. */
    sessionEnd(event?: SessionEndEvent): Receipt;
    /** Send what is buffered and wait for its fate (null: as long as it takes); whether all of it is settled. */
    flush(timeoutSeconds?: number | null): Promise<boolean>;
    /** Take no more events, deliver those recorded in time, give up (and count) the rest; whether nothing was lost. */
    close(timeoutSeconds?: number): Promise<boolean>;
    /** What has become of the events so far: `recorded === accepted + rejected + dropped + pending`. */
    stats(): Stats;
    protected home(): Scope | null;
}
