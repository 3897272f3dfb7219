/** The core of one `Telemetry`: turns events into queued text, and sees to their delivery. */
import { Buffer } from './buffer.js'
import { utf8 } from './bytes.js'
import { encode, MAX_EVENT_BYTES, type Prepared, type Scope } from './events.js'
import { monotonicMillis, uuid7 } from './ids.js'
import type { Config } from './options.js'
import { Preflight } from './preflight.js'
import { Receipt } from './receipt.js'
import { Reports } from './reports.js'
import { Sender } from './sender.js'
import { Transport } from './transport.js'

const CLOSED_EARLY = 'telemetry was closed before they could be delivered'
const LAST_MOMENT_SECONDS = 0.5

export class Recorder {
  readonly reports: Reports
  readonly buffer: Buffer
  readonly sender: Sender
  readonly preflight: Preflight
  /** What an event outside any session belongs to. */
  readonly unsessioned: Scope

  constructor(readonly config: Config) {
    this.reports = new Reports(config.onError)
    this.buffer = new Buffer(config)
    const transport = new Transport(config)
    this.sender = new Sender(config, this.buffer, transport, this.reports)
    this.preflight = new Preflight(config, transport, this.reports, this)
    const { agentId, pactId } = config
    this.unsessioned = { sessionId: `unsessioned-${uuid7()}`, agentId, pactId, roomId: null, pactFault: null }
  }

  /** Queue the event that `make` gives; what it throws is reported, and its receipt says so. */
  record(make: () => Prepared): Receipt {
    try {
      return this.#commit(make())
    } catch (error) {
      // Whatever is wrong with the arguments, the agent goes on.
      const message = String((error as Error)?.message ?? error).slice(0, 300)
      this.reports.report('invalid', message)
      return new Receipt('', () => undefined).settle('invalid', null, message)
    }
  }

  hasUnsettled(): boolean {
    return this.buffer.pending > 0
  }

  settle(timeoutSeconds: number | null): Promise<boolean> {
    this.sender.hurry(true)
    return this.buffer.settled(timeoutSeconds)
  }

  /** Deliver what can be delivered in time, give up and count the rest; whether nothing was lost. */
  async close(timeoutSeconds: number): Promise<boolean> {
    const droppedBefore = this.buffer.dropped
    this.buffer.closed = true
    await this.settle(timeoutSeconds)
    const givenUp = this.sender.abandon()
    for (const { receipt } of givenUp) receipt.settle('dropped', null, CLOSED_EARLY)
    if (givenUp.length > 0) this.reports.report('dropped', CLOSED_EARLY, givenUp.length)
    // Delivery ends at once, unless it is in the middle of a request.
    if (this.buffer.pending > 0) await this.buffer.settled(LAST_MOMENT_SECONDS)
    const { pending, dropped } = this.buffer
    if (pending > 0) this.reports.report('delayed', 'on their way when the time to close was up', pending)
    this.reports.catchUp(true)
    return pending === 0 && dropped === droppedBefore
  }

  #commit(prepared: Prepared): Receipt {
    const declares = this.buffer.undeclared
    const event = encode(prepared, declares)
    const bytes = utf8(event).length
    if (bytes > MAX_EVENT_BYTES) throw new TypeError(`${bytes} bytes; an event may have ${MAX_EVENT_BYTES}`)
    const receipt = new Receipt(prepared.eventId, () => this.sender.hurry())
    const reason = this.buffer.put({ event, bytes, recordedAt: monotonicMillis(), receipt }, declares)
    if (reason === null) {
      this.sender.wake()
    } else {
      receipt.settle('dropped', null, reason)
      this.reports.report('dropped', reason)
    }
    return receipt
  }
}
