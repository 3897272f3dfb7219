/** HTTP to the gateway: one request, one bounded answer. What a failure means is in its type. */
import { type Bytes, utf8 } from './bytes.js'
import type { Config } from './options.js'
import { bounded } from './trust.js'
import { Verdict } from './verdict.js'

/** A request that did not achieve what it was for. */
export class DeliveryFailed extends Error {}

/** The server refuses this request and will refuse it again (4xx, or a redirect); `content` says more. */
export class Refused extends DeliveryFailed {
  constructor(reason: string, readonly status: number, readonly content: string) {
    super(reason)
  }
}

/**
 * The request may succeed later. `retryAfterSeconds` is the server's wish, if it had one. `suspicious`: the request
 * itself may be what the server fails on, so that trying for ever would hold up everything behind it.
 */
export class NotNow extends DeliveryFailed {
  constructor(reason: string, readonly retryAfterSeconds: number | null = null, readonly suspicious = false) {
    super(reason)
  }
}

/** No connection, or one that broke before the answer was complete. */
export class Unreachable extends NotNow {}

/** The content is not an answer of the gateway (a captive portal's page, a truncated body). */
export class Unreadable extends Error {}

/** A request body as it goes out: the same bytes at every attempt. */
export interface Body {
  readonly content: Bytes
  readonly headers: Readonly<Record<string, string>>
}

/** What became of one event, with its verdict, and what was wrong with either. */
export interface Fate {
  readonly status: 'accepted' | 'rejected' | 'dropped'
  readonly verdict: Verdict | null
  readonly error: string | null
}

/** A verdict before the call: whether its budget is held, and whether earlier calls were looked at. */
export interface Foreseen {
  readonly verdict: Verdict
  readonly held: boolean
  readonly lookedBack: boolean
}

const MAX_ANSWER_BYTES = 8 * 1024 * 1024
const MAX_RETRY_AFTER_SECONDS = 300
const MAX_REASON = 500
/** The server (or a proxy before it) cannot take anything now; RFC 6585 and RFC 9110, section 15.6. */
const OVERLOADED: readonly number[] = [429, 502, 503, 504]

/** A JSON body, gzipped where it is longer than `compressOverBytes`. */
export async function jsonBody(text: string, compressOverBytes: number | null = null): Promise<Body> {
  const content = utf8(text)
  const headers = { 'Content-Type': 'application/json' }
  if (compressOverBytes === null || content.length <= compressOverBytes || typeof CompressionStream === 'undefined') {
    return { content, headers }
  }
  const packed = new Blob([content]).stream().pipeThrough(new CompressionStream('gzip'))
  const bytes = new Uint8Array(await new Response(packed).arrayBuffer())
  return { content: bytes, headers: { ...headers, 'Content-Encoding': 'gzip' } }
}

/** Asks one gateway, without redirects and without cookies. */
export class Transport {
  constructor(private readonly config: Pick<Config, 'baseUrl' | 'apiKey' | 'fetch'>) {}

  /** The whole answer's content (2xx). @throws Refused 3xx or 4xx. @throws NotNow anything that may pass. */
  async request(method: 'POST' | 'DELETE', path: string, body: Body | null, timeoutSeconds: number): Promise<string> {
    const giveUp = new AbortController()
    const timer = setTimeout(() => giveUp.abort(), timeoutSeconds * 1_000)
    let response: Response
    let content: string | null
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
      })
      const data = await bounded(response, MAX_ANSWER_BYTES)
      content = data === null ? null : new TextDecoder().decode(data)
    } catch (error) {
      if (giveUp.signal.aborted) throw new NotNow('no answer in time')
      throw new Unreachable(`no answer: ${this.#safe(causeOf(error))}`)
    } finally {
      clearTimeout(timer)
    }
    if (content === null) throw new NotNow(`the answer is longer than ${MAX_ANSWER_BYTES} bytes`, null, true)
    return this.#checked(response, content)
  }

  /** Hands a small body to the browser, which sends it even if the page ends; nobody hears what becomes of it. */
  farewell(path: string, body: Body): void {
    const options = { method: 'POST', headers: this.#headers(body), body: body.content, keepalive: true } as const
    this.config.fetch(this.config.baseUrl + path, { ...options, credentials: 'omit' }).catch(() => undefined)
  }

  #headers(body: Body | null): Record<string, string> {
    return { ...body?.headers, 'X-Pact-Key': this.config.apiKey, Accept: 'application/json' }
  }

  #checked(response: Response, content: string): string {
    const { status } = response
    if (status >= 200 && status < 300) return content
    const reason = `HTTP ${status}: ${this.#safe(reasonOf(content))}`
    if (status >= 500 || status === 429) {
      throw new NotNow(reason, retryAfterSeconds(response.headers.get('Retry-After')), !OVERLOADED.includes(status))
    }
    throw new Refused(reason, status, content)
  }

  /** A server's or a runtime's words, fit for a log: short, on one line, without the key. */
  #safe(reason: string): string {
    const withoutKey = reason.replaceAll(this.config.apiKey, '***')
    return withoutKey.slice(0, MAX_REASON).replace(/\p{Cc}|\p{Zl}|\p{Zp}/gu, '\ufffd')
  }
}

