import { type EventContext, type EventType, type Metadata, prepare, type ResponseOutcome, type Scope, type SessionOutcome, type ToolOutcome } from './events.js';
import { snapshot } from './plain.js';
import type { Receipt } from './receipt.js';
import type { Recorder } from './recorder.js';
import { type Instrumented, type ToolOptions } from './tool.js';
/** What is left out comes from the session around it, then from `Telemetry`; the id is made. */
export interface SessionOptions {
    readonly sessionId?: string;
    readonly agentId?: string;
    readonly pactId?: string;
    readonly roomId?: string;
    readonly metadata?: Metadata;
}
export interface ToolCallEvent extends EventContext {
    readonly tool: string;
    readonly params?: Readonly<Record<string, unknown>>;
    /** `success` unless given. */
    readonly outcome?: ToolOutcome;
    readonly attemptedAt?: Date | string;
    readonly latencyMs?: number;
    readonly errorMessage?: string;
    readonly reservationId?: string;
}
export interface ResponseEvent extends EventContext {
    readonly input: string;
    readonly output: string;
    /** `success` unless given. */
    readonly outcome?: ResponseOutcome;
    readonly emittedAt?: Date | string;
    readonly latencyMs?: number;
    readonly tokenCount?: number;
}
export interface SessionEndEvent extends EventContext {
    /** `success` unless given. */
    readonly outcome?: SessionOutcome;
    readonly reason?: string;
    readonly endedAt?: Date | string;
}
/** What can be recorded: by a session under its own id, by `Telemetry` under that of the session around. */
export declare abstract class Recording {
    /** @internal */
    protected readonly recorder: Recorder;
    /** @internal */
    constructor(recorder: Recorder);
    /** The scope of what is recorded here; null: that of the surroundings. */
    protected abstract home(): Scope | null;
    /** Record one tool call. */
    toolCall(event: ToolCallEvent): Receipt;
    /** Record what the agent said to a counterparty. */
    response(event: ResponseEvent): Receipt;
    /**
     * Record every call of a function. The wrapper returns a promise, since it may have to ask before the call.
     *
     * @throws TypeError it is no function, a generator function, or an option is of no use.
     */
    instrumentTool<This, Args extends unknown[], Result>(tool: (this: This, ...args: Args) => Result, options?: ToolOptions): Instrumented<This, Args, Result>;
    /** @internal */
    protected prepared(type: EventType, context: EventContext, fields: Readonly<Record<string, unknown>>, params?: ReturnType<typeof snapshot> | null): ReturnType<typeof prepare>;
}
/** A session. What its methods record belongs to it, and so does what is recorded inside `run`. */
export declare class Session extends Recording {
    #private;
    /** @internal */
    constructor(recorder: Recorder, options?: SessionOptions);
    /** The session id that its events carry. */
    get id(): string;
    /** The pact that its tool calls are judged against. */
    get pactId(): string | null;
    /**
     * Runs `work` inside the session. In Node, whatever it records, calls of the telemetry's own tools included, belongs
     * to the session; in a browser, what is recorded by this session's methods and tools.
     */
    run<R>(work: (session: this) => R): R;
    /** Records the end, once; a later call does nothing. */
    end(outcome?: SessionOutcome, reason?: string): void;
    /** @internal Ends as the error says that left it: nothing that was said before is overridden. */
    fail(error: unknown): void;
    protected home(): Scope;
}
