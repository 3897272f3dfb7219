import { type Snapshot } from './plain.js';
export type Metadata = Readonly<Record<string, unknown>>;
export type EventType = 'session_start' | 'tool_call' | 'response' | 'session_end';
export type ToolOutcome = 'success' | 'error' | 'denied' | 'refused';
export type ResponseOutcome = 'success' | 'refusal' | 'partial' | 'error';
export type SessionOutcome = 'success' | 'failure' | 'aborted' | 'timeout';
/** What an event takes from its surroundings. `pactFault` says why a pact that was meant cannot be used. */
export interface Scope {
    readonly sessionId: string;
    readonly agentId: string;
    readonly pactId: string | null;
    readonly roomId: string | null;
    readonly pactFault: string | null;
}
/** What every event may carry; what is left out comes from the session around it, then from `Telemetry`. */
export interface EventContext {
    readonly sessionId?: string;
    readonly agentId?: string;
    readonly pactId?: string;
    readonly roomId?: string;
    readonly parentEventId?: string;
    readonly metadata?: Metadata;
}
/** An event ready to be queued. */
export interface Prepared {
    readonly eventId: string;
    readonly members: Readonly<Record<string, unknown>>;
    readonly params: Snapshot | null;
}
/** Metadata by which an event tells the ledger how many events before it this process lost. */
export declare const DROPS_KEY = "pactstream_dropped_events";
/** Metadata of a tool call whose arguments had to be shortened or replaced. */
export declare const INEXACT_KEY = "pactstream_inexact_params";
/** Uncompressed; the gateway takes a mebibyte. */
export declare const MAX_EVENT_BYTES = 900000;
/**
 * An event with its id.
 *
 * @throws TypeError the gateway would not take it.
 */
export declare function prepare(type: EventType, scope: Scope, context: EventContext, fields: Readonly<Record<string, unknown>>, params?: Snapshot | null, eventId?: string): Prepared;
/** The event as JSON text; `declares` drops are told to the ledger with it. */
export declare function encode({ members, params }: Prepared, declares?: number): string;
/** @throws TypeError it cannot be a name of the wire: empty, longer than 128 characters, control characters. */
export declare function checkedName(name: string, value: unknown): string;
