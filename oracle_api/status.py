"""The status page's figures, from samples and nothing else. Pure; the queries are in `status_store`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from oracle_api.samples import BOUNDS_SECONDS
from pactstream import clock

WINDOW_SECONDS = 300
HISTORY_DAYS = 90


@dataclass(frozen=True, slots=True)
class Span:
    """Samples added up over some time; `minutes`: those in which any process was observed and none failed."""

    day: str
    processes: int
    seconds: float
    requests: int
    failures: int
    buckets: tuple[int, ...]
    checks: int
    failed_checks: int
    lag_seconds: float | None
    minutes: int = 0
    expected_minutes: int = 0


@dataclass(frozen=True, slots=True)
class Incident:
    """A time in which something was wrong; `kind` is `unobserved`, `failures` or `signatures`."""

    kind: str
    from_micros: int
    to_micros: int


def document(
    issuer: str, at_micros: int, now: Span | None, days: Sequence[Span], incidents: Sequence[Incident]
) -> dict[str, Any]:
    """The page as JSON; what was not measured is null."""
    return {
        "issuer": issuer,
        "at": clock.to_iso(at_micros),
        "windowSeconds": WINDOW_SECONDS,
        "now": None if now is None else _figures(now) | {"processes": now.processes},
        "days": [
            {
                "day": one.day,
                "availability": min(1.0, one.minutes / one.expected_minutes) if one.expected_minutes else None,
                **_figures(one),
            }
            for one in days
        ],
        "incidents": [
            {"kind": one.kind, "from": clock.to_iso(one.from_micros), "to": clock.to_iso(one.to_micros)}
            for one in incidents
        ],
    }


def quantile(buckets: Sequence[int], q: float) -> float | None:
    """Milliseconds below which this share of the requests was answered, interpolated; None without any.

    What is beyond the last bound counts as the last bound.
    """
    total = sum(buckets)
    if not total:
        return None
    wanted, seen, lower = q * total, 0.0, 0.0
    for count, upper in zip(buckets, BOUNDS_SECONDS, strict=False):
        if count and seen + count >= wanted:
            return round(1_000 * (lower + (upper - lower) * (wanted - seen) / count), 3)
        seen, lower = seen + count, upper
    return 1_000 * BOUNDS_SECONDS[-1]


def _figures(span: Span) -> dict[str, Any]:
    return {
        "queries": span.requests,
        "queriesPerSecond": round(span.requests * span.processes / span.seconds, 3) if span.seconds else None,
        "failures": span.failures,
        "latencyMs": {f"p{name}": quantile(span.buckets, int(name) / 100) for name in ("50", "95", "99")},
        "signatureChecks": span.checks,
        "signatureFailures": span.failed_checks,
        "freshnessLagSeconds": span.lag_seconds,
    }
