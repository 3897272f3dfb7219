/** HTTP to the gateway: one request, one bounded answer. What a failure means is in its type. */
import { type Bytes } from './bytes.js';
import type { Config } from './options.js';
import { Verdict } from './verdict.js';
/** A request that did not achieve what it was for. */
export declare class DeliveryFailed extends Error {
}
/** The server refuses this request and will refuse it again (4xx, or a redirect); `content` says more. */
export declare class Refused extends DeliveryFailed {
    readonly status: number;
    readonly content: string;
    constructor(reason: string, status: number, content: string);
}
/**
 * The request may succeed later. `retryAfterSeconds` is the server's wish, if it had one. `suspicious`: the request
 * itself may be what the server fails on, so that trying for ever would hold up everything behind it.
 */
export declare class NotNow extends DeliveryFailed {
    readonly retryAfterSeconds: number | null;
    readonly suspicious: boolean;
    constructor(reason: string, retryAfterSeconds?: number | null, suspicious?: boolean);
}
/** No connection, or one that broke before the answer was complete. */
export declare class Unreachable extends NotNow {
}
/** The content is not an answer of the gateway (a captive portal's page, a truncated body). */
export declare class Unreadable extends Error {
}
/** A request body as it goes out: the same bytes at every attempt. */
export interface Body {
    readonly content: Bytes;
    readonly headers: Readonly<Record<string, string>>;
}
/** What became of one event, with its verdict, and what was wrong with either. */
export interface Fate {
    readonly status: 'accepted' | 'rejected' | 'dropped';
    readonly verdict: Verdict | null;
    readonly error: string | null;
}
/** A verdict before the call: whether its budget is held, and whether earlier calls were looked at. */
export interface Foreseen {
    readonly verdict: Verdict;
    readonly held: boolean;
    readonly lookedBack: boolean;
}
/** A JSON body, gzipped where it is longer than `compressOverBytes`. */
export declare function jsonBody(text: string, compressOverBytes?: number | null): Promise<Body>;
/** Asks one gateway, without redirects and without cookies. */
export declare class Transport {
    #private;
    private readonly config;
    constructor(config: Pick<Config, 'baseUrl' | 'apiKey' | 'fetch'>);
    /** The whole answer's content (2xx). @throws Refused 3xx or 4xx. @throws NotNow anything that may pass. */
    request(method: 'POST' | 'DELETE', path: string, body: Body | null, timeoutSeconds: number): Promise<string>;
    /** Hands a small body to the browser, which sends it even if the page ends; nobody hears what becomes of it. */
    farewell(path: string, body: Body): void;
}
/** `Retry-After` (RFC 9110, section 10.2.3) as seconds from now, 0 to 300; null: none, or not to be read. */
export declare function retryAfterSeconds(header: string | null, now?: number): number | null;
/**
 * The fate of each of `eventIds`, in their order.
 *
 * A result counts for the event it names; one that names none counts by its position. An event without a result was
 * not confirmed, so it is reported as rejected rather than hoped for.
 *
 * @throws Unreadable it is not of the form `{"results":[{"status":…}]}`.
 */
export declare function readFates(content: string, eventIds: readonly string[]): Fate[];
/**
 * A pre-flight's answer `{"valid":…,"validation":{…}}`.
 *
 * @throws Unreadable there is none, or it contradicts itself.
 */
export declare function readForeseen(content: string): Foreseen;
