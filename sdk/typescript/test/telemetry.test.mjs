import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inspect } from 'node:util'
import { PactViolation, PreflightUnavailable, Telemetry } from '../dist/index.js'
import { AGENT, answer, down, Gateway, KEY, PACT, silent, VALID, VIOLATED } from './gateway.mjs'

const transfer = async ({ destination, amount }) => `sent ${amount} to ${destination}`

test('a session encloses its events, calls name their caller, and nothing is changed on the way', async () => {
  const gateway = new Gateway()
  const telemetry = gateway.telemetry()
  const inner = telemetry.instrumentTool(async (city) => city.toUpperCase(), { name: 'look', parameters: ['city'] })
  const outer = telemetry.instrumentTool(async function weather({ city, token }) {
    return (await inner(city)) + token.length
  }, { exclude: ['token'], metadata: { tier: 'free' } })
  const result = await telemetry.session({ pactId: PACT, roomId: 'r', metadata: { initiator: 'cron' } }, async (session) => {
    const answered = await outer({ city: 'bern', token: 'secret' })
    session.response({ input: 'weather?', output: answered })
    return answered
  })
  assert.equal(result, 'BERN6')
  assert.ok(await telemetry.close())
  const [start, look, weather, response, end] = gateway.events
  assert.deepEqual(
    gateway.events.map(({ type }) => type),
    ['session_start', 'tool_call', 'tool_call', 'response', 'session_end'],
  )
  assert.equal(new Set(gateway.events.map(({ sessionId }) => sessionId)).size, 1)
  assert.ok(gateway.events.every(({ roomId, agentId }) => roomId === 'r' && agentId === AGENT))
  assert.deepEqual([start.pactId, look.pactId, weather.pactId, response.pactId], [PACT, PACT, PACT, undefined])
  assert.deepEqual([look.params, weather.params], [{ city: 'bern' }, { city: 'bern' }])
  assert.equal(look.parentEventId, weather.eventId)
  assert.equal(weather.parentEventId, undefined)
  assert.deepEqual([weather.metadata, start.metadata], [{ tier: 'free' }, { initiator: 'cron' }])
  assert.ok(weather.latencyMs >= look.latencyMs)
  assert.equal(end.outcome, 'success')
  assert.equal(gateway.requests[0].path, '/base/api/v1/telemetry/events')
  assert.equal(gateway.requests[0].headers['X-Pact-Key'], KEY)
})

test('sessions at once do not mix, and a nested one inherits', async () => {
  const gateway = new Gateway()
  const telemetry = gateway.telemetry()
  const tool = telemetry.instrumentTool(async (n) => n, { name: 't', parameters: ['n'] })
  const run = (n) =>
    telemetry.session({ sessionId: `s-${n}`, pactId: PACT }, async () => {
      await new Promise((resolve) => setImmediate(resolve))
      await telemetry.session({ sessionId: `inner-${n}` }, () => tool(n))
      telemetry.response({ input: '', output: String(n) })
    })
  await Promise.all([run(1), run(2), run(3)])
  await tool(0)
  await telemetry.close()
  const calls = gateway.events.filter(({ type }) => type === 'tool_call')
  assert.ok(calls.every(({ sessionId, params }) => params.n === 0 || sessionId === `inner-${params.n}`))
  assert.deepEqual(calls.map(({ pactId }) => pactId), [PACT, PACT, PACT, undefined])
  assert.match(calls.at(-1).sessionId, /^unsessioned-/)
  const responses = gateway.events.filter(({ type }) => type === 'response')
  assert.ok(responses.every(({ sessionId, output }) => sessionId === `s-${output}`))
})

test('without anything that follows await, a session and its tools say what belongs to it', async () => {
  const gateway = new Gateway()
  const telemetry = gateway.telemetry()
  const session = telemetry.openSession({ sessionId: 's-9', pactId: PACT })
  const tool = session.instrumentTool(transfer)
  await tool({ destination: '0xA11A', amount: 1 })
  session.end('aborted', 'enough')
  session.end('success')
  await telemetry.close()
  assert.deepEqual(
    gateway.events.map(({ sessionId, type, outcome }) => [sessionId, type, outcome]),
    [['s-9', 'session_start', undefined], ['s-9', 'tool_call', 'success'], ['s-9', 'session_end', 'aborted']],
  )
  assert.equal(gateway.events[1].tool, 'transfer')
})

