/** Identifiers and moments of events. */
/** A new time-ordered UUID (RFC 9562, section 5.7): 48 bits of milliseconds, 74 random bits (of 10 bytes). */
export declare function uuid7(millis?: number, random?: Uint8Array<ArrayBuffer>): string;
/** @throws TypeError it is not a UUID. */
export declare function checkedUuid(name: string, value: unknown): string;
/** A time in milliseconds from an arbitrary start that never goes back. */
export declare function monotonicMillis(): number;
