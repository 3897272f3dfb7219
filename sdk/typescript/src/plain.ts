/**
 * JavaScript values as bounded JSON: what a tool's arguments look like on the wire.
 *
 * The work is bounded by characters, values and depth. A value with a natural JSON form keeps it (`bigint` is an exact
 * number, a `Map` an object, a `Set` an array, and what has `toJSON` is what that gives). Everything else is replaced,
 * and the snapshot says so: `exact` is false, and a pre-flight refuses instead of judging a stand-in.
 */
import { utf8 } from './bytes.js'

/** A JSON object as text; `exact` unless something in it had to be shortened or replaced. */
export interface Snapshot {
  readonly encoded: string
  readonly exact: boolean
}

const MAX_BYTES = 60_000 // the gateway takes a little more
const MAX_VALUES = 4_096
const MAX_DEPTH = 16
const MAX_KEYS = 100
const MAX_BIGINT = 2n ** 1_024n

class Budget {
  exact = true
  characters: number
  values: number

  constructor(halvings: number) {
    this.characters = (MAX_BYTES - 1_000) >> halvings
    this.values = MAX_VALUES >> halvings
  }

  replaced(standIn: string): string {
    this.exact = false
    this.characters -= standIn.length
    return JSON.stringify(standIn)
  }

  text(value: string): string {
    if (value.length > this.characters) {
      const kept = value.slice(0, Math.max(this.characters, 0))
      this.characters = 0
      return this.replaced(wellFormed(`${kept}…[${value.length} characters]`))
    }
    this.characters -= value.length
    const valid = wellFormed(value)
    this.exact &&= valid === value
    return JSON.stringify(valid)
  }
}

/** `values` as a bounded JSON object. Never throws, whatever the values are or do when looked at. */
export function snapshot(values: Iterable<readonly [string, unknown]>): Snapshot {
  const entries = [...values]
  for (let halvings = 0; ; halvings += 1) {
    const budget = new Budget(halvings)
    const encoded = members(entries, budget, 0, MAX_KEYS)
    // Escapes and non-ASCII text take up to six bytes a character, a long integer three hundred.
    if (utf8(encoded).length <= MAX_BYTES) return { encoded, exact: budget.exact }
  }
}

/** `value` as text of at most `limit` characters: a string as it is, anything else as its JSON. */
export function text(value: unknown, limit: number): string {
  const whole = typeof value === 'string' ? value : snapshot([['', value]]).encoded.slice('{"":'.length, -1)
  const mark = `…[${whole.length} characters]`
  return wellFormed(whole.length > limit ? whole.slice(0, limit - mark.length) + mark : whole)
}

/** Whether it is an object literal's or a decoded JSON object's, not an instance of a class. */
export function isPlain(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || prototype === Object.prototype
}

function members(
  entries: Iterable<readonly [unknown, unknown]>,
  budget: Budget,
  depth: number,
  limit = MAX_VALUES,
): string {
  const encoded: string[] = []
  for (const [key, value] of entries) {
    if (value === undefined) continue // absent, as in JSON.stringify
    if (budget.values <= 0 || encoded.length === limit) {
      budget.exact = false
      break
    }
    encoded.push(`${nameOf(key, budget)}:${lookedAt(value, budget, depth)}`)
  }
  return `{${encoded.join(',')}}`
}

function nameOf(key: unknown, budget: Budget): string {
  if (typeof key !== 'string') return budget.replaced(String(typeof key === 'number' ? key : typeName(key)))
  return key.length <= MAX_KEYS ? budget.text(key) : budget.replaced(wellFormed(key.slice(0, MAX_KEYS)))
}

function lookedAt(value: unknown, budget: Budget, depth: number): string {
  try {
    return plain(value, budget, depth)
  } catch {
    // The agent's own code ran (a getter, an iterator, toJSON).
    return budget.replaced(typeName(value))
  }
}

function plain(value: unknown, budget: Budget, depth: number): string {
  budget.values -= 1
  switch (typeof value) {
    case 'string':
      return budget.text(value)
    case 'boolean':
      return String(value)
    case 'number':
      return Number.isFinite(value) ? JSON.stringify(value) : budget.replaced(String(value))
    case 'bigint':
      return value < MAX_BIGINT && value > -MAX_BIGINT ? String(value) : budget.replaced('<bigint>')
    case 'undefined':
      return 'null'
    case 'object':
      if (value === null) return 'null'
      return depth === MAX_DEPTH ? budget.replaced(typeName(value)) : container(value, budget, depth + 1)
    default:
      return budget.replaced(typeName(value))
  }
}

function container(value: object, budget: Budget, depth: number): string {
  if (Array.isArray(value) || value instanceof Set) {
    const size = Array.isArray(value) ? value.length : value.size
    const room = Math.max(budget.values, 0)
    budget.exact &&= size <= room
    const taken = size > room ? [...value].slice(0, room) : [...value]
    return `[${taken.map((one) => lookedAt(one, budget, depth)).join(',')}]`
  }
  if (value instanceof Map) return members(value, budget, depth)
  if ('toJSON' in value && typeof value.toJSON === 'function') return plain(value.toJSON(), budget, depth)
  if (isPlain(value)) return members(Object.entries(value), budget, depth)
  return budget.replaced(typeName(value))
}

function typeName(value: unknown): string {
  const name = typeof value === 'object' && value !== null ? value.constructor?.name : typeof value
  return `<${name || 'object'}>`.slice(0, MAX_KEYS)
}

function wellFormed(value: string): string {
  return value.replace(/\p{Surrogate}/gu, '\ufffd')
}