test('errors pass unchanged and are recorded, by a session too', async () => {
  const gateway = new Gateway()
  const telemetry = gateway.telemetry()
  const failure = new RangeError('too much')
  const tool = telemetry.instrumentTool(() => { throw failure }, { name: 'fails' })
  await assert.rejects(telemetry.session({}, () => tool(1, 'two')), (error) => error === failure)
  for (const [name, outcome] of [['TimeoutError', 'timeout'], ['AbortError', 'aborted']]) {
    await assert.rejects(telemetry.session({}, () => { throw new DOMException('x', name) }))
    assert.ok(outcome)
  }
  await telemetry.close()
  const call = gateway.events.find(({ type }) => type === 'tool_call')
  assert.deepEqual([call.outcome, call.errorMessage, call.params], ['error', 'RangeError: too much', { args: [1, 'two'] }])
  const ends = gateway.events.filter(({ type }) => type === 'session_end').map(({ outcome }) => outcome)
  assert.deepEqual(ends, ['failure', 'timeout', 'aborted'])
})

test('arguments become JSON as they were before the call, bounded, and what is replaced is said', async () => {
  const gateway = new Gateway()
  const telemetry = gateway.telemetry()
  const params = { big: 2n ** 70n, when: new Date(0), set: new Set([1]), map: new Map([['a', 1]]), none: undefined }
  const changing = telemetry.instrumentTool((given) => { given.list.push(2) }, { name: 'changing' })
  await changing({ ...params, list: [1] })
  const cyclic = { run: () => 1, text: 'x'.repeat(100_000), nan: Number.NaN, half: '\ud800' }
  cyclic.self = cyclic
  await changing({ ...cyclic, list: [], get bad() { throw new Error('no') } }).catch(() => {})
  telemetry.toolCall({ tool: 't', params: { conn: new Gateway(), cyclic } })
  await telemetry.close()
  assert.ok(gateway.requests[0].text.includes(`"big":${2n ** 70n},`))
  const [first, last] = [gateway.events[0], gateway.events.at(-1)]
  assert.deepEqual(first.params, { big: 2 ** 70, when: '1970-01-01T00:00:00.000Z', set: [1], map: { a: 1 }, list: [1] })
  assert.equal(first.metadata, undefined)
  assert.equal(last.metadata.pactstream_inexact_params, true)
  assert.equal(last.params.conn, '<Gateway>')
  assert.ok(JSON.stringify(last.params).length <= 60_000)
})

test('a verdict comes with the receipt, and unusable arguments are told, not thrown', async () => {
  const gateway = new Gateway()
  const verdicts = []
  const telemetry = gateway.telemetry({ pactId: PACT, onVerdict: (id, verdict) => verdicts.push([id, verdict.valid]) })
  const receipt = telemetry.toolCall({ tool: 't', params: { a: 1 } })
  assert.equal(receipt.status, 'pending')
  const verdict = await receipt.verdict()
  assert.deepEqual([verdict.valid, verdict.pactVersion, receipt.status], [true, 3, 'accepted'])
  assert.deepEqual(verdicts, [[receipt.eventId, true]])
  for (const event of [{}, { tool: 't', outcome: 'fine' }, { tool: '' }, { tool: 't', params: [] }]) {
    assert.equal(telemetry.toolCall(event).status, 'invalid')
  }
  assert.equal(telemetry.response({ input: 'x' }).status, 'invalid')
  assert.equal(telemetry.sessionEnd({ endedAt: 'yesterday' }).status, 'invalid')
  assert.equal(telemetry.stats().invalid, 6)
  await telemetry.close()
  assert.equal(gateway.problems.reduce((sum, { kind, count }) => sum + (kind === 'invalid' ? count : 0), 0), 6)
})

test('what the server rejects one by one is told one by one', async () => {
  const gateway = new Gateway()
  const telemetry = gateway.telemetry()
  const receipts = ['a', 'b', 'c'].map((tool) => telemetry.toolCall({ tool }))
  gateway.replies.push(async ({ sent }) =>
    Response.json({ results: [
      { eventId: sent.events[1].eventId, status: 'rejected', error: { code: 'NOT_FOUND' } },
      { eventId: sent.events[0].eventId, status: 'duplicate', validation: { valid: 'perhaps' } },
    ] }, { status: 207 }),
  )
  assert.ok(await telemetry.flush(5))
  assert.deepEqual(receipts.map(({ status }) => status), ['accepted', 'rejected', 'rejected'])
  assert.match(receipts[1].error, /NOT_FOUND/)
  assert.deepEqual(gateway.problems.map(({ kind, eventId }) => [kind, eventId === undefined]), [['answer', false], ['rejected', false], ['rejected', false]])
  assert.deepEqual({ ...telemetry.stats() }, { recorded: 3, accepted: 1, rejected: 2, dropped: 0, pending: 0, invalid: 0, retries: 0 })
  await telemetry.close()
})

