/**
 * What surrounds a piece of code: its session, and the instrumented call that it runs in.
 *
 * It follows `await` where the runtime can do that (Node 20.16, Deno, Bun). Browsers cannot yet: there, a session's
 * own methods say what belongs to it.
 */
import type { Scope } from './events.js'

export interface Surroundings {
  /** The recorder whose session this is. */
  readonly owner: object
  readonly scope: Scope
  /** The event id of the call that this code runs in. */
  readonly callId: string | null
}

interface Storage<T> {
  getStore(): T | undefined
  run<R>(store: T, work: () => R): R
}

type Builtins = { readonly process?: { getBuiltinModule?(name: string): unknown } }

const storage = makeStorage<Surroundings>()

/** The innermost surroundings of this owner here; undefined: none, or the runtime cannot say. */
export function surroundings(owner: object): Surroundings | undefined {
  const here = storage?.getStore()
  return here?.owner === owner ? here : undefined
}

/** Runs `work` in these surroundings. */
export function within<R>(around: Surroundings, work: () => R): R {
  return storage === null ? work() : storage.run(around, work)
}

function makeStorage<T>(): Storage<T> | null {
  const { process } = globalThis as Builtins
  const hooks = process?.getBuiltinModule?.('async_hooks') as { AsyncLocalStorage: new () => Storage<T> } | undefined
  return hooks === undefined ? null : new hooks.AsyncLocalStorage()
}
