/**
 * What surrounds a piece of code: its session, and the instrumented call that it runs in.
 *
 * It follows `await` where the runtime can do that (Node 20.16, Deno, Bun). Browsers cannot yet: there, a session's
 * own methods say what belongs to it.
 */
import type { Scope } from './events.js';
export interface Surroundings {
    /** The recorder whose session this is. */
    readonly owner: object;
    readonly scope: Scope;
    /** The event id of the call that this code runs in. */
    readonly callId: string | null;
}
/** The innermost surroundings of this owner here; undefined: none, or the runtime cannot say. */
export declare function surroundings(owner: object): Surroundings | undefined;
/** Runs `work` in these surroundings. */
export declare function within<R>(around: Surroundings, work: () => R): R;
