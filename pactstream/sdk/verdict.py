"""A verdict as the SDK's user sees it: what the server answered about one tool call.

Read leniently on purpose (unknown fields ignored, optional ones defaulted), so that an older SDK goes on
working against a newer server. Producing verdicts is `pactstream.pacts`' part.
"""

from __future__ import annotations

from typing import Any, Final, Literal, get_args

import msgspec

Severity = Literal["info", "minor", "major", "critical"]
SEVERITIES: Final[tuple[Severity, ...]] = get_args(Severity)
"""From the mildest to the gravest."""


class Violation(msgspec.Struct, frozen=True, rename="camel"):
    """One broken rule: the parameter's path, the rule, the failing value and what was expected.

    Numbers with a fraction or an exponent are exact `Decimal`s.
    """

    param_path: str
    rule: str
    severity: str = "critical"
    value: Any = None
    expected: Any = None
    message: str = ""


class Verdict(msgspec.Struct, frozen=True, rename="camel"):
    """A tool call judged against a pact. `bound` is false where the pact names the tool nowhere."""

    valid: bool
    bound: bool = True
    pact_id: str | None = None
    pact_version: int | None = None
    pact_hash: str | None = None
    severity: str | None = None
    violations: tuple[Violation, ...] = ()

    def at_least(self, threshold: Severity) -> bool:
        """Whether this is a violation as grave as `threshold` or graver.

        A violation without a severity, or with one that this SDK does not know, counts as the gravest.
        """
        if self.valid:
            return False
        known: tuple[str, ...] = SEVERITIES
        return self.severity not in known or known.index(self.severity) >= known.index(threshold)

    def summary(self) -> str:
        """The broken rules in one line, without the failing values: `destination breaks allowList`."""
        return "; ".join(f"{v.param_path} breaks {v.rule}" for v in self.violations) or "no rule named"
