/** A JSON object as text; `exact` unless something in it had to be shortened or replaced. */
export interface Snapshot {
    readonly encoded: string;
    readonly exact: boolean;
}
/** `values` as a bounded JSON object. Never throws, whatever the values are or do when looked at. */
export declare function snapshot(values: Iterable<readonly [string, unknown]>): Snapshot;
/** `value` as text of at most `limit` characters: a string as it is, anything else as its JSON. */
export declare function text(value: unknown, limit: number): string;
/** Whether it is an object literal's or a decoded JSON object's, not an instance of a class. */
export declare function isPlain(value: unknown): value is Record<string, unknown>;
