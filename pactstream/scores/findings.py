"""The twelve dimensions: from counts and attestations to evidence for and against. See `docs/scores.md`.

Pure, and the only place that weighs anything: live and nightly scores differ in where their counts come from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from math import sqrt
from typing import Final, NamedTuple

from pactstream import clock
from pactstream.scores.attestation import Accuracy, Bond, Security
from pactstream.scores.attested import Held
from pactstream.scores.dimensions import WINDOW_DAYS, Dimension
from pactstream.scores.evidence import LATENCY_EDGES, Calibration, Counts
from pactstream.scores.statistics import NONE, TENANT_UNITS, Estimate, Units, decay, estimate

FAILURE_WEIGHT: Final = 3
"""What went wrong weighs as three slots of what went well."""
GRAVE_WEIGHT: Final = 9
"""A critical violation, and a call that should have been stopped and was not."""
FAILURES_A_DAY: Final = 24
"""Of one sort, for one tenant: an outage counts as a bad day, not for all days."""
DAY_SECONDS: Final = 86_400

_CELL_UNITS: Final = 20.0
_SESSIONS_A_DAY: Final = 8.0
_BASELINE_MIN_CALLS: Final = 20
_RECENT_DAYS: Final = 7
_LATE_SHARE: Final = 20  # a p95 lets one in twenty be late
_ACCURACY_HALF_LIFE_DAYS: Final = 90
_ISSUER_UNITS: Final = 200.0
_REVIEW_HALF_LIFE_DAYS: Final = 180
_REVIEW_UNITS: Final = 20.0
_BOND_CONFIDENCE: Final = 0.9


class TenantDay(NamedTuple):
    """The counts of one tenant's day; `day` since 1970."""

    tenant: str
    day: int
    counts: Counts


class Evidence(NamedTuple):
    """All that an agent's dimensions are made of, as of a moment; `days` sorted by tenant, then day."""

    days: Sequence[TenantDay]
    attestations: Sequence[Held]
    as_of_micros: int

    @property
    def today(self) -> int:
        """The day of the moment."""
        return self.as_of_micros // (DAY_SECONDS * clock.MICROS_PER_SECOND)


class Finding(NamedTuple):
    """What a dimension comes to, and the figures that it was made of."""

    estimate: Estimate
    inputs: Mapping[str, float]


_DayUnits = Callable[[Counts], Units]


def findings(evidence: Evidence) -> dict[Dimension, Finding]:
    """Every dimension, in the order of their weights."""
    oldest = evidence.today - WINDOW_DAYS
    evidence = evidence._replace(days=[one for one in evidence.days if oldest < one.day <= evidence.today])
    return {name: find(evidence) for name, find in _DIMENSIONS.items()}


# From telemetry: evidence of each day, decayed, added up by tenant, no tenant beyond its cap. Days decay from
# the tenant's newest with evidence on the dimension; what the cap has left of them fades from that day on.
# Without the second step a busy agent that falls silent would stay at its cap for months.


class _Tenant(NamedTuple):
    days: list[tuple[float, TenantDay]]
    fade: float

    def units(self, good: float, bad: float) -> Units:
        """What counts of its evidence."""
        units = Units(good, bad).capped(TENANT_UNITS)
        return Units(self.fade * units.good, self.fade * units.bad)


def _tenants(evidence: Evidence, relevant: Callable[[Counts], bool]) -> Iterable[_Tenant]:
    for _, group in groupby(evidence.days, key=lambda one: one.tenant):
        days = [one for one in group if relevant(one.counts)]
        if days:
            newest = days[-1].day
            weighed = [(decay(newest - one.day), one) for one in days]
            yield _Tenant(weighed, decay(evidence.today - newest))


def _from_days(evidence: Evidence, of_day: _DayUnits) -> Finding:
    found: list[Units] = []
    for tenant in _tenants(evidence, lambda counts: of_day(counts).total > 0):
        good = bad = 0.0
        for weight, one in tenant.days:
            units = of_day(one.counts)
            good += weight * units.good
            bad += weight * units.bad
        found.append(tenant.units(good, bad))
    return _finding(found)


def _finding(tenants: Sequence[Units], **inputs: float) -> Finding:
    found = estimate(tenants)
    if found.score is None:
        return Finding(NONE, {})
    total = _added(tenants)
    counted = float(sum(one.total > 0 for one in tenants))
    return Finding(found, {"good": total.good, "bad": total.bad, "tenants": counted} | inputs)


def _failed(times: int, weight: int = FAILURE_WEIGHT) -> int:
    return weight * min(times, FAILURES_A_DAY)


def _violations(day: Counts) -> int:
    return day.critical + day.major + day.minor


