/** HTTP to the gateway: one request, one bounded answer. What a failure means is in its type. */
import { utf8 } from './bytes.js';
import { bounded } from './trust.js';
import { Verdict } from './verdict.js';
/** A request that did not achieve what it was for. */
export class DeliveryFailed extends Error {
}
/** The server refuses this request and will refuse it again (4xx, or a redirect); `content` says more. */
export class Refused extends DeliveryFailed {
    status;
    content;
    constructor(reason, status, content) {
        super(reason);
        this.status = status;
        this.content = content;
    }
}
/**
 * The request may succeed later. `retryAfterSeconds` is the server's wish, if it had one. `suspicious`: the request
 * itself may be what the server fails on, so that trying for ever would hold up everything behind it.
 */
export class NotNow extends DeliveryFailed {
    retryAfterSeconds;
    suspicious;
    constructor(reason, retryAfterSeconds = null, suspicious = false) {
        super(reason);
        this.retryAfterSeconds = retryAfterSeconds;
        this.suspicious = suspicious;
    }
}
/** No connection, or one that broke before the answer was complete. */
export class Unreachable extends NotNow {
}
/** The content is not an answer of the gateway (a captive portal's page, a truncated body). */
export class Unreadable extends Error {
}
const MAX_ANSWER_BYTES = 8 * 1024 * 1024;
const MAX_RETRY_AFTER_SECONDS = 300;
const MAX_REASON = 500;
/** The server (or a proxy before it) cannot take anything now; RFC 6585 and RFC 9110, section 15.6. */
const OVERLOADED = [429, 502, 503, 504];
/** A JSON body, gzipped where it is longer than `compressOverBytes`. */
export async function jsonBody(text, compressOverBytes = null) {
    const content = utf8(text);
    const headers = { 'Content-Type': 'application/json' };
    if (compressOverBytes === null || content.length <= compressOverBytes || typeof CompressionStream === 'undefined') {
        return { content, headers };
    }
    const packed = new Blob([content]).stream().pipeThrough(new CompressionStream('gzip'));
    const bytes = new Uint8Array(await new Response(packed).arrayBuffer());
    return { content: bytes, headers: { ...headers, 'Content-Encoding': 'gzip' } };
}
/** Asks one gateway, without redirects and without cookies. */
export class Transport {
    config;
    constructor(config) {
        this.config = config;
    }
    /** The whole answer's content (2xx). @throws Refused 3xx or 4xx. @throws NotNow anything that may pass. */
    async request(method, path, body, timeoutSeconds) {
        const giveUp = new AbortController();
        const timer = setTimeout(() => giveUp.abort(), timeoutSeconds * 1_000);
        let response;
        let content;
        try {
            response = await this.config.fetch(this.config.baseUrl + path, {
                method,
                headers: this.#headers(body),
                body: body === null ? null : body.content,
                signal: giveUp.signal,
                redirect: 'manual',
                credentials: 'omit',
                cache: 'no-store',
                referrerPolicy: 'no-referrer',
            });
            const data = await bounded(response, MAX_ANSWER_BYTES);
            content = data === null ? null : new TextDecoder().decode(data);
        }
        catch (error) {
            if (giveUp.signal.aborted)
                throw new NotNow('no answer in time');
            throw new Unreachable(`no answer: ${this.#safe(causeOf(error))}`);
        }
        finally {
            clearTimeout(timer);
        }
        if (content === null)
            throw new NotNow(`the answer is longer than ${MAX_ANSWER_BYTES} bytes`, null, true);
        return this.#checked(response, content);
    }
    /** Hands a small body to the browser, which sends it even if the page ends; nobody hears what becomes of it. */
    farewell(path, body) {
        const options = { method: 'POST', headers: this.#headers(body), body: body.content, keepalive: true };
        this.config.fetch(this.config.baseUrl + path, { ...options, credentials: 'omit' }).catch(() => undefined);
    }
    #headers(body) {
        return { ...body?.headers, 'X-Pact-Key': this.config.apiKey, Accept: 'application/json' };
    }
    #checked(response, content) {
        const { status } = response;
        if (status >= 200 && status < 300)
            return content;
        const reason = `HTTP ${status}: ${this.#safe(reasonOf(content))}`;
        if (status >= 500 || status === 429) {
            throw new NotNow(reason, retryAfterSeconds(response.headers.get('Retry-After')), !OVERLOADED.includes(status));
        }
        throw new Refused(reason, status, content);
    }
    /** A server's or a runtime's words, fit for a log: short, on one line, without the key. */
    #safe(reason) {
        const withoutKey = reason.replaceAll(this.config.apiKey, '***');
        return withoutKey.slice(0, MAX_REASON).replace(/\p{Cc}|\p{Zl}|\p{Zp}/gu, '\ufffd');
    }
}
/** `Retry-After` (RFC 9110, section 10.2.3) as seconds from now, 0 to 300; null: none, or not to be read. */
export function retryAfterSeconds(header, now = Date.now()) {
    if (header === null)
        return null;
    const given = header.trim();
    // Engines take much for a date: an HTTP-date begins with the day's name.
    const moment = /^[A-Za-z]{3,9},? /.test(given) ? Date.parse(given) : NaN;
    const seconds = /^\d+$/.test(given) ? Number(given) : (moment - now) / 1_000;
    return Number.isNaN(seconds) ? null : Math.min(Math.max(seconds, 0), MAX_RETRY_AFTER_SECONDS);
}
/**
 * The fate of each of `eventIds`, in their order.
 *
 * A result counts for the event it names; one that names none counts by its position. An event without a result was
 * not confirmed, so it is reported as rejected rather than hoped for.
 *
 * @throws Unreadable it is not of the form `{"results":[{"status":…}]}`.
 */
