/** The four events as they go on the wire: completed, checked, and encoded once. */
import { checkedUuid, uuid7 } from './ids.js'
import { type Snapshot, text } from './plain.js'
import { momentMicros } from './report.js'

export type Metadata = Readonly<Record<string, unknown>>
export type EventType = 'session_start' | 'tool_call' | 'response' | 'session_end'
export type ToolOutcome = 'success' | 'error' | 'denied' | 'refused'
export type ResponseOutcome = 'success' | 'refusal' | 'partial' | 'error'
export type SessionOutcome = 'success' | 'failure' | 'aborted' | 'timeout'

/** What an event takes from its surroundings. `pactFault` says why a pact that was meant cannot be used. */
export interface Scope {
  readonly sessionId: string
  readonly agentId: string
  readonly pactId: string | null
  readonly roomId: string | null
  readonly pactFault: string | null
}

/** What every event may carry; what is left out comes from the session around it, then from `Telemetry`. */
export interface EventContext {
  readonly sessionId?: string
  readonly agentId?: string
  readonly pactId?: string
  readonly roomId?: string
  readonly parentEventId?: string
  readonly metadata?: Metadata
}

/** An event ready to be queued. */
export interface Prepared {
  readonly eventId: string
  readonly members: Readonly<Record<string, unknown>>
  readonly params: Snapshot | null
}

/** Metadata by which an event tells the ledger how many events before it this process lost. */
export const DROPS_KEY = 'pactstream_dropped_events'
/** Metadata of a tool call whose arguments had to be shortened or replaced. */
export const INEXACT_KEY = 'pactstream_inexact_params'
/** Uncompressed; the gateway takes a mebibyte. */
export const MAX_EVENT_BYTES = 900_000

const MAX_NAME = 128
const MAX_TEXT = 65_536
const MAX_METADATA_KEYS = 62 // the gateway takes 64, and two are ours
const MAX_METADATA_VALUE = 2_048
const OUTCOMES: Readonly<Record<EventType, readonly string[]>> = {
  session_start: [],
  tool_call: ['success', 'error', 'denied', 'refused'],
  response: ['success', 'refusal', 'partial', 'error'],
  session_end: ['success', 'failure', 'aborted', 'timeout'],
}

/**
 * An event with its id.
 *
 * @throws TypeError the gateway would not take it.
 */
export function prepare(
  type: EventType,
  scope: Scope,
  context: EventContext,
  fields: Readonly<Record<string, unknown>>,
  params: Snapshot | null = null,
  eventId = uuid7(),
): Prepared {
  const judged = type === 'tool_call' || type === 'session_start'
  const checked = Object.entries(fields).map(([name, value]) => [name, field(type, name, value)] as const)
  const inexact = params === null || params.exact ? {} : { [INEXACT_KEY]: true }
  const metadata = { ...plainMetadata(context.metadata), ...inexact }
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
  }
  return { eventId, members, params }
}

/** The event as JSON text; `declares` drops are told to the ledger with it. */
export function encode({ members, params }: Prepared, declares = 0): string {
  const metadata = members['metadata'] as Metadata | undefined
  const whole = declares > 0 ? { ...members, metadata: { ...metadata, [DROPS_KEY]: declares } } : members
  const encoded = JSON.stringify(whole)
  return params === null ? encoded : `${encoded.slice(0, -1)},"params":${params.encoded}}`
}

/** @throws TypeError it cannot be a name of the wire: empty, longer than 128 characters, control characters. */
export function checkedName(name: string, value: unknown): string {
  const fits = typeof value === 'string' && value !== '' && value.length <= MAX_NAME
  if (fits && !/[\x00-\x1f\x7f]|\p{Surrogate}/u.test(value)) return value
  throw new TypeError(`${name} must be 1 to ${MAX_NAME} characters, none of them a control character`)
}

/** As the gateway takes them: at most 62; numbers, texts, truth values and null, anything else as text. */
function plainMetadata(metadata: Metadata | undefined): Record<string, unknown> {
  const given = Object.entries(metadata ?? {}).filter(([, value]) => value !== undefined)
  const pairs = given.slice(0, MAX_METADATA_KEYS)
  return Object.fromEntries(pairs.map(([key, value]) => [text(key, MAX_NAME), primitive(value)]))
}

function primitive(value: unknown): unknown {
  const kept = value === null || typeof value === 'boolean' || (typeof value === 'number' && Number.isFinite(value))
  return kept ? value : text(value, MAX_METADATA_VALUE)
}

function field(type: EventType, name: string, value: unknown): unknown {
  if (name.endsWith('At')) return moment(name, value)
  if (value === undefined || value === null) return required(type, name)
  switch (name) {
    case 'tool':
      return checkedName(name, value)
    case 'outcome':
      if (OUTCOMES[type].includes(value as string)) return value
      throw new TypeError(`outcome must be one of ${OUTCOMES[type].join(', ')}, not '${String(value).slice(0, 64)}'`)
    case 'latencyMs':
      return bounded(name, value, 1e12)
    case 'tokenCount':
      if (Number.isInteger(value)) return bounded(name, value, Number.MAX_SAFE_INTEGER)
      throw new TypeError('tokenCount must be a whole number')
    case 'reservationId':
      return checkedUuid(name, value)
    default:
      return text(value, MAX_TEXT)
  }
}

function required(type: EventType, name: string): undefined {
  const needed = ['tool', 'outcome', ...(type === 'response' ? ['input', 'output'] : [])].includes(name)
  if (needed) throw new TypeError(`${name} is missing`)
}

/** RFC 3339; a text with an offset is sent as it stands. */
function moment(name: string, value: unknown): string {
  const given = value ?? new Date()
  if (given instanceof Date && !Number.isNaN(given.getTime())) return given.toISOString()
  if (momentMicros(given) !== null) return given as string
  throw new TypeError(`${name} must be a Date, or an ISO 8601 text with an offset`)
}

function bounded(name: string, value: unknown, limit: number): number {
  if (typeof value === 'number' && value >= 0 && value <= limit) return value
  throw new TypeError(`${name} must be a number from 0 to ${limit}`)
}

function uuid(name: string, value: string | undefined): string | undefined {
  return value === undefined || value === null ? undefined : checkedUuid(name, value)
}

function named(name: string, value: string | null | undefined): string | undefined {
  return value === undefined || value === null ? undefined : checkedName(name, value)
}
