// A gateway in place of `fetch`: keeps what it is sent, answers as told, and accepts the rest.
import { gunzipSync } from 'node:zlib'
import { Telemetry } from '../dist/index.js'

export const AGENT = '76cf31d6-ffe3-4a5c-8748-021114aa8066'
export const PACT = '2f1c9a54-8f0e-4e6b-9d52-6a1f0c3b7e11'
export const KEY = 'pk_live_abc_secret'
export const VALID = { valid: true, bound: true, pactId: PACT, pactVersion: 3, severity: null, violations: [] }
export const VIOLATED = {
  ...VALID,
  valid: false,
  severity: 'critical',
  violations: [{ paramPath: 'destination', rule: 'allowList', severity: 'critical', value: '0xBAD' }],
}

export class Gateway {
  requests = []
  replies = []
  problems = []
  preflight = VALID
  extra = {}

  fetch = async (url, { method, body, headers, signal, keepalive }) => {
    const bytes = body === null ? null : headers['Content-Encoding'] === 'gzip' ? gunzipSync(body) : body
    const text = bytes === null ? 'null' : new TextDecoder().decode(bytes)
    const sent = JSON.parse(text)
    const path = new URL(url).pathname
    this.requests.push({ method, path, headers, body, text, sent, keepalive })
    const reply = this.replies.shift()
    return reply === undefined ? this.accept(path, sent) : reply({ sent, signal, path })
  }

  accept = (path, sent) => {
    if (path.endsWith('/validate-call')) {
      return Response.json({ valid: this.preflight.valid, validation: this.preflight, ...this.extra })
    }
    if (path.includes('/reservations/')) return new Response(null, { status: 204 })
    const results = sent.events.map(({ eventId, pactId, type }) => {
      const validation = pactId !== undefined && type === 'tool_call' ? VALID : null
      return { eventId, status: 'accepted', validation }
    })
    return Response.json({ accepted: results.length, results })
  }

  get batches() {
    return this.requests.filter(({ path }) => path.endsWith('/events')).map(({ sent }) => sent.events)
  }

  get events() {
    return this.batches.flat()
  }

  telemetry(options = {}) {
    return new Telemetry({
      apiKey: KEY,
      baseUrl: 'https://gateway.example/base/',
      agentId: AGENT,
      flushIntervalSeconds: 60,
      retryFirstSeconds: 0.002,
      retryMaxSeconds: 0.004,
      fetch: this.fetch,
      onError: (problem) => this.problems.push(problem),
      ...options,
    })
  }
}

/** A fixed answer. */
export const answer = (status, body = {}, headers = {}) => async () => Response.json(body, { status, headers })
/** No connection. */
export const down = async () => {
  throw new TypeError('fetch failed', { cause: new Error(`connect ECONNREFUSED with ${KEY}`) })
}
/** An answer that never comes. */
export const silent = ({ signal }) =>
  new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
