/** The core of one `Telemetry`: turns events into queued text, and sees to their delivery. */
import { Buffer } from './buffer.js';
import { type Prepared, type Scope } from './events.js';
import type { Config } from './options.js';
import { Preflight } from './preflight.js';
import { Receipt } from './receipt.js';
import { Reports } from './reports.js';
import { Sender } from './sender.js';
export declare class Recorder {
    #private;
    readonly config: Config;
    readonly reports: Reports;
    readonly buffer: Buffer;
    readonly sender: Sender;
    readonly preflight: Preflight;
    /** What an event outside any session belongs to. */
    readonly unsessioned: Scope;
    constructor(config: Config);
    /** Queue the event that `make` gives; what it throws is reported, and its receipt says so. */
    record(make: () => Prepared): Receipt;
    hasUnsettled(): boolean;
    settle(timeoutSeconds: number | null): Promise<boolean>;
    /** Deliver what can be delivered in time, give up and count the rest; whether nothing was lost. */
    close(timeoutSeconds: number): Promise<boolean>;
}
