/**
 * Signed trust reports: a JSON object with `signatures`, and the same claims as a compact JWT.
 *
 * The payload of each signature is the RFC 8785 form of the report without `signatures`; the JWS (RFC 7515) is
 * detached. The key decides the algorithm (ES256, or Ed25519 by RFC 9864), never the header; a verifier names the
 * issuer that it expects.
 */
import { type Bytes, fromBase64Url, toBase64Url, utf8, verifyEd25519 } from './bytes.js'
import { canonical, parseJson } from './canonical.js'
import {
  JsonError,
  ReportExpired,
  ReportIssuerError,
  ReportMalformed,
  ReportSignatureError,
} from './errors.js'

/** The claims of a verified report. */
export type Claims = Record<string, unknown>

/** What a verifier demands of a report; `now` is the present time unless given. */
export interface Expectations {
  readonly issuer: string
  readonly now?: Date
}

interface PublicKey {
  readonly kid: string
  readonly algorithm: 'ES256' | 'Ed25519'
  readonly retiredAtMicros: number | null
  verify(signature: Bytes, data: Bytes): Promise<boolean>
}

const MAX_REPORT_BYTES = 90_000
const MAX_LIFETIME_SECONDS = 86_400
const CLOCK_SKEW_SECONDS = 60
const MAX_SIGNATURES = 16
const MAX_KEYS = 1_000
const MICROS = 1_000_000
const MOMENT = /^(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)$/

/**
 * The report without its signatures, if it is the issuer's, in force, and every known key's signature holds.
 *
 * `report` is the JSON text or the decoded object, `jwks` the decoded JWK Set that the verifier trusts.
 *
 * @throws ReportError of the kind that says why not.
 */
export async function verifyReport(report: string | object, jwks: unknown, expected: Expectations): Promise<Claims> {
  const { signatures, ...claims } = objectOf(typeof report === 'string' ? parsed(report) : report, 'the report')
  if (!Array.isArray(signatures) || signatures.length < 1 || signatures.length > MAX_SIGNATURES) {
    throw new ReportMalformed(`a report has 1 to ${MAX_SIGNATURES} signatures`)
  }
  const payload = toBase64Url(payloadOf(claims))
  const keys = await keysOf(jwks)
  const signers: PublicKey[] = []
  for (const one of signatures) {
    const { protected: header, signature } = objectOf(one, 'a signature')
    if (typeof header !== 'string' || typeof signature !== 'string') {
      throw new ReportMalformed('a signature has the texts `protected` and `signature`')
    }
    const key = await signer(header, payload, signature, keys, 'JOSE')
    // A signature by a key unknown to us says nothing, for or against.
    if (key !== null) signers.push(key)
  }
  if (signers.length === 0) throw new ReportSignatureError('no signature is by a key of the key set')
  checkClaims(claims, signers, expected)
  return claims
}

/**
 * The report in a compact JWT, under the same conditions as `verifyReport`.
 *
 * @throws ReportError of the kind that says why not.
 */
export async function verifyJwt(token: string, jwks: unknown, expected: Expectations): Promise<Claims> {
  const [header, payload, signature, more] = token.split('.')
  if (header === undefined || payload === undefined || signature === undefined || more !== undefined) {
    throw new ReportMalformed('not a compact JWS: it has three parts')
  }
  const key = await signer(header, payload, signature, await keysOf(jwks), 'JWT')
  if (key === null) throw new ReportSignatureError('the token is not signed by a key of the key set')
  const claims = objectOf(parsed(decoded(payload, 'payload')), 'the report')
  for (const [name, value] of Object.entries(registered(claims))) {
    if (claims[name] !== value) throw new ReportMalformed(`the claim '${name}' disagrees with the report`)
    delete claims[name]
  }
  checkClaims(claims, [key], expected)
  return claims
}

/** An RFC 3339 time with an offset in microseconds since 1970; null: it is not one. */
export function momentMicros(text: unknown): number | null {
  const match = typeof text === 'string' ? MOMENT.exec(text) : null
  if (match === null) return null
  const [, day, time, fraction = '', offset] = match
  const midnight = Date.parse(`${day}T00:00:00Z`)
  const millis = Date.parse(`${day}T${time}${offset?.toUpperCase()}`)
  // Some engines take the 30th of February for the 2nd of March.
  if (Number.isNaN(millis) || new Date(midnight).toISOString().slice(0, 10) !== day) return null
  return millis * 1_000 + Number(fraction.padEnd(6, '0').slice(0, 6))
}

async function signer(
  header: string,
  payload: string,
  signature: string,
  keys: ReadonlyMap<string, PublicKey>,
  type: string,
): Promise<PublicKey | null> {
  const { alg, kid, typ, ...more } = objectOf(parsed(decoded(header, 'header')), 'the protected header')
  // Nothing else may stand in it: no `crit`, no `b64`, no key of the signer's own.
  if (typeof alg !== 'string' || typeof kid !== 'string' || typeof typ !== 'string' || Object.keys(more).length > 0) {
    throw new ReportMalformed('the protected header has `alg`, `kid` and `typ`, and nothing else')
  }
  if (typ !== type) throw new ReportSignatureError(`the signature is for a '${typ}', not a '${type}'`)
  const key = keys.get(kid)
  if (key === undefined) return null
  if (alg !== key.algorithm) {
    throw new ReportSignatureError(`the signature names '${alg}', but its key is for ${key.algorithm}`)
  }
  const bytes = fromBase64Url(signature)
  if (bytes === null || !(await key.verify(bytes, utf8(`${header}.${payload}`)))) {
    throw new ReportSignatureError(`the signature by key ${kid} is bad`)
  }
  return key
}

