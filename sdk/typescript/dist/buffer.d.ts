import type { Config } from './options.js';
import type { Receipt } from './receipt.js';
/** An event as it goes on the wire, its length in bytes, when it was recorded, and its receipt. */
export interface Entry {
    readonly event: string;
    readonly bytes: number;
    readonly recordedAt: number;
    readonly receipt: Receipt;
}
/** Counts since `Telemetry` was made; `invalid` were never recorded, `retries` are attempts that were repeated. */
export interface Stats {
    readonly recorded: number;
    readonly accepted: number;
    readonly rejected: number;
    readonly dropped: number;
    readonly pending: number;
    readonly invalid: number;
    readonly retries: number;
}
export declare class Buffer {
    #private;
    private readonly config;
    recorded: number;
    accepted: number;
    rejected: number;
    dropped: number;
    /** Of the dropped: those that no recorded event has told the server about yet. */
    undeclared: number;
    closed: boolean;
    constructor(config: Config);
    get pending(): number;
    /** Everything that has no fate yet, the oldest first. */
    get unsettled(): readonly Entry[];
    /** Queue an event; null, or why it was dropped. `declares`: the drops that it tells the server about. */
    put(entry: Entry, declares: number): string | null;
    /** Milliseconds until a batch is due: 0 at once, null where there is nothing to send. */
    millisLeft(): number | null;
    /** The next batch, now in flight. */
    take(): readonly Entry[];
    /** Enter the fates of the batch taken last. */
    settle(fates: {
        readonly accepted: number;
        readonly rejected: number;
        readonly dropped: number;
    }): void;
    /** Make everything recorded until now due. */
    hurry(): void;
    /** Wait until every event recorded before this call has its fate; whether that came in time. */
    settled(timeoutSeconds: number | null): Promise<boolean>;
    /** Give up what is still queued. */
    abandon(): readonly Entry[];
}