test('an outage is waited for, with the same bytes, and nothing shows the key', async () => {
  const gateway = new Gateway()
  const telemetry = gateway.telemetry({ compressOverBytes: 10 })
  gateway.replies.push(down, answer(503, {}, { 'Retry-After': '0' }), answer(200, 'a portal'), answer(500), answer(429))
  telemetry.toolCall({ tool: 't', params: { text: 'x'.repeat(100) } })
  assert.ok(await telemetry.close(5))
  assert.equal(gateway.requests.length, 6)
  assert.equal(new Set(gateway.requests.map(({ body }) => Buffer.from(body).toString('hex'))).size, 1)
  assert.equal(gateway.requests[0].headers['Content-Encoding'], 'gzip')
  assert.deepEqual([telemetry.stats().accepted, telemetry.stats().retries], [1, 5])
  const said = gateway.problems.map(({ kind, message }) => `${kind} ${message}`).join()
  assert.match(said, /delayed .*ECONNREFUSED with \*\*\*/)
  assert.ok(!said.includes(KEY) && !inspect(telemetry, { depth: 9 }).includes(KEY))
  assert.ok(!JSON.stringify(telemetry).includes(KEY))
})

test('a batch that is too large for the gateway is halved, one that it fails on is given up in time', async () => {
  const gateway = new Gateway()
  const telemetry = gateway.telemetry({ retryForSeconds: 0.02 })
  const most = 2
  const limit = async ({ sent, path }) => (sent.events.length > most ? answer(413)() : gateway.accept(path, sent))
  gateway.replies.push(...Array(20).fill(limit))
  const receipts = Array.from({ length: 7 }, (_, n) => telemetry.toolCall({ tool: `t${n}` }))
  assert.ok(await telemetry.flush(5))
  assert.ok(receipts.every(({ status }) => status === 'accepted'))
  assert.deepEqual(gateway.batches.filter((one) => one.length <= most).flat().map(({ tool }) => tool), [0, 1, 2, 3, 4, 5, 6].map((n) => `t${n}`))
  gateway.replies = [answer(413)]
  assert.equal((telemetry.toolCall({ tool: 'alone' }), await telemetry.flush(5)), true)
  gateway.replies = Array(200).fill(answer(500))
  const lost = telemetry.toolCall({ tool: 'poison' })
  assert.ok(await telemetry.flush(5))
  assert.equal(lost.status, 'dropped')
  gateway.replies = []
  telemetry.toolCall({ tool: 'next', outcome: 'success', metadata: { a: 1 } })
  await telemetry.close()
  assert.deepEqual(gateway.events.at(-1).metadata, { a: 1, pactstream_dropped_events: 1 })
})

test('a refused request is refused once: redirects, keys, forms', async () => {
  for (const status of [302, 400, 401, 403]) {
    const gateway = new Gateway()
    const telemetry = gateway.telemetry()
    gateway.replies.push(answer(status, { error: 'no', code: 'X' }))
    const receipt = telemetry.toolCall({ tool: 't' })
    assert.ok(await telemetry.close())
    assert.equal(receipt.status, 'rejected')
    assert.equal(gateway.requests.length, 1)
    assert.match(receipt.error, /no \(X\)/)
  }
})

test('what does not fit is dropped, counted and declared by the next event', async () => {
  const gateway = new Gateway()
  const telemetry = gateway.telemetry({ maxBufferedEvents: 2, batchSize: 2, maxBufferedBytes: 3_000 })
  gateway.replies.push(down)
  const tell = (params) => telemetry.toolCall({ tool: 't', params })
  const receipts = [tell({}), tell({}), tell({}), tell({}), tell({}), tell({})]
  assert.deepEqual(receipts.slice(4).map(({ status }) => status), ['dropped', 'dropped'])
  assert.ok(await telemetry.flush(5))
  assert.equal(tell({ text: 'x'.repeat(4_000) }).status, 'dropped')
  tell({})
  assert.equal(await telemetry.close(), true)
  assert.equal(gateway.events.at(-1).metadata.pactstream_dropped_events, 3)
  const { recorded, accepted, dropped, pending } = telemetry.stats()
  assert.deepEqual({ recorded, accepted, dropped, pending }, { recorded: 8, accepted: 5, dropped: 3, pending: 0 })
  assert.equal(tell({}).error, 'telemetry is closed')
})

