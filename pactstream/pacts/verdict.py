"""What judging a call yields."""

from __future__ import annotations

from decimal import Decimal
from itertools import islice
from typing import Any, Final, Literal, TypeAlias, get_args
from zlib import crc32

import msgspec

from pactstream.pacts.values import text

Severity: TypeAlias = Literal["critical", "major", "minor", "info"]

SEVERITIES: Final[tuple[Severity, ...]] = get_args(Severity)
"""From the gravest to the lightest."""

MAX_VIOLATIONS: Final = 100
MAX_STRING: Final = 256
"""A failing value that is text is shortened to so many characters."""
_MAX_NESTED_STRING: Final = 64
_MAX_MEMBERS: Final = 12


class Violation(msgspec.Struct, frozen=True, rename="camel"):
    """One check that a call failed.

    `param_path` has concrete indices (`items[3].price`) and is empty where the parameters as a whole are at
    fault. `value` is the failing value, shortened; `expected` what the rule says; `message` one sentence.
    """

    param_path: str
    rule: str
    severity: Severity
    value: Any
    expected: Any
    message: str


class Verdict(msgspec.Struct, frozen=True, rename="camel"):
    """The judgement of one call under one version of a pact; `severity` is the gravest of its violations.

    A call of a tool that the pact names nowhere is valid and not `bound`.
    """

    valid: bool
    bound: bool
    pact_id: str
    pact_version: int
    pact_hash: str
    severity: Severity | None = None
    violations: tuple[Violation, ...] = ()


def digest(verdict: Verdict) -> int:
    """32 bits by which two verdicts on one call under one version are told apart; not against forgery.

    All of each violation counts, a number's trailing zeros too: whoever compares wants to know of anything.
    """
    if not verdict.violations:
        return int(verdict.bound)
    return crc32(repr(verdict.violations).encode("utf-8", "surrogatepass"))


def gravest(severities: list[Severity]) -> Severity:
    """The gravest of at least one severity."""
    return min(severities, key=SEVERITIES.index)


def bounded(value: Any, depth: int = 2) -> Any:
    """A copy of a JSON value small enough for a verdict, with `Decimal`s kept exact.

    A string keeps 256 characters (64 inside an array or object), an array or object twelve members and two
    levels, a number 100 digits (beyond, it becomes shortened text).
    """
    if isinstance(value, str):
        return shortened(value, MAX_STRING if depth == 2 else _MAX_NESTED_STRING)
    if isinstance(value, (Decimal, int)) and not isinstance(value, bool):
        return value if text(value) is not None else shortened(str(value), _MAX_NESTED_STRING)
    if isinstance(value, list):
        return _bounded_list(value, depth)
    if isinstance(value, dict):
        return _bounded_dict(value, depth)
    return value


def shortened(value: str, limit: int) -> str:
    """At most `limit` characters, with an ellipsis where some were cut."""
    return value if len(value) <= limit else value[:limit] + "…"


def _bounded_list(value: list[Any], depth: int) -> Any:
    if depth == 0:
        return f"… {len(value)} elements"
    kept = [bounded(element, depth - 1) for element in value[:_MAX_MEMBERS]]
    return kept if len(value) <= _MAX_MEMBERS else [*kept, f"… and {len(value) - _MAX_MEMBERS} more"]


def _bounded_dict(value: dict[str, Any], depth: int) -> Any:
    if depth == 0:
        return f"… {len(value)} members"
    kept = {
        shortened(key, _MAX_NESTED_STRING): bounded(member, depth - 1)
        for key, member in islice(value.items(), _MAX_MEMBERS)
    }
    return kept if len(value) <= _MAX_MEMBERS else {**kept, "…": f"and {len(value) - _MAX_MEMBERS} more"}
