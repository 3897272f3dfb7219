/** Delivery in the background: one batch at a time and in order, each until its fate is known. */
import { Buffer, type Entry } from './buffer.js'
import { monotonicMillis } from './ids.js'
import type { Config } from './options.js'
import { quietly, type Reports } from './reports.js'
import {
  type Body,
  DeliveryFailed,
  type Fate,
  jsonBody,
  NotNow,
  readFates,
  Refused,
  type Transport,
  Unreadable,
} from './transport.js'
import { utf8 } from './bytes.js'

const EVENTS_PATH = '/api/v1/telemetry/events'
const FAREWELL_BYTES = 60_000 // browsers take 64 KiB of bodies that outlive their page

export class Sender {
  retries = 0
  #abandoned = false
  #running = false
  #endPause = false
  #resume: (() => void) | null = null
  #timer: ReturnType<typeof setTimeout> | undefined

  constructor(
    private readonly config: Config,
    private readonly buffer: Buffer,
    private readonly transport: Transport,
    private readonly reports: Reports,
  ) {}

  /** See to it that what is due is sent, now or when its time has come. */
  wake(): void {
    if (this.#running) return
    clearTimeout(this.#timer)
    const left = this.buffer.millisLeft()
    if (left === 0) void this.#run()
    // A timer alone does not keep a process alive: its end sends what is left.
    else if (left !== null) this.#timer = unheld(setTimeout(() => this.wake(), left))
  }

  /** Make everything recorded until now due; with `endPause`, end a pause between attempts too. */
  hurry(endPause = false): void {
    this.buffer.hurry()
    if (endPause) {
      this.#endPause = true
      this.#resume?.()
    }
    this.wake()
  }

  /** Give up: no further attempt is made. */
  abandon(): readonly Entry[] {
    this.#abandoned = true
    clearTimeout(this.#timer)
    const givenUp = this.buffer.abandon()
    this.#resume?.()
    return givenUp
  }

  /** The page may end now: hand what fits to the browser. It stays in the buffer; the pipeline drops repeats by id. */
  farewell(): void {
    const events: string[] = []
    let size = 0
    for (const entry of this.buffer.unsettled) {
      size += entry.bytes + 1
      if (size > FAREWELL_BYTES || events.length === this.config.batchSize) break
      events.push(entry.event)
    }
    if (events.length === 0) return
    const content = utf8(`{"events":[${events.join(',')}]}`)
    this.transport.farewell(EVENTS_PATH, { content, headers: { 'Content-Type': 'application/json' } })
  }

  async #run(): Promise<void> {
    this.#running = true
    while (this.buffer.millisLeft() === 0) {
      const batch = this.buffer.take()
      this.#endPause = false
      let fates: readonly Fate[]
      try {
        fates = await this.#deliver(batch)
      } catch (error) {
        // A fault of ours must not end delivery for good; this batch is counted as lost.
        fates = this.#allDropped(batch, `unexpected ${(error as Error).name}`)
      }
      this.#tell(batch, fates)
      this.reports.catchUp()
    }
    this.#running = false
    this.wake()
  }

  async #deliver(batch: readonly Entry[]): Promise<readonly Fate[]> {
    const text = `{"events":[${batch.map((entry) => entry.event).join(',')}]}`
    const body = await jsonBody(text, this.config.compressOverBytes)
    const eventIds = batch.map((entry) => entry.receipt.eventId)
    try {
      return this.#reported(await this.#persist(body, eventIds), eventIds)
    } catch (failure) {
      if (failure instanceof Refused) return this.#refused(failure, batch, eventIds)
      if (failure instanceof DeliveryFailed) return this.#allDropped(batch, `given up: ${failure.message}`)
      throw failure
    }
  }

  /** The same bytes until the server has decided on them. @throws DeliveryFailed it is time to give up. */
  async #persist(body: Body, eventIds: readonly string[]): Promise<readonly Fate[]> {
    const startedAt = monotonicMillis()
    for (let attempt = 1; ; attempt += 1) {
      const outcome = await this.#attempt(body, eventIds)
      if (!(outcome instanceof NotNow)) return outcome
      const spentSeconds = (monotonicMillis() - startedAt) / 1_000
      // An unreachable or overloaded server is waited for as long as it takes, since the buffer is bounded anyway. But
      // one that fails on this very batch would hold up all that follow.
      if (this.#abandoned || (outcome.suspicious && spentSeconds > this.config.retryForSeconds)) throw outcome
      this.retries += 1
      this.reports.report('delayed', `delivery is retried: ${outcome.message}`)
      await this.#pause(outcome, attempt)
    }
  }

  async #attempt(body: Body, eventIds: readonly string[]): Promise<readonly Fate[] | NotNow> {
    try {
      const timeout = this.config.requestTimeoutSeconds
      return readFates(await this.transport.request('POST', EVENTS_PATH, body, timeout), eventIds)
    } catch (failure) {
      if (failure instanceof NotNow) return failure
      // 2xx from something that is not the gateway proves nothing. Sending again is safe: the events keep their ids.
      if (failure instanceof Unreadable) return new NotNow(failure.message, null, true)
      throw failure
    }
  }