test('close keeps its deadline: what is left is given up and counted', async () => {
  const gateway = new Gateway()
  const telemetry = gateway.telemetry({ batchSize: 1, retryFirstSeconds: 60, retryMaxSeconds: 60 })
  gateway.replies.push(answer(503, {}, { 'Retry-After': '60' }), answer(503))
  const receipts = [1, 2].map(() => telemetry.toolCall({ tool: 't' }))
  assert.equal(await telemetry.flush(0.05), false)
  assert.equal(await telemetry.close(0.05), false)
  assert.deepEqual(receipts.map(({ status }) => status), ['dropped', 'dropped'])
  assert.equal(telemetry.stats().dropped, 2)
})

test('events go when a batch is full, or when their time has come', async () => {
  const gateway = new Gateway()
  const telemetry = gateway.telemetry({ batchSize: 2, flushIntervalSeconds: 0.02 })
  const receipts = [1, 2, 3].map((n) => telemetry.toolCall({ tool: `t${n}` }))
  // Waiting for a verdict would hurry: a timer of the test's own holds the process.
  while (receipts.some(({ status }) => status === 'pending')) await new Promise((resolve) => setTimeout(resolve, 5))
  assert.deepEqual(gateway.batches.map((one) => one.length), [2, 1])
  await telemetry.close()
})

test('a forbidden call is not made, and neither is one that nobody can judge', async () => {
  const gateway = new Gateway()
  const telemetry = gateway.telemetry({ pactId: PACT, blockOn: 'critical', preflightTimeoutSeconds: 0.05 })
  let made = 0
  const receipts = []
  const pay = telemetry.instrumentTool((params) => (made += params.amount), { name: 'pay', onReceipt: (one) => receipts.push(one) })
  assert.equal(await pay({ amount: 1 }), 1)
  const [{ path, sent }] = gateway.requests
  assert.equal(path, `/base/api/v1/pacts/${PACT}/validate-call`)
  assert.deepEqual({ ...sent, sessionId: '' }, { agentId: AGENT, sessionId: '', tool: 'pay', params: { amount: 1 } })
  gateway.preflight = VIOLATED
  await assert.rejects(pay({ amount: 2 }), (error) => {
    return error instanceof PactViolation && error.verdict.summary() === 'destination breaks allowList'
  })
  gateway.preflight = { ...VIOLATED, severity: 'major' }
  await pay({ amount: 10 })
  gateway.replies.push(silent)
  await assert.rejects(pay({ amount: 3 }), PreflightUnavailable)
  await assert.rejects(pay({ amount: new Gateway() }), /no exact JSON form/)
  gateway.extra = { valid: true }
  await assert.rejects(pay({ amount: 5 }), /contradicts itself/)
  assert.equal(made, 11)
  assert.ok(await telemetry.close())
  const outcomes = gateway.events.map(({ outcome }) => outcome)
  assert.deepEqual(outcomes, ['success', 'denied', 'success', 'denied', 'denied', 'denied'])
  assert.deepEqual(receipts.map(({ eventId }) => eventId), gateway.events.map(({ eventId }) => eventId))
  assert.match(gateway.events[1].errorMessage, /^PactViolation: the pact forbids this call \(critical\)/)
  assert.equal(gateway.events[1].latencyMs, undefined)
})

test('a connection that broke is asked once more; `allow` lets the call go ahead and says so', async () => {
  const gateway = new Gateway()
  const telemetry = gateway.telemetry({ pactId: PACT, blockOn: 'info', preflightUnavailable: 'allow' })
  const pay = telemetry.instrumentTool(transfer)
  gateway.replies.push(down)
  assert.equal(await pay({ destination: 'a', amount: 1 }), 'sent 1 to a')
  assert.equal(gateway.problems.length, 0)
  gateway.replies.push(down, down)
  await pay({ destination: 'a', amount: 1 })
  assert.deepEqual(gateway.problems.map(({ kind }) => kind), ['preflight'])
  const unusable = telemetry.openSession({ pactId: 'treasury' })
  await unusable.instrumentTool(transfer)({ destination: 'a', amount: 1 })
  await telemetry.close()
})

