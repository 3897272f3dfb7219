/** The settings of one `Telemetry`, checked when it is made: the one moment at which the SDK may throw. */
import type { TelemetryProblem } from './errors.js';
import { type Severity, type Verdict } from './verdict.js';
export interface TelemetryOptions {
    /** The gateway's key for this tenant. */
    readonly apiKey: string;
    /** The gateway, `https://…`; plain `http` is refused for any host but loopback. */
    readonly baseUrl: string;
    /** The agent whose behaviour this is (UUID); a session or an event may name another. */
    readonly agentId: string;
    /** The pact that tool calls are judged against unless a session or a call names another. */
    readonly pactId?: string | null;
    /** Events in one request, 1 to 500; 25 unless given. */
    readonly batchSize?: number;
    /** How long an event waits for its batch to fill (5). */
    readonly flushIntervalSeconds?: number;
    /** Events kept while the gateway cannot be reached (10,000); what does not fit is dropped and counted. */
    readonly maxBufferedEvents?: number;
    /** The same in bytes (64 MiB). */
    readonly maxBufferedBytes?: number;
    /** Called for every judged call. */
    readonly onVerdict?: (eventId: string, verdict: Verdict) => unknown;
    /** Called at most every ten seconds for each kind, but for every event that the server rejects by itself. */
    readonly onError?: (problem: TelemetryProblem) => unknown;
    /** Ask *before* each instrumented call, and do not call if the pact is broken at this severity or a graver one. */
    readonly blockOn?: Severity | null;
    /** What to do if that verdict cannot be had: `block` (fail closed, unless given) or `allow`. */
    readonly preflightUnavailable?: 'block' | 'allow';
    /** How long an instrumented call waits for that verdict (2). */
    readonly preflightTimeoutSeconds?: number;
    /** Have what a call takes of the pact's budgets held from that verdict until the call's event is judged. */
    readonly reserve?: boolean;
    /** How long one attempt at delivery may take (10). */
    readonly requestTimeoutSeconds?: number;
    /** How long `close` and the end of the process wait for the last events (5). */
    readonly closeTimeoutSeconds?: number;
    /** The pause after the first failed attempt (0.5); it doubles from there, with jitter. */
    readonly retryFirstSeconds?: number;
    /** The longest such pause (30). `Retry-After` is honoured up to five minutes. */
    readonly retryMaxSeconds?: number;
    /** How long to repeat a batch that the server fails on (600); an unreachable server is waited for without limit. */
    readonly retryForSeconds?: number;
    /** Gzip longer request bodies (8,192); null for never. */
    readonly compressOverBytes?: number | null;
    /** Allow plain http to another machine, where the network can read the API key. */
    readonly allowInsecure?: boolean;
    /** In place of the global `fetch`. */
    readonly fetch?: typeof fetch;
}
/** `TelemetryOptions` without gaps. */
export type Config = Required<Omit<TelemetryOptions, 'allowInsecure'>>;
/** @throws TypeError or RangeError a value is of no use. The message never holds the API key. */
export declare function checkedConfig(options: TelemetryOptions): Config;