/** `Retry-After` (RFC 9110, section 10.2.3) as seconds from now, 0 to 300; null: none, or not to be read. */
export function retryAfterSeconds(header: string | null, now = Date.now()): number | null {
  if (header === null) return null
  const given = header.trim()
  // Engines take much for a date: an HTTP-date begins with the day's name.
  const moment = /^[A-Za-z]{3,9},? /.test(given) ? Date.parse(given) : NaN
  const seconds = /^\d+$/.test(given) ? Number(given) : (moment - now) / 1_000
  return Number.isNaN(seconds) ? null : Math.min(Math.max(seconds, 0), MAX_RETRY_AFTER_SECONDS)
}

/**
 * The fate of each of `eventIds`, in their order.
 *
 * A result counts for the event it names; one that names none counts by its position. An event without a result was
 * not confirmed, so it is reported as rejected rather than hoped for.
 *
 * @throws Unreadable it is not of the form `{"results":[{"status":…}]}`.
 */
export function readFates(content: string, eventIds: readonly string[]): Fate[] {
  const { results } = objectIn(content)
  if (!Array.isArray(results)) throw new Unreadable("the answer is not the gateway's: it has no results")
  const byName = new Map<string, Record<string, unknown>>()
  results.forEach((result: unknown, position) => {
    const one = isObject(result) ? result : {}
    if (typeof one['status'] !== 'string') throw new Unreadable("the answer is not the gateway's: no status")
    const named = typeof one['eventId'] === 'string' ? one['eventId'] : ''
    byName.set(named || (eventIds[position] ?? ''), one)
  })
  return eventIds.map((name) => fate(byName.get(name)))
}

/**
 * A pre-flight's answer `{"valid":…,"validation":{…}}`.
 *
 * @throws Unreadable there is none, or it contradicts itself.
 */
export function readForeseen(content: string): Foreseen {
  const { valid, validation, asOf = null, reservation = null } = objectIn(content)
  let verdict: Verdict
  try {
    verdict = Verdict.read(validation)
  } catch {
    throw new Unreadable("the answer is not the gateway's: it has no verdict")
  }
  if (valid !== verdict.valid) {
    throw new Unreadable('the answer contradicts itself: valid differs from validation.valid')
  }
  return { verdict, held: reservation !== null, lookedBack: asOf !== null }
}

function fate(result: Record<string, unknown> | undefined): Fate {
  if (result === undefined) {
    return { status: 'rejected', verdict: null, error: "the server's answer does not name this event" }
  }
  const { status, validation = null, error = null } = result
  // "duplicate" and the like mean that the server has the event: only a rejection is one.
  if (status === 'rejected' || error !== null) {
    return { status: 'rejected', verdict: null, error: JSON.stringify(error).slice(0, MAX_REASON) }
  }
  try {
    return { status: 'accepted', verdict: validation === null ? null : Verdict.read(validation), error: null }
  } catch (fault) {
    return { status: 'accepted', verdict: null, error: `its verdict cannot be read: ${(fault as Error).message}` }
  }
}

function objectIn(content: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(content)
    if (isObject(value)) return value
  } catch {
    // Said below.
  }
  throw new Unreadable("the answer is not the gateway's: it is no JSON object")
}

function reasonOf(content: string): string {
  try {
    const { error, code = '', details } = objectIn(content)
    if (typeof error === 'string') return `${error} (${code})${details ? ` ${JSON.stringify(details)}` : ''}`
  } catch {
    // A proxy's page, say.
  }
  return content
}

function causeOf(error: unknown): string {
  const { message, cause } = error as Error
  return cause instanceof Error && cause.message !== '' ? cause.message : message
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
