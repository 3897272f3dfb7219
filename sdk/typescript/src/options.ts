/** The settings of one `Telemetry`, checked when it is made: the one moment at which the SDK may throw. */
import type { TelemetryProblem } from './errors.js'
import { checkedUuid } from './ids.js'
import { SEVERITIES, type Severity, type Verdict } from './verdict.js'

export interface TelemetryOptions {
  /** The gateway's key for this tenant. */
  readonly apiKey: string
  /** The gateway, `https://…`; plain `http` is refused for any host but loopback. */
  readonly baseUrl: string
  /** The agent whose behaviour this is (UUID); a session or an event may name another. */
  readonly agentId: string
  /** The pact that tool calls are judged against unless a session or a call names another. */
  readonly pactId?: string | null
  /** Events in one request, 1 to 500; 25 unless given. */
  readonly batchSize?: number
  /** How long an event waits for its batch to fill (5). */
  readonly flushIntervalSeconds?: number
  /** Events kept while the gateway cannot be reached (10,000); what does not fit is dropped and counted. */
  readonly maxBufferedEvents?: number
  /** The same in bytes (64 MiB). */
  readonly maxBufferedBytes?: number
  /** Called for every judged call. */
  readonly onVerdict?: (eventId: string, verdict: Verdict) => unknown
  /** Called at most every ten seconds for each kind, but for every event that the server rejects by itself. */
  readonly onError?: (problem: TelemetryProblem) => unknown
  /** Ask *before* each instrumented call, and do not call if the pact is broken at this severity or a graver one. */
  readonly blockOn?: Severity | null
  /** What to do if that verdict cannot be had: `block` (fail closed, unless given) or `allow`. */
  readonly preflightUnavailable?: 'block' | 'allow'
  /** How long an instrumented call waits for that verdict (2). */
  readonly preflightTimeoutSeconds?: number
  /** Have what a call takes of the pact's budgets held from that verdict until the call's event is judged. */
  readonly reserve?: boolean
  /** How long one attempt at delivery may take (10). */
  readonly requestTimeoutSeconds?: number
  /** How long `close` and the end of the process wait for the last events (5). */
  readonly closeTimeoutSeconds?: number
  /** The pause after the first failed attempt (0.5); it doubles from there, with jitter. */
  readonly retryFirstSeconds?: number
  /** The longest such pause (30). `Retry-After` is honoured up to five minutes. */
  readonly retryMaxSeconds?: number
  /** How long to repeat a batch that the server fails on (600); an unreachable server is waited for without limit. */
  readonly retryForSeconds?: number
  /** Gzip longer request bodies (8,192); null for never. */
  readonly compressOverBytes?: number | null
  /** Allow plain http to another machine, where the network can read the API key. */
  readonly allowInsecure?: boolean
  /** In place of the global `fetch`. */
  readonly fetch?: typeof fetch
}

/** `TelemetryOptions` without gaps. */
export type Config = Required<Omit<TelemetryOptions, 'allowInsecure'>>

const MAX_BATCH_EVENTS = 500 // the gateway takes no more in one request

/** @throws TypeError or RangeError a value is of no use. The message never holds the API key. */
export function checkedConfig(options: TelemetryOptions): Config {
  const config: Config = {
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
  }
  check(config)
  const checked = {
    ...config,
    baseUrl: checkedUrl(options.baseUrl, options.allowInsecure === true),
    agentId: checkedUuid('agentId', options.agentId),
    pactId: config.pactId === null ? null : checkedUuid('pactId', config.pactId),
  }
  // Not shown by console.log, nor by whatever else looks at an object's members.
  return Object.defineProperty(checked, 'apiKey', { enumerable: false })
}

function check(config: Config): void {
  if (!/^[\x21-\x7e]+$/.test(config.apiKey)) throw new TypeError('apiKey must be printable ASCII without spaces')
  for (const [name, value] of Object.entries(config)) {
    if (name.endsWith('Seconds') && !((value as number) > 0 && (value as number) < 86_400)) {
      throw new RangeError(`${name} must be above 0 and below 86,400, not ${value}`)
    }
  }
  const { batchSize, maxBufferedEvents, maxBufferedBytes, blockOn, preflightUnavailable, reserve } = config
  if (!(Number.isInteger(batchSize) && batchSize >= 1 && batchSize <= MAX_BATCH_EVENTS)) {
    throw new RangeError(`batchSize must be 1 to ${MAX_BATCH_EVENTS}, not ${batchSize}`)
  }
  if (!(maxBufferedEvents >= batchSize)) throw new RangeError('maxBufferedEvents must be at least batchSize')
  if (!(maxBufferedBytes >= 1)) throw new RangeError('maxBufferedBytes must be positive')
  if (blockOn !== null && !SEVERITIES.includes(blockOn)) {
    throw new TypeError(`blockOn must be one of ${SEVERITIES.join(', ')} or null, not '${blockOn}'`)
  }
  if (reserve && blockOn === null) throw new TypeError('reserve asks before each call, so it needs blockOn')
  if (preflightUnavailable !== 'block' && preflightUnavailable !== 'allow') {
    throw new TypeError("preflightUnavailable must be 'block' or 'allow'")
  }
}

/** `baseUrl` without a trailing slash. */
function checkedUrl(baseUrl: string, allowInsecure: boolean): string {
  const parts = URL.canParse(baseUrl) ? new URL(baseUrl) : null
  if (parts === null || !/^https?:$/.test(parts.protocol) || parts.search !== '' || parts.hash !== '') {
    throw new TypeError('baseUrl must be an http or https URL without query and fragment')
  }
  if (parts.username !== '' || parts.password !== '') throw new TypeError('baseUrl must not hold credentials')
  if (parts.protocol === 'http:' && !allowInsecure && !isLoopback(parts.hostname)) {
    throw new TypeError(
      `baseUrl is plain http to ${parts.hostname}, which would show the API key to the network: ` +
        'use https, or allowInsecure if the network is trusted',
    )
  }
  return parts.href.replace(/\/+$/, '')
}

function isLoopback(host: string): boolean {
  return host === '[::1]' || /^(?:.+\.)?localhost$/.test(host) || /^127(?:\.\d+){3}$/.test(host)
}
