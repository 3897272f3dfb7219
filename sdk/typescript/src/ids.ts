/** Identifiers and moments of events. */

const UUID = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/i

/** A new time-ordered UUID (RFC 9562, section 5.7): 48 bits of milliseconds, 74 random bits (of 10 bytes). */
export function uuid7(millis = Date.now(), random = crypto.getRandomValues(new Uint8Array(10))): string {
  const hex = millis.toString(16).padStart(12, '0').slice(-12)
  const rest = Array.from(random, (byte, at) => {
    const value = at === 0 ? 0x70 | (byte & 0x0f) : at === 2 ? 0x80 | (byte & 0x3f) : byte
    return value.toString(16).padStart(2, '0')
  }).join('')
  return `${hex.slice(0, 8)}-${hex.slice(8)}-${rest.slice(0, 4)}-${rest.slice(4, 8)}-${rest.slice(8)}`
}

/** @throws TypeError it is not a UUID. */
export function checkedUuid(name: string, value: unknown): string {
  if (typeof value === 'string' && UUID.test(value)) return value.toLowerCase()
  throw new TypeError(`${name} must be a UUID, not '${String(value).slice(0, 64)}'`)
}

/** A time in milliseconds from an arbitrary start that never goes back. */
export function monotonicMillis(): number {
  return performance.now()
}
