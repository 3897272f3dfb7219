/** Delivery in the background: one batch at a time and in order, each until its fate is known. */
import { Buffer, type Entry } from './buffer.js';
import type { Config } from './options.js';
import { type Reports } from './reports.js';
import { NotNow, type Transport } from './transport.js';
export declare class Sender {
    #private;
    private readonly config;
    private readonly buffer;
    private readonly transport;
    private readonly reports;
    retries: number;
    constructor(config: Config, buffer: Buffer, transport: Transport, reports: Reports);
    /** See to it that what is due is sent, now or when its time has come. */
    wake(): void;
    /** Make everything recorded until now due; with `endPause`, end a pause between attempts too. */
    hurry(endPause?: boolean): void;
    /** Give up: no further attempt is made. */
    abandon(): readonly Entry[];
    /** The page may end now: hand what fits to the browser. It stays in the buffer; the pipeline drops repeats by id. */
    farewell(): void;
}
/** How long to wait after the failed `attempt` (from 1): exponential with jitter, or what the server asked for. */
export declare function pauseSeconds(failure: Pick<NotNow, 'retryAfterSeconds'>, attempt: number, config: Pick<Config, 'retryFirstSeconds' | 'retryMaxSeconds'>, random?: number): number;
