"""A pact after parsing: what it demands, with every value checked, exact and ready to compile."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeAlias

from pactstream.pacts.paths import Path
from pactstream.pacts.verdict import Severity


@dataclass(frozen=True, slots=True)
class AllowList:
    """The value, as text, is one of `entries` (already folded and normalised as the rule says)."""

    entries: frozenset[str]
    expected: Any


@dataclass(frozen=True, slots=True)
class DenyList:
    """The value has a text, and it is none of `entries`."""

    entries: frozenset[str]
    expected: Any


@dataclass(frozen=True, slots=True)
class Regex:
    """The value has a text of at most 4,096 characters in which `pattern` is found."""

    pattern: str
    expected: Any


@dataclass(frozen=True, slots=True)
class ValueRange:
    """The value is a number from `least` to `most`, both included; None leaves an end open."""

    least: Decimal | None
    most: Decimal | None
    expected: Any


@dataclass(frozen=True, slots=True)
class MaxAmount:
    """The value is a number up to `amount`, and the call's own currency at `currency_path` is `currency`."""

    amount: Decimal
    currency: str
    currency_path: Path
    allow_negative: bool
    expected: Any


Check: TypeAlias = AllowList | DenyList | Regex | ValueRange | MaxAmount


@dataclass(frozen=True, slots=True)
class Rule:
    """What is demanded of the value, or of each value, at one path. `checks` apply where it is present."""

    path: Path
    required: bool
    checks: tuple[Check, ...]
    ignore_case: bool = False
    nfkc: bool = False


@dataclass(frozen=True, slots=True)
class ParamBinding:
    """A condition of type `param_binding`: rules for the parameters of one tool."""

    severity: Severity
    tool: str
    rules: tuple[Rule, ...]
    forbid_unknown: bool = False


Condition: TypeAlias = ParamBinding
"""Conditions with state (windows, sequences) become further members of this union, one for each `type`."""


@dataclass(frozen=True, slots=True)
class Pact:
    """One immutable version of a pact.

    `canonical` is the RFC 8785 form of the document it was parsed from and `hash` the hex SHA-256 of that form.
    """

    name: str
    agent_id: str | None
    conditions: tuple[Condition, ...]
    canonical: bytes
    hash: str