test('a session whose pact cannot be used has its calls refused', async () => {
  const gateway = new Gateway()
  const telemetry = gateway.telemetry({ blockOn: 'info' })
  await assert.rejects(
    telemetry.session({ pactId: 'treasury' }, (session) => session.instrumentTool(transfer)({})),
    PreflightUnavailable,
  )
  await telemetry.close()
})

test('before a question about a pact with windows, what was recorded is delivered', async () => {
  const gateway = new Gateway()
  gateway.extra = { asOf: '2026-05-13T10:00:00Z' }
  const telemetry = gateway.telemetry({ pactId: PACT, blockOn: 'critical' })
  const pay = telemetry.instrumentTool(transfer)
  await pay({ destination: 'a', amount: 1 })
  await pay({ destination: 'a', amount: 2 })
  const order = gateway.requests.map(({ path }) => path.split('/').at(-1))
  assert.deepEqual(order, ['validate-call', 'events', 'validate-call'])
  await telemetry.close()
})

test('a reservation goes with the event, and is given back when the call is not made', async () => {
  const gateway = new Gateway()
  gateway.extra = { asOf: '2026-05-13T10:00:00Z', reservation: { reservationId: 'r' } }
  const telemetry = gateway.telemetry({ pactId: PACT, blockOn: 'critical', reserve: true })
  const pay = telemetry.instrumentTool(transfer)
  await pay({ destination: 'a', amount: 1 })
  const { sent } = gateway.requests[0]
  assert.deepEqual([sent.reserve, sent.blockOn], [true, 'critical'])
  gateway.preflight = VIOLATED
  gateway.extra = { asOf: '2026-05-13T10:00:00Z', reservation: null }
  await assert.rejects(pay({ destination: 'a', amount: 2 }), PactViolation)
  gateway.preflight = VALID
  await assert.rejects(pay({ destination: 'a', amount: 3 }), /holds nothing for it/)
  await telemetry.close()
  const call = gateway.events.find(({ outcome }) => outcome === 'success')
  assert.equal(call.reservationId, sent.reservationId)
  const given = gateway.requests.filter(({ method }) => method === 'DELETE').map(({ path }) => path)
  const asked = gateway.requests.filter(({ sent: one }) => one?.reserve).map(({ sent: one }) => one.reservationId)
  assert.ok(given.length === 2 && given.every((path) => asked.slice(1).includes(path.split('/').at(-1))))
})

test('unusable options are refused when it is made, and the key is not in the message', () => {
  const good = { apiKey: KEY, baseUrl: 'https://gateway.example', agentId: AGENT }
  for (const bad of [
    { apiKey: '' },
    { apiKey: 'a b' },
    { baseUrl: 'http://gateway.example' },
    { baseUrl: 'https://user:pw@gateway.example' },
    { baseUrl: 'gateway' },
    { agentId: 'atlas' },
    { pactId: 'x' },
    { batchSize: 501 },
    { flushIntervalSeconds: 0 },
    { maxBufferedEvents: 1 },
    { blockOn: 'grave' },
    { reserve: true },
    { preflightUnavailable: 'perhaps' },
  ]) {
    assert.throws(() => new Telemetry({ ...good, ...bad }), (error) => !error.message.includes(KEY), JSON.stringify(bad))
  }
  for (const baseUrl of ['http://127.0.0.1:8080', 'http://localhost', 'http://[::1]:1']) new Telemetry({ ...good, baseUrl })
  new Telemetry({ ...good, baseUrl: 'http://gateway.internal', allowInsecure: true })
})

test('what cannot be a tool is refused when it is wrapped', () => {
  const telemetry = new Gateway().telemetry()
  assert.throws(() => telemetry.instrumentTool('tool'), TypeError)
  assert.throws(() => telemetry.instrumentTool(function* () {}), /generator/)
  assert.throws(() => telemetry.instrumentTool(async function* () {}), /generator/)
  assert.throws(() => telemetry.instrumentTool(() => 1), /name/)
  assert.throws(() => telemetry.instrumentTool(transfer, { parameters: ['a'], exclude: ['b'] }), /names no parameter/)
  assert.throws(() => telemetry.instrumentTool(transfer, { pactId: 'treasury' }), /UUID/)
})
