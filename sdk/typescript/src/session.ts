/** A unit of work that opens, encloses and closes its events. */
import { surroundings, within } from './ambient.js'
import {
  checkedName,
  type EventContext,
  type EventType,
  type Metadata,
  prepare,
  type ResponseOutcome,
  type Scope,
  type SessionOutcome,
  type ToolOutcome,
} from './events.js'
import { checkedUuid, uuid7 } from './ids.js'
import { snapshot, text } from './plain.js'
import type { Receipt } from './receipt.js'
import type { Recorder } from './recorder.js'
import { describe, instrument, type Instrumented, type ToolOptions } from './tool.js'

/** What is left out comes from the session around it, then from `Telemetry`; the id is made. */
export interface SessionOptions {
  readonly sessionId?: string
  readonly agentId?: string
  readonly pactId?: string
  readonly roomId?: string
  readonly metadata?: Metadata
}

export interface ToolCallEvent extends EventContext {
  readonly tool: string
  readonly params?: Readonly<Record<string, unknown>>
  /** `success` unless given. */
  readonly outcome?: ToolOutcome
  readonly attemptedAt?: Date | string
  readonly latencyMs?: number
  readonly errorMessage?: string
  readonly reservationId?: string
}

export interface ResponseEvent extends EventContext {
  readonly input: string
  readonly output: string
  /** `success` unless given. */
  readonly outcome?: ResponseOutcome
  readonly emittedAt?: Date | string
  readonly latencyMs?: number
  readonly tokenCount?: number
}

export interface SessionEndEvent extends EventContext {
  /** `success` unless given. */
  readonly outcome?: SessionOutcome
  readonly reason?: string
  readonly endedAt?: Date | string
}

const MAX_REASON = 1_000

/** What can be recorded: by a session under its own id, by `Telemetry` under that of the session around. */
export abstract class Recording {
  /** @internal */
  protected declare readonly recorder: Recorder

  /** @internal */
  constructor(recorder: Recorder) {
    // Not shown by console.log, nor by whatever else looks at an object's members.
    Object.defineProperty(this, 'recorder', { value: recorder })
  }

  /** The scope of what is recorded here; null: that of the surroundings. */
  protected abstract home(): Scope | null

  /** Record one tool call. */
  toolCall(event: ToolCallEvent): Receipt {
    return this.recorder.record(() => {
      const { tool, params, outcome = 'success', attemptedAt, latencyMs, errorMessage, reservationId, ...context } = event
      if (params !== undefined && (typeof params !== 'object' || params === null || Array.isArray(params))) {
        throw new TypeError('params must be an object')
      }
      const fields = { tool, outcome, attemptedAt, latencyMs, errorMessage, reservationId }
      return this.prepared('tool_call', context, fields, snapshot(Object.entries(params ?? {})))
    })
  }

  /** Record what the agent said to a counterparty. */
  response(event: ResponseEvent): Receipt {
    return this.recorder.record(() => {
      const { input, output, outcome = 'success', emittedAt, latencyMs, tokenCount, ...context } = event
      return this.prepared('response', context, { input, output, outcome, emittedAt, latencyMs, tokenCount })
    })
  }

  /**
   * Record every call of a function. The wrapper returns a promise, since it may have to ask before the call.
   *
   * @throws TypeError it is no function, a generator function, or an option is of no use.
   */
  instrumentTool<This, Args extends unknown[], Result>(
    tool: (this: This, ...args: Args) => Result,
    options: ToolOptions = {},
  ): Instrumented<This, Args, Result> {
    return instrument(this.recorder, this.home(), tool, options)
  }

  /** @internal */
  protected prepared(
    type: EventType,
    context: EventContext,
    fields: Readonly<Record<string, unknown>>,
    params: ReturnType<typeof snapshot> | null = null,
  ): ReturnType<typeof prepare> {
    const around = surroundings(this.recorder)
    const nearest = this.home() ?? around?.scope ?? this.recorder.unsessioned
    const { sessionId = nearest.sessionId } = context
    // Another session than the nearest: its pact and room are not known here.
    const scope = sessionId === nearest.sessionId ? nearest : { ...this.recorder.unsessioned, sessionId }
    const parent = around?.callId ?? null
    return prepare(type, scope, parent === null ? context : { parentEventId: parent, ...context }, fields, params)
  }
}

/** A session. What its methods record belongs to it, and so does what is recorded inside `run`. */
export class Session extends Recording {
  readonly #scope: Scope
  #ended = false

  /** @internal */
  constructor(recorder: Recorder, options: SessionOptions = {}) {
    super(recorder)
    this.#scope = openScope(recorder, options)
    const { metadata } = options
    const context = metadata === undefined ? {} : { metadata }
    recorder.record(() => this.prepared('session_start', context, { startedAt: null }))
  }

  /** The session id that its events carry. */
  get id(): string {
    return this.#scope.sessionId
  }

  /** The pact that its tool calls are judged against. */
  get pactId(): string | null {
    return this.#scope.pactId
  }

  /**
   * Runs `work` inside the session. In Node, whatever it records, calls of the telemetry's own tools included, belongs
   * to the session; in a browser, what is recorded by this session's methods and tools.
   */
  run<R>(work: (session: this) => R): R {
    const callId = surroundings(this.recorder)?.callId ?? null
    return within({ owner: this.recorder, scope: this.#scope, callId }, () => work(this))
  }

  /** Records the end, once; a later call does nothing. */
  end(outcome: SessionOutcome = 'success', reason?: string): void {
    if (this.#ended) return
    this.#ended = true
    const bounded = reason === undefined ? undefined : text(reason, MAX_REASON)
    this.recorder.record(() => this.prepared('session_end', {}, { outcome, reason: bounded, endedAt: null }))
  }

  /** @internal Ends as the error says that left it: nothing that was said before is overridden. */
  fail(error: unknown): void {
    const name = error instanceof Error || error instanceof DOMException ? error.name : ''
    const outcome = name === 'TimeoutError' ? 'timeout' : name === 'AbortError' ? 'aborted' : 'failure'
    this.end(outcome, describe(error))
  }

  protected override home(): Scope {
    return this.#scope
  }
}

/** The scope of a new session inside the present one; what cannot be used is reported and left out. */
function openScope(recorder: Recorder, options: SessionOptions): Scope {
  const outer = surroundings(recorder)?.scope ?? recorder.unsessioned
  const usable = (name: keyof SessionOptions, check: (name: string, value: unknown) => string): string | null => {
    const value = options[name] ?? null
    try {
      return value === null ? null : check(name, value)
    } catch (error) {
      recorder.reports.report('invalid', `session: ${(error as Error).message}`)
      return null
    }
  }
  const inherits = (options.pactId ?? null) === null
  const pactId = usable('pactId', checkedUuid)
  return {
    sessionId: usable('sessionId', checkedName) ?? uuid7(),
    agentId: usable('agentId', checkedUuid) ?? outer.agentId,
    roomId: usable('roomId', checkedName) ?? outer.roomId,
    pactId: inherits ? outer.pactId : pactId,
    pactFault: inherits ? outer.pactFault : pactId === null ? "the session's pactId is not a UUID" : null,
  }
}
