/** A verdict as the SDK's user sees it: what the server answered about one tool call. */

/** From the mildest to the gravest. */
export const SEVERITIES = ['info', 'minor', 'major', 'critical'] as const
export type Severity = (typeof SEVERITIES)[number]

/** One broken rule: the parameter's path, the rule, the failing value and what was expected. */
export interface Violation {
  readonly paramPath: string
  readonly rule: string
  readonly severity: string
  readonly value: unknown
  readonly expected: unknown
  readonly message: string
}

/** A tool call judged against a pact. `bound` is false where the pact names the tool nowhere. */
export class Verdict {
  private constructor(
    readonly valid: boolean,
    readonly bound: boolean,
    readonly pactId: string | null,
    readonly pactVersion: number | null,
    readonly severity: string | null,
    readonly violations: readonly Violation[],
  ) {}

  /**
   * Reads the server's JSON, leniently: unknown members are ignored, optional ones defaulted.
   *
   * @throws TypeError it is not a verdict.
   */
  static read(value: unknown): Verdict {
    const { valid, bound = true, pactId, pactVersion, severity, violations = [] } = members(value)
    if (typeof valid !== 'boolean' || typeof bound !== 'boolean' || !Array.isArray(violations)) {
      throw new TypeError('not a verdict')
    }
    return new Verdict(
      valid,
      bound,
      typeof pactId === 'string' ? pactId : null,
      typeof pactVersion === 'number' ? pactVersion : null,
      typeof severity === 'string' ? severity : null,
      violations.map(violation),
    )
  }

  /**
   * Whether this is a violation as grave as `threshold` or graver. One without a severity, or with one that this
   * SDK does not know, counts as the gravest.
   */
  atLeast(threshold: Severity): boolean {
    if (this.valid) return false
    const known: readonly string[] = SEVERITIES
    const index = this.severity === null ? -1 : known.indexOf(this.severity)
    return index < 0 || index >= known.indexOf(threshold)
  }

  /** The broken rules in one line, without the failing values: `destination breaks allowList`. */
  summary(): string {
    return this.violations.map((one) => `${one.paramPath} breaks ${one.rule}`).join('; ') || 'no rule named'
  }
}

function violation(value: unknown): Violation {
  const { paramPath, rule, severity, value: failing = null, expected = null, message } = members(value)
  if (typeof paramPath !== 'string' || typeof rule !== 'string') throw new TypeError('not a violation')
  return {
    paramPath,
    rule,
    severity: typeof severity === 'string' ? severity : 'critical',
    value: failing,
    expected,
    message: typeof message === 'string' ? message : '',
  }
}

function members(value: unknown): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new TypeError('not an object')
  return value as Record<string, unknown>
}
