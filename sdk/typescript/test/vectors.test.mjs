// The vectors that the Python SDK is held to as well: sdk/vectors, made by `python -m tests.sdk_vectors`.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { fromHex, toHex } from '../dist/bytes.js'
import { uuid7 } from '../dist/ids.js'
import {
  canonical,
  JsonError,
  openCheckpoint,
  openCosigned,
  parseJson,
  parseLogKeys,
  ProofError,
  ReportError,
  Telemetry,
  verifyInclusion,
  verifyJwt,
  verifyReport,
  witnessPolicy,
} from '../dist/index.js'
import { pauseSeconds } from '../dist/sender.js'
import { NotNow, Refused, retryAfterSeconds, Transport } from '../dist/transport.js'

const read = (name) => JSON.parse(readFileSync(new URL(`../../vectors/${name}`, import.meta.url), 'utf8'))
const TIMES = ['startedAt', 'attemptedAt', 'emittedAt', 'endedAt']

/** Members in one order, times as moments: one may be written in several ways. */
function comparable(event) {
  const times = TIMES.filter((name) => name in event).map((name) => [name, Date.parse(event[name])])
  return { ...event, ...Object.fromEntries(times) }
}

test('a call puts on the wire what it puts there in Python', async () => {
  for (const { name, call, arguments: given, agentId, wire } of read('events.json')) {
    const sent = []
    const fetch = async (_, { body }) => {
      sent.push(...JSON.parse(new TextDecoder().decode(body)).events)
      const results = sent.map(({ eventId }) => ({ eventId, status: 'accepted', validation: null }))
      return Response.json({ accepted: results.length, results })
    }
    const telemetry = new Telemetry({ apiKey: 'k', baseUrl: 'http://127.0.0.1:1', agentId, fetch, onError: () => {} })
    const receipt = telemetry[call](given)
    assert.ok(await telemetry.close(), name)
    assert.equal(receipt.status, wire === null ? 'invalid' : 'accepted', name)
    assert.equal(sent.length, wire === null ? 0 : 1, name)
    if (wire === null) continue
    const { eventId, ...event } = sent[0]
    assert.equal(eventId, receipt.eventId)
    assert.deepEqual(comparable(event), comparable(wire), name)
  }
})

test('event ids are UUIDs of version 7', () => {
  for (const { millis, random, uuid } of read('event_ids.json')) assert.equal(uuid7(millis, fromHex(random)), uuid)
  const now = Date.now()
  const made = uuid7()
  assert.match(made, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
  assert.ok(Math.abs(parseInt(made.replace('-', '').slice(0, 12), 16) - now) < 10_000)
})

test('canonical JSON is RFC 8785, and what can be read in two ways is refused', () => {
  for (const { text, canonical: expected } of read('canonical.json')) {
    if (expected === null) assert.throws(() => canonical(parseJson(text)), JsonError, text)
    else assert.equal(canonical(parseJson(text)), expected)
  }
})

test('each status decides on a retry as in Python', async () => {
  for (const { status, decision } of read('retries.json').statuses) {
    const fetch = async () => new Response(null, { status })
    const transport = new Transport({ baseUrl: 'http://127.0.0.1:1', apiKey: 'k', fetch })
    const outcome = await transport.request('DELETE', '/x', null, 5).catch((error) => error)
    assert.equal(decisionOf(outcome), decision, String(status))
  }
})

function decisionOf(outcome) {
  if (outcome instanceof NotNow) return outcome.suspicious ? 'retried for a while' : 'retried'
  return outcome instanceof Refused ? 'refused' : 'answered'
}

test('Retry-After and pauses are as in Python', () => {
  const { retryAfter, pauses } = read('retries.json')
  for (const { header, seconds } of retryAfter.headers) {
    assert.equal(retryAfterSeconds(header, retryAfter.nowMillis), seconds, header)
  }
  for (const { firstSeconds, maxSeconds, attempt, low, high } of pauses) {
    const config = { retryFirstSeconds: firstSeconds, retryMaxSeconds: maxSeconds }
    assert.equal(pauseSeconds({ retryAfterSeconds: null }, attempt, config, 0), low)
    assert.equal(pauseSeconds({ retryAfterSeconds: null }, attempt, config, 1), high)
  }
})

test('inclusion proofs hold and fail as in Python', async () => {
  for (const { name, leaf, index, size, proof, root, holds } of read('inclusion.json')) {
    const verified = verifyInclusion(fromHex(leaf), index, size, proof.map(fromHex), fromHex(root))
    if (holds) await verified
    else await assert.rejects(verified, ProofError, `${name} ${index}/${size}`)
  }
})

test('checkpoints open and are refused as in Python', async () => {
  for (const { name, note, keys, checkpoint } of read('checkpoints.json')) {
    const opened = parseLogKeys(keys).then((known) => openCheckpoint(note, 'dev/ledger/0', known.get('dev/ledger/0') ?? []))
    if (checkpoint === null) await assert.rejects(opened, ProofError, name)
    else assert.deepEqual(await opened.then(({ size, root }) => ({ size, root: toHex(root) })), checkpoint, name)
  }
})

test('cosignatures count and are refused as in Python', async () => {
  for (const { name, note, keys, witnesses, quorum, cosigned } of read('cosignatures.json')) {
    const open = async () => {
      const policy = await witnessPolicy(witnesses, quorum ?? undefined)
      const { checkpoint, cosignedAt } = await openCosigned(note, 'dev/ledger/0', (await parseLogKeys(keys)).get('dev/ledger/0'), policy)
      const times = Object.fromEntries([...cosignedAt].map(([witness, seconds]) => [witness, String(seconds)]))
      return { size: checkpoint.size, root: toHex(checkpoint.root), cosignedAt: times }
    }
    if (cosigned === null) await assert.rejects(open(), ProofError, name)
    else assert.deepEqual(await open(), cosigned, name)
  }
})

test('reports and tokens are believed and refused as in Python', async () => {
  const { issuer, nowMillis, jwks, reports, texts, tokens, claims } = read('reports.json')
  const expected = { issuer, now: new Date(nowMillis) }
  const { issuedAt, expiresAt, ...signed } = claims
  const judged = async (name, verified, error) => {
    const outcome = await verified.catch((failure) => failure)
    assert.equal(outcome instanceof ReportError ? outcome.name : null, error, `${name}: ${outcome}`)
    if (error !== null) return
    const { issuedAt: _, expiresAt: __, ...found } = outcome
    assert.deepEqual(found, signed, name)
  }
  for (const { name, report, error } of [...reports, ...texts]) {
    await judged(name, verifyReport(report, jwks, expected), error)
    if (typeof report !== 'string') await judged(name, verifyReport(JSON.stringify(report), jwks, expected), error)
  }
  for (const { name, token, error } of tokens) await judged(name, verifyJwt(token, jwks, expected), error)
})
