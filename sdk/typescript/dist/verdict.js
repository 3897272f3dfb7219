/** A verdict as the SDK's user sees it: what the server answered about one tool call. */
/** From the mildest to the gravest. */
export const SEVERITIES = ['info', 'minor', 'major', 'critical'];
/** A tool call judged against a pact. `bound` is false where the pact names the tool nowhere. */
export class Verdict {
    valid;
    bound;
    pactId;
    pactVersion;
    severity;
    violations;
    constructor(valid, bound, pactId, pactVersion, severity, violations) {
        this.valid = valid;
        this.bound = bound;
        this.pactId = pactId;
        this.pactVersion = pactVersion;
        this.severity = severity;
        this.violations = violations;
    }
    /**
     * Reads the server's JSON, leniently: unknown members are ignored, optional ones defaulted.
     *
     * @throws TypeError it is not a verdict.
     */
    static read(value) {
        const { valid, bound = true, pactId, pactVersion, severity, violations = [] } = members(value);
        if (typeof valid !== 'boolean' || typeof bound !== 'boolean' || !Array.isArray(violations)) {
            throw new TypeError('not a verdict');
        }
        return new Verdict(valid, bound, typeof pactId === 'string' ? pactId : null, typeof pactVersion === 'number' ? pactVersion : null, typeof severity === 'string' ? severity : null, violations.map(violation));
    }
    /**
     * Whether this is a violation as grave as `threshold` or graver. One without a severity, or with one that this
     * SDK does not know, counts as the gravest.
     */
    atLeast(threshold) {
        if (this.valid)
            return false;
        const known = SEVERITIES;
        const index = this.severity === null ? -1 : known.indexOf(this.severity);
        return index < 0 || index >= known.indexOf(threshold);
    }
    /** The broken rules in one line, without the failing values: `destination breaks allowList`. */
    summary() {
        return this.violations.map((one) => `${one.paramPath} breaks ${one.rule}`).join('; ') || 'no rule named';
    }
}
function violation(value) {
    const { paramPath, rule, severity, value: failing = null, expected = null, message } = members(value);
    if (typeof paramPath !== 'string' || typeof rule !== 'string')
        throw new TypeError('not a violation');
    return {
        paramPath,
        rule,
        severity: typeof severity === 'string' ? severity : 'critical',
        value: failing,
        expected,
        message: typeof message === 'string' ? message : '',
    };
}
function members(value) {
    if (typeof value !== 'object' || value === null || Array.isArray(value))
        throw new TypeError('not an object');
    return value;
}
