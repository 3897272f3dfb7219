/** Faults told through `onError`: each kind at most once in a while, with a count of the rest. */
import { TelemetryProblem } from './errors.js';
import { monotonicMillis } from './ids.js';
const INTERVAL_MILLIS = 10_000;
export class Reports {
    onError;
    #counts = new Map();
    #silentUntil = new Map();
    #untold = new Map();
    constructor(onError) {
        this.onError = onError;
    }
    /** How many faults of this kind there have been. */
    count(kind) {
        return this.#counts.get(kind) ?? 0;
    }
    /** Count a fault (standing for `count` events) and tell it, now or together with later ones. */
    report(kind, message, count = 1) {
        this.#counts.set(kind, this.count(kind) + count);
        this.#untold.set(kind, { count: (this.#untold.get(kind)?.count ?? 0) + count, message });
        this.catchUp();
    }
    /** As `report`, but `onError` hears of this event in any case. */
    reportEvent(kind, message, eventId) {
        this.#counts.set(kind, this.count(kind) + 1);
        this.#tell(new TelemetryProblem(kind, message, 1, eventId));
    }
    /** Tell what was held back, where its time has come (or in any case, at the end). */
    catchUp(force = false) {
        const now = monotonicMillis();
        for (const [kind, { count, message }] of [...this.#untold]) {
            if (!force && now < (this.#silentUntil.get(kind) ?? 0))
                continue;
            this.#silentUntil.set(kind, now + INTERVAL_MILLIS);
            this.#untold.delete(kind);
            this.#tell(new TelemetryProblem(kind, message, count));
        }
    }
    #tell(problem) {
        // Someone else's code: whatever it throws must neither end delivery nor reach the agent.
        quietly(() => this.onError(problem));
    }
}
/** Runs a callback; what it throws, at once or later, is handed to `failed` and nobody else. */
export function quietly(callback, failed = () => undefined) {
    try {
        Promise.resolve(callback()).catch(failed);
    }
    catch (error) {
        failed(error);
    }
}