def _reliability(evidence: Evidence) -> Finding:
    """Hours of each tool that a pact names; other work counts for tenants without such calls only.

    Otherwise trivial calls, and sessions without any, would dilute the failures of calls that matter.
    """
    under_pact = {one.tenant for one in evidence.days if one.counts.kept or _violations(one.counts)}
    found: list[Units] = []
    for tenant in _tenants(evidence, lambda day: bool(day.worked or day.worked_elsewhere or day.failures)):
        good = bad = 0.0
        for weight, one in tenant.days:
            elsewhere = 0 if one.tenant in under_pact else one.counts.worked_elsewhere
            good += weight * (one.counts.worked + elsewhere)
            bad += weight * _failed(one.counts.failures)
        found.append(tenant.units(good, bad))
    return _finding(found)


def _safety(evidence: Evidence) -> Finding:
    def of_day(day: Counts) -> Units:
        minor = min(day.minor, FAILURES_A_DAY)
        return Units(day.kept, _failed(day.critical, GRAVE_WEIGHT) + _failed(day.major) + minor)

    return _from_days(evidence, of_day)


def _self_audit(evidence: Evidence) -> Finding:
    return _from_days(evidence, lambda day: Units(day.admitted, _failed(day.hidden)))


def _model_compliance(evidence: Evidence) -> Finding:
    def of_day(day: Counts) -> Units:
        stated = day.model_allowed_hours or day.model_other
        unstated = 0 if stated else day.model_unstated_hours
        return Units(day.model_allowed_hours, _failed(day.model_other) + unstated)

    return _from_days(evidence, of_day)


def _runtime_compliance(evidence: Evidence) -> Finding:
    def of_day(day: Counts) -> Units:
        return Units(day.kept + day.stopped, _failed(day.executed, GRAVE_WEIGHT) + day.unbound_hours)

    return _from_days(evidence, of_day)


def _harness_stability(evidence: Evidence) -> Finding:
    found: list[Units] = []
    unclosed = 0
    for tenant in _tenants(evidence, lambda day: bool(day.starts or day.ends)):
        # A session has at least a whole day to end.
        opened = sum(one.counts.starts for _, one in tenant.days if one.day < evidence.today - 1)
        never = max(0, opened - sum(one.counts.ends for _, one in tenant.days))
        good, bad = 0.0, float(_failed(never))
        for weight, one in tenant.days:
            good += weight * one.counts.ended_hours
            bad += weight * _failed(one.counts.broken_sessions)
        found.append(tenant.units(good, bad))
        unclosed += never
    return _finding(found, unclosedSessions=unclosed)


def _cost_efficiency(evidence: Evidence) -> Finding:
    def of_day(day: Counts) -> Units:
        if not day.tokens:
            return Units(float(min(day.budgeted_sessions, _SESSIONS_A_DAY)), 0.0)
        sessions = min(day.budgeted_sessions, _SESSIONS_A_DAY)
        beyond = day.tokens_beyond / day.tokens
        return Units(sessions * (1 - beyond), FAILURE_WEIGHT * sessions * beyond)

    return _from_days(evidence, of_day)


def _latency(evidence: Evidence) -> Finding:
    """Against the pact's objective where there is one, else against the agent's own past."""
    found: list[Units] = []
    for tenant in _tenants(evidence, lambda day: bool(day.latency)):
        strata: dict[int, Units] = {}
        for weight, one in tenant.days:
            for stratum, (timed, late) in one.counts.latency.items():
                good, bad = strata.get(stratum, (0.0, 0.0))
                strata[stratum] = Units(good + weight * (timed - late), bad + weight * late)
        found.append(tenant.units(*_added(_late(one) for _, one in sorted(strata.items()))))
    if found:
        return _finding(found, againstObjective=1.0)
    for tenant in _tenants(evidence, lambda day: bool(day.durations)):
        calls = _against_own_past([one for _, one in tenant.days], evidence.today)
        found.append(tenant.units(*_late(calls)))
    return _finding(found, againstObjective=0.0)


def _late(calls: Units) -> Units:
    """From calls in time and late ones to evidence: what is late beyond one in twenty, weighed."""
    calls = calls.capped(_CELL_UNITS)
    beyond = max(0.0, calls.bad - calls.total / _LATE_SHARE)
    return Units(calls.total - beyond, FAILURE_WEIGHT * beyond)


def _against_own_past(days: Iterable[TenantDay], today: int) -> Units:
    """The last seven days' calls, in time or later than nineteen in twenty of those before."""
    recent: dict[int, int] = {}
    past: dict[int, int] = {}
    for one in days:
        into = recent if today - one.day < _RECENT_DAYS else past
        for bucket, times in one.counts.durations.items():
            into[bucket] = into.get(bucket, 0) + times
    if sum(past.values()) < _BASELINE_MIN_CALLS:
        return Units(0.0, 0.0)
    usual = _p95_bucket(past)
    late = sum(times for bucket, times in recent.items() if bucket > usual)
    return Units(float(sum(recent.values()) - late), float(late))


