/** What every telemetry method returns: the event's id at once, its verdict when the server has answered. */
import type { Verdict } from './verdict.js'

/**
 * - `pending`: in the buffer or on its way;
 * - `accepted`: the server has it durably;
 * - `rejected`: the server refused it for good;
 * - `dropped`: lost on this side (buffer full, closed, given up);
 * - `invalid`: never recorded, the arguments were unusable.
 */
export type Status = 'pending' | 'accepted' | 'rejected' | 'dropped' | 'invalid'

/** The fate of one recorded event. `error` says why it is `rejected`, `dropped` or `invalid`. */
export class Receipt {
  status: Status = 'pending'
  error: string | null = null
  #verdict: Verdict | null = null
  #waiting: (() => void)[] = []
  #hurry: () => void

  /** @internal `eventId` is the UUIDv7 under which the event is sent; empty if `invalid`. */
  constructor(readonly eventId: string, hurry: () => void) {
    this.#hurry = hurry
  }

  /**
   * The server's verdict, waited for up to `timeoutSeconds`. Buffered events are sent at once instead of at the next
   * flush. Null: no pact was in scope, the event did not arrive, or time is up; `status` tells which. Never rejects.
   */
  async verdict(timeoutSeconds = 5): Promise<Verdict | null> {
    if (this.status === 'pending') {
      let timer: ReturnType<typeof setTimeout> | undefined
      const settled = new Promise<void>((resolve) => {
        this.#waiting.push(resolve)
        timer = setTimeout(resolve, timeoutSeconds * 1_000)
      })
      this.#hurry()
      await settled
      clearTimeout(timer)
    }
    return this.#verdict
  }

  /** @internal Fixes the fate of the event and wakes whoever waits for it. */
  settle(status: Status, verdict: Verdict | null = null, error: string | null = null): this {
    this.#verdict = verdict
    this.error = error
    this.status = status
    // A receipt that is kept must not keep a whole Telemetry alive.
    this.#hurry = () => undefined
    for (const wake of this.#waiting.splice(0)) wake()
    return this
  }
}
