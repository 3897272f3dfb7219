/** Faults told through `onError`: each kind at most once in a while, with a count of the rest. */
import { type ProblemKind, TelemetryProblem } from './errors.js';
export declare class Reports {
    #private;
    private readonly onError;
    constructor(onError: (problem: TelemetryProblem) => unknown);
    /** How many faults of this kind there have been. */
    count(kind: ProblemKind): number;
    /** Count a fault (standing for `count` events) and tell it, now or together with later ones. */
    report(kind: ProblemKind, message: string, count?: number): void;
    /** As `report`, but `onError` hears of this event in any case. */
    reportEvent(kind: ProblemKind, message: string, eventId: string): void;
    /** Tell what was held back, where its time has come (or in any case, at the end). */
    catchUp(force?: boolean): void;
}
/** Runs a callback; what it throws, at once or later, is handed to `failed` and nobody else. */
export declare function quietly(callback: () => unknown, failed?: (error: unknown) => void): void;
