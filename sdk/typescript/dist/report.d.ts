/** The claims of a verified report. */
export type Claims = Record<string, unknown>;
/** What a verifier demands of a report; `now` is the present time unless given. */
export interface Expectations {
    readonly issuer: string;
    readonly now?: Date;
}
/**
 * The report without its signatures, if it is the issuer's, in force, and every known key's signature holds.
 *
 * `report` is the JSON text or the decoded object, `jwks` the decoded JWK Set that the verifier trusts.
 *
 * @throws ReportError of the kind that says why not.
 */
export declare function verifyReport(report: string | object, jwks: unknown, expected: Expectations): Promise<Claims>;
/**
 * The report in a compact JWT, under the same conditions as `verifyReport`.
 *
 * @throws ReportError of the kind that says why not.
 */
export declare function verifyJwt(token: string, jwks: unknown, expected: Expectations): Promise<Claims>;
/** An RFC 3339 time with an offset in microseconds since 1970; null: it is not one. */
export declare function momentMicros(text: unknown): number | null;
