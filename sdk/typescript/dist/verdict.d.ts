/** A verdict as the SDK's user sees it: what the server answered about one tool call. */
/** From the mildest to the gravest. */
export declare const SEVERITIES: readonly ['info', 'minor', 'major', 'critical'];
export type Severity = (typeof SEVERITIES)[number];
/** One broken rule: the parameter's path, the rule, the failing value and what was expected. */
export interface Violation {
    readonly paramPath: string;
    readonly rule: string;
    readonly severity: string;
    readonly value: unknown;
    readonly expected: unknown;
    readonly message: string;
}
/** A tool call judged against a pact. `bound` is false where the pact names the tool nowhere. */
export declare class Verdict {
    readonly valid: boolean;
    readonly bound: boolean;
    readonly pactId: string | null;
    readonly pactVersion: number | null;
    readonly severity: string | null;
    readonly violations: readonly Violation[];
    private constructor();
    /**
     * Reads the server's JSON, leniently: unknown members are ignored, optional ones defaulted.
     *
     * @throws TypeError it is not a verdict.
     */
    static read(value: unknown): Verdict;
    /**
     * Whether this is a violation as grave as `threshold` or graver. One without a severity, or with one that this
     * SDK does not know, counts as the gravest.
     */
    atLeast(threshold: Severity): boolean;
    /** The broken rules in one line, without the failing values: `destination breaks allowList`. */
    summary(): string;
}
