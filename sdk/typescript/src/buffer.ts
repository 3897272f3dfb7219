/**
 * The bounded queue between the agent and the sender, and the accounts of every event.
 *
 * At any moment `recorded === accepted + rejected + dropped + pending`: an event is never lost without being counted.
 */
import { monotonicMillis } from './ids.js'
import type { Config } from './options.js'
import type { Receipt } from './receipt.js'

/** An event as it goes on the wire, its length in bytes, when it was recorded, and its receipt. */
export interface Entry {
  readonly event: string
  readonly bytes: number
  readonly recordedAt: number
  readonly receipt: Receipt
}

/** Counts since `Telemetry` was made; `invalid` were never recorded, `retries` are attempts that were repeated. */
export interface Stats {
  readonly recorded: number
  readonly accepted: number
  readonly rejected: number
  readonly dropped: number
  readonly pending: number
  readonly invalid: number
  readonly retries: number
}

const BATCH_BYTES = 900_000

export class Buffer {
  recorded = 0
  accepted = 0
  rejected = 0
  dropped = 0
  /** Of the dropped: those that no recorded event has told the server about yet. */
  undeclared = 0
  closed = false
  #entries: Entry[] = []
  #inFlight: readonly Entry[] = []
  #bytes = 0
  #queued = 0
  #done = 0
  #flushBefore = -1
  #waiting: { readonly target: number; readonly wake: () => void }[] = []

  constructor(private readonly config: Config) {}

  get pending(): number {
    return this.recorded - this.accepted - this.rejected - this.dropped
  }

  /** Everything that has no fate yet, the oldest first. */
  get unsettled(): readonly Entry[] {
    return [...this.#inFlight, ...this.#entries]
  }

  /** Queue an event; null, or why it was dropped. `declares`: the drops that it tells the server about. */
  put(entry: Entry, declares: number): string | null {
    this.recorded += 1
    const reason = this.#refusal(entry)
    if (reason !== null) {
      this.#drop(1)
      return reason
    }
    this.undeclared -= declares
    this.#bytes += entry.bytes
    this.#entries.push(entry)
    this.#queued += 1
    return null
  }

  /** Milliseconds until a batch is due: 0 at once, null where there is nothing to send. */
  millisLeft(): number | null {
    const [oldest] = this.#entries
    if (oldest === undefined) return null
    const full = this.#entries.length >= this.config.batchSize
    if (full || this.closed || oldest.recordedAt <= this.#flushBefore) return 0
    return Math.max(0, oldest.recordedAt + this.config.flushIntervalSeconds * 1_000 - monotonicMillis())
  }

  /** The next batch, now in flight. */
  take(): readonly Entry[] {
    let size = 0
    let count = 0
    for (const entry of this.#entries.slice(0, this.config.batchSize)) {
      size += entry.bytes
      if (count > 0 && size > BATCH_BYTES) break
      count += 1
    }
    this.#inFlight = this.#entries.splice(0, count)
    this.#bytes -= this.#inFlight.reduce((sum, entry) => sum + entry.bytes, 0)
    return this.#inFlight
  }

  /** Enter the fates of the batch taken last. */
  settle(fates: { readonly accepted: number; readonly rejected: number; readonly dropped: number }): void {
    this.accepted += fates.accepted
    this.rejected += fates.rejected
    this.#drop(fates.dropped)
    this.#done += this.#inFlight.length
    this.#inFlight = []
    this.#wake()
  }

  /** Make everything recorded until now due. */
  hurry(): void {
    this.#flushBefore = monotonicMillis()
  }

  /** Wait until every event recorded before this call has its fate; whether that came in time. */
  async settled(timeoutSeconds: number | null): Promise<boolean> {
    const target = this.#queued
    if (this.#done >= target) return true
    let timer: ReturnType<typeof setTimeout> | undefined
    await new Promise<void>((resolve) => {
      this.#waiting.push({ target, wake: resolve })
      if (timeoutSeconds !== null) timer = setTimeout(resolve, timeoutSeconds * 1_000)
    })
    clearTimeout(timer)
    return this.#done >= target
  }

  /** Give up what is still queued. */
  abandon(): readonly Entry[] {
    const givenUp = this.#entries
    this.#entries = []
    this.#bytes = 0
    this.#drop(givenUp.length)
    this.#done += givenUp.length
    this.#wake()
    return givenUp
  }

  #refusal(entry: Entry): string | null {
    const { maxBufferedEvents, maxBufferedBytes } = this.config
    if (this.closed) return 'telemetry is closed'
    if (this.#entries.length >= maxBufferedEvents) return `the buffer is full (${maxBufferedEvents} events)`
    return this.#bytes + entry.bytes > maxBufferedBytes ? `the buffer is full (${maxBufferedBytes} bytes)` : null
  }

  #drop(events: number): void {
    this.dropped += events
    this.undeclared += events
  }

  #wake(): void {
    const due = this.#waiting.filter((one) => one.target <= this.#done)
    this.#waiting = this.#waiting.filter((one) => one.target > this.#done)
    for (const { wake } of due) wake()
  }
}
