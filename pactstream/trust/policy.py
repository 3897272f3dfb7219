"""What a counterparty demands of an agent, written down, and whether a report meets it.

    {"minTier": "silver", "minConfidence": 0.7, "maxAgeSeconds": 120,
     "forbiddenViolations": [{"severity": "critical", "withinSeconds": 86400}]}

Whatever a report does not say is not assumed: a demand that cannot be shown to be met denies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, Literal, TypeAlias, get_args

import msgspec
from msgspec import Meta

from pactstream import clock
from pactstream.errors import InvalidInput
from pactstream.scores.dimensions import Tier

TIERS: Final[tuple[Tier, ...]] = get_args(Tier)
"""Lowest first."""
Severity: TypeAlias = Literal["critical", "major", "minor", "info"]
SEVERITIES: Final[tuple[Severity, ...]] = get_args(Severity)
"""Worst first."""

_LISTED = 20  # a report lists so many violating calls at most
_Seconds = Annotated[float, Meta(gt=0)]
_Share = Annotated[float, Meta(ge=0, le=1)]
_Moment = Annotated[datetime, Meta(tz=True)]


class Forbidden(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Violations that deny: those that fit every member given. `severity` includes whatever is worse."""

    severity: Severity = "info"
    within_seconds: _Seconds | None = None
    tool: str | None = None
    rule: str | None = None


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The demands; one that is not given is not made, but for the standing, which must be "active"."""

    min_tier: Tier | None = None
    min_composite: Annotated[float, Meta(ge=0, le=100)] | None = None
    min_confidence: _Share | None = None
    min_sample_size: Annotated[int, Meta(ge=0)] | None = None
    max_age_seconds: _Seconds | None = None
    max_silence_seconds: _Seconds | None = None
    forbidden_violations: Annotated[tuple[Forbidden, ...], Meta(max_length=100)] = ()

    @classmethod
    def parse(cls, data: bytes | str | Mapping[str, Any]) -> Policy:
        """The policy in a JSON text or a decoded object. Raises `InvalidInput`, unknown members included."""
        try:
            if isinstance(data, bytes | str):
                return msgspec.json.decode(data, type=cls)
            return msgspec.convert(data, cls)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InvalidInput(f"not a policy: {error}") from error


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether to deal with the agent; every reason why not, for people and for the file."""

    allow: bool
    reasons: tuple[str, ...]

    def __bool__(self) -> bool:
        return self.allow


class _Violation(msgspec.Struct, frozen=True, rename="camel"):
    rule: str


class _Call(msgspec.Struct, frozen=True, rename="camel"):
    # By the gateway's clock: the agent's own could put a violation as far back as it likes.
    received_at: _Moment
    tool: str
    severity: str
    violations: tuple[_Violation, ...]
    omitted: int


class _Score(msgspec.Struct, frozen=True, rename="camel"):
    composite: float | None = None
    confidence: float | None = None
    tier: str | None = None


class _Compliance(msgspec.Struct, frozen=True, rename="camel"):
    violations_by_severity: dict[str, int]


class _Freshness(msgspec.Struct, frozen=True, rename="camel"):
    as_of: _Moment


class _Report(msgspec.Struct, frozen=True, rename="camel"):
    agent_status: str
    issued_at: _Moment
    score: _Score
    sample_size: int
    pact_compliance: _Compliance
    recent_violations: tuple[_Call, ...]
    freshness: _Freshness


def decide(report: Mapping[str, Any], policy: Policy, *, now_micros: int | None = None) -> Decision:
    """Whether the verified claims of a report (`TrustClient.get`) meet the policy, and every reason why not.

    Raises:
        InvalidInput: these are not the claims of a report.
    """
    try:
        known = msgspec.convert(report, _Report)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"not the claims of a report: {error}") from error
    now = clock.now_micros() if now_micros is None else now_micros
    reasons = [
        *_standing(known),
        *_score(known, policy),
        *_freshness(known, policy, now),
        *(reason for one in policy.forbidden_violations for reason in _violations(known, one, now)),
    ]
    return Decision(not reasons, tuple(reasons))


def _standing(report: _Report) -> list[str]:
    return [] if report.agent_status == "active" else [f"the agent is {report.agent_status}"]


def _score(report: _Report, policy: Policy) -> list[str]:
    reasons = []
    if policy.min_tier is not None:
        tier = report.score.tier
        if tier not in TIERS or TIERS.index(tier) < TIERS.index(policy.min_tier):
            reasons.append(f"its tier is {tier or 'none'}; demanded is {policy.min_tier}")
    figures = (
        ("composite score", report.score.composite, policy.min_composite),
        ("confidence", report.score.confidence, policy.min_confidence),
        ("sample size", report.sample_size, policy.min_sample_size),
    )
    for name, figure, least in figures:
        if least is not None and (figure is None or figure < least):
            said = "not known" if figure is None else f"{figure:g}"
            reasons.append(f"its {name} is {said}; demanded is {least:g}")
    return reasons


def _freshness(report: _Report, policy: Policy, now_micros: int) -> list[str]:
    reasons = []
    spans = (
        ("the report was issued", report.issued_at, policy.max_age_seconds),
        ("the agent's last event was", report.freshness.as_of, policy.max_silence_seconds),
    )
    for name, moment, most in spans:
        seconds = _seconds_since(moment, now_micros)
        if most is not None and seconds > most:
            reasons.append(f"{name} {seconds:.0f} s ago; accepted are {most:g} s")
    return reasons


def _violations(report: _Report, forbidden: Forbidden, now_micros: int) -> list[str]:
    """Why this one denies; a violation that the report counts but does not list may be any that fits."""
    severities = SEVERITIES[: SEVERITIES.index(forbidden.severity) + 1]
    counted = sum(report.pact_compliance.violations_by_severity.get(one, 0) for one in severities)
    named = f"{' or '.join(severities)} violation"
    if forbidden.within_seconds is None and forbidden.tool is None and forbidden.rule is None:
        return [f"{counted} {named}s in all"] if counted else []
    calls = report.recent_violations
    found = sum(_fits(call, forbidden, severities, now_micros) for call in calls)
    if found:
        return [f"{found} {named}s of the kind that is forbidden"]
    if len(calls) >= _LISTED and not _too_old(calls[-1], forbidden, now_micros):
        return [f"there are more violations than the report lists: a forbidden {named} may be among them"]
    return []


def _fits(call: _Call, forbidden: Forbidden, severities: tuple[str, ...], now_micros: int) -> bool:
    if _too_old(call, forbidden, now_micros) or call.severity not in severities:
        return False
    if forbidden.tool is not None and call.tool != forbidden.tool:
        return False
    if forbidden.rule is None or call.omitted:
        return True
    return any(one.rule == forbidden.rule for one in call.violations)


def _too_old(call: _Call, forbidden: Forbidden, now_micros: int) -> bool:
    within = forbidden.within_seconds
    return within is not None and _seconds_since(call.received_at, now_micros) > within


def _seconds_since(moment: datetime, now_micros: int) -> float:
    return (now_micros - clock.to_micros(moment)) / clock.MICROS_PER_SECOND