async function keysOf(jwks: unknown): Promise<ReadonlyMap<string, PublicKey>> {
  const { keys: entries } = objectOf(jwks, 'the key set')
  if (!Array.isArray(entries) || entries.length > MAX_KEYS) throw new ReportMalformed('not a JWK Set')
  const keys = new Map<string, PublicKey>()
  for (const entry of entries) {
    const key = await publicKey(objectOf(entry, 'a key'))
    // Keys of other kinds are ignored (RFC 7517, section 5).
    if (key === null) continue
    if (keys.has(key.kid)) throw new ReportMalformed(`not a JWK Set: two keys have the id '${key.kid}'`)
    keys.set(key.kid, key)
  }
  return keys
}

async function publicKey(jwk: Claims): Promise<PublicKey | null> {
  const { kid, kty, crv, x, y, alg, use = 'sig', retiredAt = null } = jwk
  const retiredAtMicros = retiredAt === null ? null : momentMicros(retiredAt)
  if (typeof kid !== 'string' || kid.length < 1 || kid.length > 128 || use !== 'sig') return null
  if (retiredAt !== null && retiredAtMicros === null) return null
  const xBytes = coordinate(x)
  if (xBytes === null) return null
  if (kty === 'OKP' && crv === 'Ed25519' && (alg ?? 'Ed25519') === 'Ed25519') {
    return {
      kid,
      algorithm: 'Ed25519',
      retiredAtMicros,
      verify: (signature, data) => verifyEd25519(xBytes, signature, data),
    }
  }
  if (kty !== 'EC' || crv !== 'P-256' || (alg ?? 'ES256') !== 'ES256' || coordinate(y) === null) return null
  const key = await imported({ kty, crv, x: x as string, y: y as string })
  if (key === null) return null
  const algorithm = { name: 'ECDSA', hash: 'SHA-256' }
  return {
    kid,
    algorithm: 'ES256',
    retiredAtMicros,
    verify: (signature, data) => crypto.subtle.verify(algorithm, key, signature, data),
  }
}

async function imported(jwk: JsonWebKey): Promise<CryptoKey | null> {
  try {
    return await crypto.subtle.importKey('jwk', jwk, { name: 'ECDSA', namedCurve: 'P-256' }, false, ['verify'])
  } catch {
    return null // not a point of the curve
  }
}

function coordinate(value: unknown): Bytes | null {
  const bytes = typeof value === 'string' ? fromBase64Url(value) : null
  return bytes?.length === 32 ? bytes : null
}

function payloadOf(claims: Claims): Bytes {
  try {
    const payload = utf8(canonical(claims))
    if (payload.length <= MAX_REPORT_BYTES) return payload
  } catch (error) {
    if (!(error instanceof JsonError)) throw error
    throw new ReportMalformed(`the report is malformed: ${error.message}`)
  }
  throw new ReportMalformed(`a report has at most ${MAX_REPORT_BYTES} bytes`)
}

function parsed(text: string): unknown {
  try {
    return parseJson(text)
  } catch (error) {
    if (!(error instanceof JsonError)) throw error
    throw new ReportMalformed(`the report is malformed: ${error.message}`)
  }
}

function decoded(encoded: string, what: string): string {
  const bytes = fromBase64Url(encoded)
  if (bytes === null) throw new ReportMalformed(`the ${what} is not base64url`)
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    throw new ReportMalformed(`the ${what} is not UTF-8`)
  }
}

function objectOf(value: unknown, what: string): Claims {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return { ...(value as Claims) }
  throw new ReportMalformed(`${what} is not a JSON object`)
}

interface Named {
  readonly reportId: string
  readonly issuer: string
  readonly agentId: string
  readonly issued: number
  readonly expires: number
}

function named({ reportId, issuer, agentId, issuedAt, expiresAt }: Claims): Named {
  for (const [name, value] of Object.entries({ reportId, issuer, agentId })) {
    if (typeof value !== 'string' || value === '') throw new ReportMalformed(`the report has no '${name}'`)
  }
  if ((reportId as string).length > 128) throw new ReportMalformed("the report's id is too long")
  const issued = momentMicros(issuedAt)
  const expires = momentMicros(expiresAt)
  if (issued === null || expires === null) throw new ReportMalformed('a time of the report is not RFC 3339')
  return { reportId: reportId as string, issuer: issuer as string, agentId: agentId as string, issued, expires }
}

/** The registered claims of RFC 7519, section 4.1; whole seconds, rounded down. */
function registered(claims: Claims): Claims {
  const { reportId, issuer, agentId, issued, expires } = named(claims)
  const [iat, exp] = [Math.floor(issued / MICROS), Math.floor(expires / MICROS)]
  return { jti: reportId, iss: issuer, sub: agentId, iat, exp }
}

function checkClaims(claims: Claims, signers: readonly PublicKey[], expected: Expectations): void {
  const { issuer, issued, expires } = named(claims)
  if (issuer !== expected.issuer) {
    throw new ReportIssuerError(`the report is by '${issuer}', not by '${expected.issuer}'`)
  }
  const now = (expected.now ?? new Date()).getTime() * 1_000
  if (!(issued <= now + CLOCK_SKEW_SECONDS * MICROS)) throw new ReportExpired('the report is not yet valid')
  if (!(expires > now)) throw new ReportExpired(`the report expired ${claims['expiresAt']}`)
  if (expires - issued > MAX_LIFETIME_SECONDS * MICROS) throw new ReportExpired('the report claims too long a life')
  for (const key of signers) {
    if (key.retiredAtMicros !== null && issued > key.retiredAtMicros) {
      throw new ReportSignatureError(`key ${key.kid} was retired before the report was issued`)
    }
  }
}
