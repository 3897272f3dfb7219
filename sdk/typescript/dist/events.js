/** The four events as they go on the wire: completed, checked, and encoded once. */
import { checkedUuid, uuid7 } from './ids.js';
import { text } from './plain.js';
import { momentMicros } from './report.js';
/** Metadata by which an event tells the ledger how many events before it this process lost. */
export const DROPS_KEY = 'pactstream_dropped_events';
/** Metadata of a tool call whose arguments had to be shortened or replaced. */
export const INEXACT_KEY = 'pactstream_inexact_params';
/** Uncompressed; the gateway takes a mebibyte. */
export const MAX_EVENT_BYTES = 900_000;
const MAX_NAME = 128;
const MAX_TEXT = 65_536;
const MAX_METADATA_KEYS = 62; // the gateway takes 64, and two are ours
const MAX_METADATA_VALUE = 2_048;
const OUTCOMES = {
    session_start: [],
    tool_call: ['success', 'error', 'denied', 'refused'],
    response: ['success', 'refusal', 'partial', 'error'],
    session_end: ['success', 'failure', 'aborted', 'timeout'],
};
/**
 * An event with its id.
 *
 * @throws TypeError the gateway would not take it.
 */
export function prepare(type, scope, context, fields, params = null, eventId = uuid7()) {
    const judged = type === 'tool_call' || type === 'session_start';
    const checked = Object.entries(fields).map(([name, value]) => [name, field(type, name, value)]);
    const inexact = params === null || params.exact ? {} : { [INEXACT_KEY]: true };
    const metadata = { ...plainMetadata(context.metadata), ...inexact };
    const members = {
        type,
        sessionId: checkedName('sessionId', context.sessionId ?? scope.sessionId),
        agentId: uuid('agentId', context.agentId) ?? scope.agentId,
        eventId,
        parentEventId: uuid('parentEventId', context.parentEventId),
        roomId: named('roomId', context.roomId ?? scope.roomId),
        pactId: uuid('pactId', context.pactId) ?? (judged ? (scope.pactId ?? undefined) : undefined),
        metadata: Object.keys(metadata).length > 0 ? metadata : undefined,
        ...Object.fromEntries(checked),
    };
    return { eventId, members, params };
}
/** The event as JSON text; `declares` drops are told to the ledger with it. */
export function encode({ members, params }, declares = 0) {
    const metadata = members['metadata'];
    const whole = declares > 0 ? { ...members, metadata: { ...metadata, [DROPS_KEY]: declares } } : members;
    const encoded = JSON.stringify(whole);
    return params === null ? encoded : `${encoded.slice(0, -1)},"params":${params.encoded}}`;
}
/** @throws TypeError it cannot be a name of the wire: empty, longer than 128 characters, control characters. */
export function checkedName(name, value) {
    const fits = typeof value === 'string' && value !== '' && value.length <= MAX_NAME;
    if (fits && !/[\x00-\x1f\x7f]|\p{Surrogate}/u.test(value))
        return value;
    throw new TypeError(`${name} must be 1 to ${MAX_NAME} characters, none of them a control character`);
}
/** As the gateway takes them: at most 62; numbers, texts, truth values and null, anything else as text. */
function plainMetadata(metadata) {
    const given = Object.entries(metadata ?? {}).filter(([, value]) => value !== undefined);
    const pairs = given.slice(0, MAX_METADATA_KEYS);
    return Object.fromEntries(pairs.map(([key, value]) => [text(key, MAX_NAME), primitive(value)]));
}
function primitive(value) {
    const kept = value === null || typeof value === 'boolean' || (typeof value === 'number' && Number.isFinite(value));
    return kept ? value : text(value, MAX_METADATA_VALUE);
}
function field(type, name, value) {
    if (name.endsWith('At'))
        return moment(name, value);
    if (value === undefined || value === null)
        return required(type, name);
    switch (name) {
        case 'tool':
            return checkedName(name, value);
        case 'outcome':
            if (OUTCOMES[type].includes(value))
                return value;
            throw new TypeError(`outcome must be one of ${OUTCOMES[type].join(', ')}, not '${String(value).slice(0, 64)}'`);
        case 'latencyMs':
            return bounded(name, value, 1e12);
        case 'tokenCount':
            if (Number.isInteger(value))
                return bounded(name, value, Number.MAX_SAFE_INTEGER);
            throw new TypeError('tokenCount must be a whole number');
        case 'reservationId':
            return checkedUuid(name, value);
        default:
            return text(value, MAX_TEXT);
    }
}
function required(type, name) {
    const needed = ['tool', 'outcome', ...(type === 'response' ? ['input', 'output'] : [])].includes(name);
    if (needed)
        throw new TypeError(`${name} is missing`);
}
/** RFC 3339; a text with an offset is sent as it stands. */
function moment(name, value) {
    const given = value ?? new Date();
    if (given instanceof Date && !Number.isNaN(given.getTime()))
        return given.toISOString();
    if (momentMicros(given) !== null)
        return given;
    throw new TypeError(`${name} must be a Date, or an ISO 8601 text with an offset`);
}
function bounded(name, value, limit) {
    if (typeof value === 'number' && value >= 0 && value <= limit)
        return value;
    throw new TypeError(`${name} must be a number from 0 to ${limit}`);
}
function uuid(name, value) {
    return value === undefined || value === null ? undefined : checkedUuid(name, value);
}
function named(name, value) {
    return value === undefined || value === null ? undefined : checkedName(name, value);
}
