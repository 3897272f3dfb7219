/** `Telemetry`: what an agent's code holds. */
import type { Stats } from './buffer.js'
import type { EventContext, Scope } from './events.js'
import { checkedConfig, type TelemetryOptions } from './options.js'
import type { Receipt } from './receipt.js'
import { Recorder } from './recorder.js'
import { Recording, Session, type SessionEndEvent, type SessionOptions } from './session.js'

interface Listeners {
  addEventListener?(name: string, listener: () => void): void
  removeEventListener?(name: string, listener: () => void): void
}

interface NodeProcess {
  once?(name: string, listener: () => void): void
  off?(name: string, listener: () => void): void
}

/** Records an agent's behaviour and delivers it in the background. It never throws into the agent, except `blockOn`. */
export class Telemetry extends Recording {
  readonly #unhook: () => void

  /** @throws TypeError or RangeError an option is of no use. */
  constructor(options: TelemetryOptions) {
    super(new Recorder(checkedConfig(options)))
    this.#unhook = this.#hook()
  }

  /** A session around `work`: records its start and its end, whatever becomes of it; gives what `work` gives. */
  async session<R>(options: SessionOptions, work: (session: Session) => R): Promise<Awaited<R>> {
    const session = this.openSession(options)
    try {
      const result = await session.run(work)
      session.end()
      return result
    } catch (error) {
      session.fail(error)
      throw error
    }
  }

  /** A session to be ended by hand; its start is recorded now. */
  openSession(options: SessionOptions = {}): Session {
    return new Session(this.recorder, options)
  }

  /** Record the opening of a session; `session()` does this and closes it too. */
  sessionStart({ startedAt, ...context }: EventContext & { readonly startedAt?: Date | string } = {}): Receipt {
    return this.recorder.record(() => this.prepared('session_start', context, { startedAt }))
  }

  /** Record the end of a session. */
  sessionEnd(event: SessionEndEvent = {}): Receipt {
    const { outcome = 'success', reason, endedAt, ...context } = event
    return this.recorder.record(() => this.prepared('session_end', context, { outcome, reason, endedAt }))
  }

  /** Send what is buffered and wait for its fate (null: as long as it takes); whether all of it is settled. */
  flush(timeoutSeconds: number | null = null): Promise<boolean> {
    return this.recorder.settle(timeoutSeconds)
  }

  /** Take no more events, deliver those recorded in time, give up (and count) the rest; whether nothing was lost. */
  close(timeoutSeconds = this.recorder.config.closeTimeoutSeconds): Promise<boolean> {
    this.#unhook()
    return this.recorder.close(timeoutSeconds)
  }

  /** What has become of the events so far: `recorded === accepted + rejected + dropped + pending`. */
  stats(): Stats {
    const { recorded, accepted, rejected, dropped, pending } = this.recorder.buffer
    const invalid = this.recorder.reports.count('invalid')
    return { recorded, accepted, rejected, dropped, pending, invalid, retries: this.recorder.sender.retries }
  }

  protected override home(): Scope | null {
    return null
  }

  /** In a browser, sends when the page is hidden or left; in Node, at the end of the process. */
  #hook(): () => void {
    const { addEventListener, removeEventListener, document, process } = globalThis as Listeners & {
      readonly document?: Listeners & { readonly visibilityState?: string }
      readonly process?: NodeProcess
    }
    const leave = (): void => this.recorder.sender.farewell()
    const hide = (): void => {
      if (document?.visibilityState === 'hidden') this.recorder.sender.hurry()
    }
    const end = (): void => void this.close()
    if (document !== undefined) {
      addEventListener?.call(globalThis, 'pagehide', leave)
      document.addEventListener?.('visibilitychange', hide)
    } else {
      process?.once?.('beforeExit', end)
    }
    return () => {
      removeEventListener?.call(globalThis, 'pagehide', leave)
      document?.removeEventListener?.('visibilitychange', hide)
      process?.off?.('beforeExit', end)
    }
  }
}