export function readFates(content, eventIds) {
    const { results } = objectIn(content);
    if (!Array.isArray(results))
        throw new Unreadable("the answer is not the gateway's: it has no results");
    const byName = new Map();
    results.forEach((result, position) => {
        const one = isObject(result) ? result : {};
        if (typeof one['status'] !== 'string')
            throw new Unreadable("the answer is not the gateway's: no status");
        const named = typeof one['eventId'] === 'string' ? one['eventId'] : '';
        byName.set(named || (eventIds[position] ?? ''), one);
    });
    return eventIds.map((name) => fate(byName.get(name)));
}
/**
 * A pre-flight's answer `{"valid":…,"validation":{…}}`.
 *
 * @throws Unreadable there is none, or it contradicts itself.
 */
export function readForeseen(content) {
    const { valid, validation, asOf = null, reservation = null } = objectIn(content);
    let verdict;
    try {
        verdict = Verdict.read(validation);
    }
    catch {
        throw new Unreadable("the answer is not the gateway's: it has no verdict");
    }
    if (valid !== verdict.valid) {
        throw new Unreadable('the answer contradicts itself: valid differs from validation.valid');
    }
    return { verdict, held: reservation !== null, lookedBack: asOf !== null };
}
function fate(result) {
    if (result === undefined) {
        return { status: 'rejected', verdict: null, error: "the server's answer does not name this event" };
    }
    const { status, validation = null, error = null } = result;
    // "duplicate" and the like mean that the server has the event: only a rejection is one.
    if (status === 'rejected' || error !== null) {
        return { status: 'rejected', verdict: null, error: JSON.stringify(error).slice(0, MAX_REASON) };
    }
    try {
        return { status: 'accepted', verdict: validation === null ? null : Verdict.read(validation), error: null };
    }
    catch (fault) {
        return { status: 'accepted', verdict: null, error: `its verdict cannot be read: ${fault.message}` };
    }
}
function objectIn(content) {
    try {
        const value = JSON.parse(content);
        if (isObject(value))
            return value;
    }
    catch {
        // Said below.
    }
    throw new Unreadable("the answer is not the gateway's: it is no JSON object");
}
function reasonOf(content) {
    try {
        const { error, code = '', details } = objectIn(content);
        if (typeof error === 'string')
            return `${error} (${code})${details ? ` ${JSON.stringify(details)}` : ''}`;
    }
    catch {
        // A proxy's page, say.
    }
    return content;
}
function causeOf(error) {
    const { message, cause } = error;
    return cause instanceof Error && cause.message !== '' ? cause.message : message;
}
function isObject(value) {
    return typeof value === 'object' && value !== null && !Array.isArray(value);
}
