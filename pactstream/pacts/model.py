"""A pact after parsing: what it demands, with every value checked, exact and ready to compile."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, TypeAlias

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


@dataclass(frozen=True, slots=True)
class Sliding:
    """A window that ends at the latest call and is `duration_micros` long; `shown`: as written."""

    duration_micros: int
    shown: str


@dataclass(frozen=True, slots=True)
class CalendarDay:
    """A window from midnight to midnight in an IANA time zone."""

    time_zone: str


@dataclass(frozen=True, slots=True)
class WholeSession:
    """A window as long as its session."""


Span: TypeAlias = Sliding | CalendarDay | WholeSession
Aggregate: TypeAlias = Literal["sum", "count", "distinct", "max"]


@dataclass(frozen=True, slots=True)
class Measure:
    """What a window measures, whatever its limit; `tools` and `outcomes` are sorted (None: any outcome)."""

    aggregate: Aggregate
    tools: tuple[str, ...]
    path: Path | None
    per_session: bool
    per_path: Path | None
    span: Span
    outcomes: tuple[str, ...] | None
    lateness_micros: int


@dataclass(frozen=True, slots=True)
class Window:
    """A condition of type `window`: the measure may not stand above `limit` (`expected`: as written)."""

    severity: Severity
    measure: Measure
    limit: Decimal
    expected: Any


@dataclass(frozen=True, slots=True)
class Order:
    """A condition of type `sequence`: `tool` only after a success of `after`, or (`forbids`) never after it."""

    severity: Severity
    forbids: bool
    tool: str
    after: str
    within_micros: int | None
    per_session: bool
    expected: Any


@dataclass(frozen=True, slots=True)
class ErrorRun:
    """A condition of type `sequence`: up to `limit` errors in a row in a session (`tools` None: of any)."""

    severity: Severity
    limit: int
    tools: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Escalation:
    """A condition of type `escalate`: the `times`-th call violated as `lightest` or graver is `severity`."""

    severity: Severity
    lightest: Severity
    times: int
    within_micros: int
    expected: Any


Condition: TypeAlias = ParamBinding | Window | Order | ErrorRun | Escalation


@dataclass(frozen=True, slots=True)
class Objectives:
    """What the agent aims at; None where the pact says nothing. Scores reflect it, verdicts never do."""

    latency_p95_ms: int | None
    allowed_models: tuple[str, ...] | None
    tokens_per_session: int | None


@dataclass(frozen=True, slots=True)
class Evaluator:
    """A third party that evaluates calls as well, of all tools or of these; verdicts never reflect it."""

    issuer: str
    sees_params: bool
    tools: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Pact:
    """One immutable version of a pact.

    `canonical` is the RFC 8785 form of the document it was parsed from and `hash` the hex SHA-256 of that form.
    """

    name: str
    agent_id: str | None
    conditions: tuple[Condition, ...]
    objectives: Objectives | None
    canonical: bytes
    hash: str
    evaluators: tuple[Evaluator, ...] = ()
