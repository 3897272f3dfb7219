import { type Metadata, type Scope } from './events.js';
import type { Receipt } from './receipt.js';
import type { Recorder } from './recorder.js';
export interface ToolOptions {
    /** The tool's name in the events; the function's own unless given. */
    readonly name?: string;
    /** The parameters' names, in order. Without them, a single object is taken for named arguments. */
    readonly parameters?: readonly string[];
    /** Parameters that are not sent: secrets, connections and the like. */
    readonly exclude?: readonly string[];
    /** Judge its calls against this pact, whatever the session says. */
    readonly pactId?: string;
    /** Sent with every call. */
    readonly metadata?: Metadata;
    /** Handed the receipt of each call, when its outcome is recorded. */
    readonly onReceipt?: (receipt: Receipt) => unknown;
}
/** An instrumented tool: the same arguments, and a promise of the same result. */
export type Instrumented<This, Args extends unknown[], Result> = (this: This, ...args: Args) => Promise<Awaited<Result>>;
/**
 * `tool` wrapped so that each call is recorded; its result or error passes unchanged.
 *
 * `home` is the scope of its calls; null: that of the session around each.
 *
 * @throws TypeError it is no function, a generator function, or an option is of no use.
 */
export declare function instrument<This, Args extends unknown[], Result>(recorder: Recorder, home: Scope | null, tool: (this: This, ...args: Args) => Result, options: ToolOptions): Instrumented<This, Args, Result>;
/** An error's name and text, bounded: `TypeError: no such account`. */
export declare function describe(error: unknown): string;