  async #refused(refusal: Refused, batch: readonly Entry[], eventIds: readonly string[]): Promise<readonly Fate[]> {
    if (refusal.status === 413 && batch.length > 1) {
      // This gateway, or a proxy before it, takes less at once.
      const middle = batch.length >> 1
      const first = await this.#deliver(batch.slice(0, middle))
      return [...first, ...(await this.#deliver(batch.slice(middle)))]
    }
    try {
      return this.#reported(readFates(refusal.content, eventIds), eventIds)
    } catch (error) {
      if (!(error instanceof Unreadable)) throw error
      // Refused as a whole (the key, the rate, the form), not event by event.
      this.reports.report('rejected', refusal.message, batch.length)
      return batch.map(() => ({ status: 'rejected', verdict: null, error: refusal.message }))
    }
  }

  #reported(fates: readonly Fate[], eventIds: readonly string[]): readonly Fate[] {
    fates.forEach(({ status, error }, at) => {
      if (status === 'rejected') this.reports.reportEvent('rejected', error ?? '', eventIds[at] ?? '')
      else if (error !== null) this.reports.reportEvent('answer', error, eventIds[at] ?? '')
    })
    return fates
  }

  #allDropped(batch: readonly Entry[], why: string): readonly Fate[] {
    this.reports.report('dropped', why, batch.length)
    return batch.map(() => ({ status: 'dropped', verdict: null, error: why }))
  }

  /** A hurry ends the pause, unless the server asked for it; one since the attempt began counts too. */
  async #pause(failure: NotNow, attempt: number): Promise<void> {
    const hurriable = failure.retryAfterSeconds === null
    if (!this.#abandoned && !(hurriable && this.#endPause)) {
      await new Promise<void>((resolve) => {
        const timer = unheld(setTimeout(resolve, pauseSeconds(failure, attempt, this.config) * 1_000))
        this.#resume = () => {
          if (!hurriable && !this.#abandoned) return
          clearTimeout(timer)
          resolve()
        }
      })
    }
    this.#resume = null
    this.#endPause = false
  }

  #tell(batch: readonly Entry[], fates: readonly Fate[]): void {
    const counts = { accepted: 0, rejected: 0, dropped: 0 }
    batch.forEach(({ receipt }, at) => {
      const { status, verdict, error } = fates[at] ?? { status: 'dropped', verdict: null, error: 'no fate' }
      counts[status] += 1
      receipt.settle(status, verdict, error)
      if (verdict === null) return
      quietly(
        () => this.config.onVerdict(receipt.eventId, verdict),
        (fault) => this.reports.report('callback', `onVerdict threw ${(fault as Error)?.name}`),
      )
    })
    // Last, so that when flush() returns, every verdict has been told.
    this.buffer.settle(counts)
  }
}

/** How long to wait after the failed `attempt` (from 1): exponential with jitter, or what the server asked for. */
export function pauseSeconds(
  failure: Pick<NotNow, 'retryAfterSeconds'>,
  attempt: number,
  config: Pick<Config, 'retryFirstSeconds' | 'retryMaxSeconds'>,
  random = Math.random(),
): number {
  const { retryFirstSeconds: first, retryMaxSeconds: max } = config
  if (failure.retryAfterSeconds !== null) return failure.retryAfterSeconds + random * first
  const low = Math.min(first / 2, max)
  const high = Math.min(max, first * 2 ** (attempt - 1))
  return low + random * (Math.max(high, low) - low)
}

/** A timer that does not keep a Node process alive. */
function unheld<T>(timer: T): T {
  ;(timer as { unref?: () => void }).unref?.()
  return timer
}
