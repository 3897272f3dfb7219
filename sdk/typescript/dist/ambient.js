const storage = makeStorage();
/** The innermost surroundings of this owner here; undefined: none, or the runtime cannot say. */
export function surroundings(owner) {
    const here = storage?.getStore();
    return here?.owner === owner ? here : undefined;
}
/** Runs `work` in these surroundings. */
export function within(around, work) {
    return storage === null ? work() : storage.run(around, work);
}
function makeStorage() {
    const { process } = globalThis;
    const hooks = process?.getBuiltinModule?.('async_hooks');
    return hooks === undefined ? null : new hooks.AsyncLocalStorage();
}