def _p95_bucket(durations: Mapping[int, int]) -> int:
    wanted = sum(durations.values()) * (_LATE_SHARE - 1)
    seen = 0
    for bucket in sorted(durations):
        seen += durations[bucket] * _LATE_SHARE
        if seen >= wanted:
            return bucket
    return len(LATENCY_EDGES)


def _scope_honesty(evidence: Evidence) -> Finding:
    """Calibration of stated confidence: the first term of Brier's score as Murphy (1973) splits it."""
    found: list[Units] = []
    worst = 0.0
    for tenant in _tenants(evidence, lambda day: bool(day.calibration)):
        cells: dict[int, tuple[float, float, float]] = {}
        for weight, one in tenant.days:
            _add_cells(cells, one.counts.calibration, weight)
        n = squares = 0.0
        for _, (times, stated, right) in sorted(cells.items()):
            gap = (stated / 100 - right) / times
            # To claim more than is true is worse than to claim less.
            gap = min(1.0, 2 * gap if gap > 0 else -gap)
            worst = max(worst, gap)
            counted = min(times, _CELL_UNITS)
            n += counted
            squares += counted * gap * gap
        share = 1 - sqrt(squares / n)
        found.append(tenant.units(n * share, n * (1 - share)))
    return _finding(found, worstGap=worst)


def _add_cells(cells: dict[int, tuple[float, float, float]], counted: Calibration, weight: float) -> None:
    for cell, (n, stated, right) in counted.items():
        before = cells.get(cell, (0.0, 0.0, 0.0))
        cells[cell] = (before[0] + weight * n, before[1] + weight * stated, before[2] + weight * right)


def _added(units: Iterable[Units]) -> Units:
    good = bad = 0.0
    for one in units:
        good += one.good
        bad += one.bad
    return Units(good, bad)


# From attestations: evidence of each issuer, by its age.


def _age_days(held: Held, evidence: Evidence) -> int:
    return max(0, evidence.as_of_micros // clock.MICROS_PER_SECOND - held.said.iat) // DAY_SECONDS


def _accuracy(evidence: Evidence) -> Finding:
    issuers: list[Units] = []
    for held in evidence.attestations:
        if isinstance(claim := held.said.claim, Accuracy):
            weight = decay(_age_days(held, evidence), _ACCURACY_HALF_LIFE_DAYS)
            units = Units(float(claim.correct), float(claim.total - claim.correct)).capped(_ISSUER_UNITS)
            issuers.append(Units(weight * units.good, weight * units.bad))
    return _attested(issuers)


def _security(evidence: Evidence) -> Finding:
    issuers: list[Units] = []
    for held in evidence.attestations:
        if isinstance(claim := held.said.claim, Security):
            weight = decay(_age_days(held, evidence), _REVIEW_HALF_LIFE_DAYS)
            penalty = 40 * claim.critical + 20 * claim.high + 5 * claim.medium + claim.low
            sound = max(0, 100 - penalty) / 100
            units = weight * _REVIEW_UNITS
            issuers.append(Units(units * sound, units * (1 - sound)))
    return _attested(issuers)


def _attested(issuers: Sequence[Units]) -> Finding:
    found = estimate(issuers)
    if found.score is None:
        return Finding(NONE, {})
    total = _added(issuers)
    return Finding(found, {"good": total.good, "bad": total.bad, "issuers": float(len(issuers))})


def _bond(evidence: Evidence) -> Finding:
    """A fact while it lasts, not a sample: what the bonds in force cover, all together."""
    covers = [held.said.claim.coverage for held in evidence.attestations if isinstance(held.said.claim, Bond)]
    if not covers:
        return Finding(NONE, {})
    coverage = min(1.0, sum(covers))
    found = Estimate(100 * coverage, _BOND_CONFIDENCE, float(len(covers)))
    return Finding(found, {"coverage": coverage, "bonds": float(len(covers))})


_DIMENSIONS: Final[Mapping[Dimension, Callable[[Evidence], Finding]]] = {
    "accuracy": _accuracy,
    "reliability": _reliability,
    "safety": _safety,
    "self_audit": _self_audit,
    "security": _security,
    "bond": _bond,
    "latency": _latency,
    "scope_honesty": _scope_honesty,
    "cost_efficiency": _cost_efficiency,
    "model_compliance": _model_compliance,
    "runtime_compliance": _runtime_compliance,
    "harness_stability": _harness_stability,
}
FROM_ATTESTATIONS: Final = frozenset({"accuracy", "security", "bond"})
