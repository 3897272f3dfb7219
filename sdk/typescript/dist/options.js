import { checkedUuid } from './ids.js';
import { SEVERITIES } from './verdict.js';
const MAX_BATCH_EVENTS = 500; // the gateway takes no more in one request
/** @throws TypeError or RangeError a value is of no use. The message never holds the API key. */
export function checkedConfig(options) {
    const config = {
        pactId: null,
        batchSize: 25,
        flushIntervalSeconds: 5,
        maxBufferedEvents: 10_000,
        maxBufferedBytes: 64 * 1024 * 1024,
        onVerdict: () => undefined,
        onError: (problem) => console.warn(`telemetry ${problem.kind} (${problem.count}): ${problem.message}`),
        blockOn: null,
        preflightUnavailable: 'block',
        preflightTimeoutSeconds: 2,
        reserve: false,
        requestTimeoutSeconds: 10,
        closeTimeoutSeconds: 5,
        retryFirstSeconds: 0.5,
        retryMaxSeconds: 30,
        retryForSeconds: 600,
        compressOverBytes: 8_192,
        fetch: globalThis.fetch.bind(globalThis),
        ...options,
    };
    check(config);
    const checked = {
        ...config,
        baseUrl: checkedUrl(options.baseUrl, options.allowInsecure === true),
        agentId: checkedUuid('agentId', options.agentId),
        pactId: config.pactId === null ? null : checkedUuid('pactId', config.pactId),
    };
    // Not shown by console.log, nor by whatever else looks at an object's members.
    return Object.defineProperty(checked, 'apiKey', { enumerable: false });
}
function check(config) {
    if (!/^[\x21-\x7e]+$/.test(config.apiKey))
        throw new TypeError('apiKey must be printable ASCII without spaces');
    for (const [name, value] of Object.entries(config)) {
        if (name.endsWith('Seconds') && !(value > 0 && value < 86_400)) {
            throw new RangeError(`${name} must be above 0 and below 86,400, not ${value}`);
        }
    }
    const { batchSize, maxBufferedEvents, maxBufferedBytes, blockOn, preflightUnavailable, reserve } = config;
    if (!(Number.isInteger(batchSize) && batchSize >= 1 && batchSize <= MAX_BATCH_EVENTS)) {
        throw new RangeError(`batchSize must be 1 to ${MAX_BATCH_EVENTS}, not ${batchSize}`);
    }
    if (!(maxBufferedEvents >= batchSize))
        throw new RangeError('maxBufferedEvents must be at least batchSize');
    if (!(maxBufferedBytes >= 1))
        throw new RangeError('maxBufferedBytes must be positive');
    if (blockOn !== null && !SEVERITIES.includes(blockOn)) {
        throw new TypeError(`blockOn must be one of ${SEVERITIES.join(', ')} or null, not '${blockOn}'`);
    }
    if (reserve && blockOn === null)
        throw new TypeError('reserve asks before each call, so it needs blockOn');
    if (preflightUnavailable !== 'block' && preflightUnavailable !== 'allow') {
        throw new TypeError("preflightUnavailable must be 'block' or 'allow'");
    }
}
/** `baseUrl` without a trailing slash. */
function checkedUrl(baseUrl, allowInsecure) {
    const parts = URL.canParse(baseUrl) ? new URL(baseUrl) : null;
    if (parts === null || !/^https?:$/.test(parts.protocol) || parts.search !== '' || parts.hash !== '') {
        throw new TypeError('baseUrl must be an http or https URL without query and fragment');
    }
    if (parts.username !== '' || parts.password !== '')
        throw new TypeError('baseUrl must not hold credentials');
    if (parts.protocol === 'http:' && !allowInsecure && !isLoopback(parts.hostname)) {
        throw new TypeError(`baseUrl is plain http to ${parts.hostname}, which would show the API key to the network: ` +
            'use https, or allowInsecure if the network is trusted');
    }
    return parts.href.replace(/\/+$/, '');
}
function isLoopback(host) {
    return host === '[::1]' || /^(?:.+\.)?localhost$/.test(host) || /^127(?:\.\d+){3}$/.test(host);
}
