"""A tenant's agents: how they stand, and the figures of the three dashboards for one of them.

Only the tenant's own events are counted. Scores are of the agent, as everybody sees them in its trust report.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import msgspec

from oracle_api.console.rows import Rows
from oracle_api.status import quantile
from pactstream import clock
from pactstream.control.tenants import Tenant

SPANS: Final = {"1h": (3_600, 60), "24h": (86_400, 900), "7d": (604_800, 7_200)}
"""How far back figures go, and how wide a point is; seconds."""

_LISTED = 500
_LIST = """
SELECT toString(agent_id), uniqIf(session_id, type = 'session_start'), countIf(type = 'tool_call'),
    countIf(type = 'tool_call' AND outcome = 'error'), countIf(bound), countIf(bound AND valid),
    toUnixTimestamp64Micro(max(received_at))
FROM room_events
WHERE tenant = {tenant:String} AND received_at > now64(6) - toIntervalHour(24)
GROUP BY agent_id
"""
_SCORES = """
SELECT toString(agent_id), composite, if(tier = '', NULL, toString(tier)), confidence
FROM scores FINAL WHERE agent_id IN {agents:Array(UUID)}
ORDER BY through_sequence DESC, computed_at DESC LIMIT 1 BY agent_id
"""
_POINTS = """
SELECT toUnixTimestamp(toStartOfInterval(received_at, toIntervalSecond({width:UInt32}))) AS at,
    uniqIf(session_id, type = 'session_start'), countIf(type = 'tool_call'),
    countIf(type = 'tool_call' AND outcome = 'error'), countIf(bound), countIf(bound AND valid),
    countIf(severity = 'critical'), countIf(severity = 'major'), countIf(severity = 'minor'),
    countIf(severity = 'info'),
    arrayMap(x -> if(isNaN(x), NULL, round(x, 3)),
        quantilesTDigestIf(0.5, 0.95, 0.99)(latency_ms, type = 'tool_call' AND latency_ms IS NOT NULL))
FROM room_events
WHERE tenant = {tenant:String} AND agent_id = {agent:UUID}
    AND received_at > now64(6) - toIntervalSecond({seconds:UInt32})
GROUP BY at ORDER BY at
"""
_PATHS = """
SELECT v.param_path, v.rule, v.severity, count() AS n FROM room_events
ARRAY JOIN violations AS v
WHERE tenant = {tenant:String} AND agent_id = {agent:UUID} AND valid = false
    AND received_at > now64(6) - toIntervalSecond({seconds:UInt32})
GROUP BY 1, 2, 3 ORDER BY n DESC, 1, 2 LIMIT 5
"""
_SCORE = """
SELECT composite, points, confidence, covered_weight, if(tier = '', NULL, toString(tier)), sample_size,
    toUnixTimestamp64Micro(computed_at),
    arrayZip(dimensions.name, dimensions.weight, dimensions.score, dimensions.confidence,
        dimensions.sample_size)
FROM scores FINAL WHERE agent_id = {agent:UUID}
ORDER BY through_sequence DESC, computed_at DESC LIMIT 1
"""
_NIGHTS = """
SELECT toString(day), composite FROM scores FINAL
WHERE agent_id = {agent:UUID} AND nightly AND day > today() - 90 ORDER BY day
"""
# Events of other tenants that count against the agent are not named here.
_FALLS = """
SELECT toString(r.day), toString(r.previous_day), r.composite, r.previous, r.change_micros,
    arrayZip(r.contributions.dimension, r.contributions.micros),
    arrayFilter(e -> e.1 IN (SELECT toString(event_id) FROM room_events
                             WHERE tenant = {tenant:String} AND agent_id = {agent:UUID}
                               AND event_id IN (SELECT arrayJoin(events.event_id) FROM score_regressions
                                                WHERE agent_id = {agent:UUID} AND day > today() - 90)),
        arrayZip(arrayMap(x -> toString(x), r.events.event_id), r.events.dimension, r.events.what))
FROM score_regressions AS r FINAL
WHERE r.agent_id = {agent:UUID} AND r.day > today() - 90 ORDER BY r.day DESC LIMIT 10
"""
_ORACLE = """
SELECT toUnixTimestamp(toStartOfInterval(at, toIntervalSecond({width:UInt32}))) AS t, sum(requests),
    sum(failures),
    sumForEach(buckets), sum(checks), sum(failed_checks), max(lag_seconds), sum(seconds) / uniqExact(instance)
FROM oracle_samples FINAL WHERE at > now64(6) - toIntervalSecond({seconds:UInt32})
GROUP BY t ORDER BY t
"""


_ANOMALIES = """
SELECT toString(anomaly_id), kind, status, toUnixTimestamp64Micro(since), toUnixTimestamp64Micro(detected_at),
    features, attribution, evidence
FROM anomalies FINAL WHERE tenant_id = {tenant:UUID} AND agent_id = {agent:UUID}
ORDER BY detected_at DESC LIMIT 20
"""


class Listed(msgspec.Struct, frozen=True, rename="camel"):
    """An agent in the list; counts are of the last 24 hours."""

    agent_id: str
    name: str
    status: str
    sessions: int = 0
    calls: int = 0
    errors: int = 0
    bound: int = 0
    valid: int = 0
    last_seen_at: str | None = None
    composite: float | None = None
    tier: str | None = None
    confidence: float | None = None


class Point(msgspec.Struct, frozen=True, rename="camel"):
    """What happened in one interval; `latency` is p50, p95 and p99 of tool calls in milliseconds."""

    at: int
    sessions: int
    calls: int
    errors: int
    bound: int
    valid: int
    critical: int
    major: int
    minor: int
    info: int
    latency: list[float | None]


class OraclePoint(msgspec.Struct, frozen=True, rename="camel"):
    """What the oracle's processes measured in one interval."""

    at: int
    queries: int
    failures: int
    latency: list[float | None]
    checks: int
    failed_checks: int
    lag_seconds: float | None
    queries_per_second: float | None


class Dimension(msgspec.Struct, frozen=True, rename="camel"):
    """One of the twelve; without evidence `score` is None."""

    name: str
    weight: float
    score: float | None
    confidence: float
    sample_size: float


class Score(msgspec.Struct, frozen=True, rename="camel"):
    """The agent's latest score."""

    composite: float | None
    points: int | None
    confidence: float | None
    covered_weight: float
    tier: str | None
    sample_size: float
    computed_at: str
    dimensions: list[Dimension]


class Agents:
    """Reads what is known of a tenant's agents."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    async def listed(self, tenant: Tenant) -> list[Listed]:
        """The tenant's agents by name."""
        agents = sorted(tenant.agents.values(), key=lambda one: (one.name, one.agent_id))[:_LISTED]
        counts = {row[0]: row[1:] for row in await self._rows.ask(_LIST, tenant=tenant.pseudonym)}
        wanted = [one.agent_id for one in agents]
        scores = {row[0]: row[1:] for row in await self._rows.ask(_SCORES, agents=wanted)} if wanted else {}
        found = []
        for one in agents:
            *figures, last = counts.get(one.agent_id, (0, 0, 0, 0, 0, None))
            seen = None if last is None else clock.to_iso(last)
            score = scores.get(one.agent_id, (None, None, None))
            found.append(Listed(*(one.agent_id, one.name, one.status, *figures, seen, *score)))
        return found

    async def points(self, tenant: str, agent: UUID, span: str) -> list[Point]:
        """Session health and pact compliance over one of `SPANS`; intervals without events are left out."""
        seconds, width = SPANS[span]
        rows = await self._rows.ask(_POINTS, tenant=tenant, agent=agent, seconds=seconds, width=width)
        return [Point(*row) for row in rows]

    async def paths(self, tenant: str, agent: UUID, span: str) -> list[dict[str, Any]]:
        """The five rules that were violated most."""
        rows = await self._rows.ask(_PATHS, tenant=tenant, agent=agent, seconds=SPANS[span][0])
        return [dict(zip(("paramPath", "rule", "severity", "count"), row, strict=True)) for row in rows]

    async def score(self, agent: UUID) -> Score | None:
        """The latest score, by dimension; None before the first."""
        rows = await self._rows.ask(_SCORE, agent=agent)
        if not rows:
            return None
        *figures, computed, dimensions = rows[0]
        return Score(*(*figures, clock.to_iso(computed), [Dimension(*one) for one in dimensions]))

    async def nights(self, agent: UUID) -> list[dict[str, Any]]:
        """Nightly composites of the last 90 days."""
        return [{"day": day, "composite": value} for day, value in await self._rows.ask(_NIGHTS, agent=agent)]

    async def falls(self, tenant: str, agent: UUID) -> list[dict[str, Any]]:
        """Composites that fell by more than five points overnight, with the tenant's events only."""
        return [_fall(row) for row in await self._rows.ask(_FALLS, tenant=tenant, agent=agent)]

    async def anomalies(self, tenant_id: str, agent: UUID) -> list[dict[str, Any]]:
        """Drift of the agent in this tenant, newest first, in this tenant's own figures."""
        return [_anomaly(row) for row in await self._rows.ask(_ANOMALIES, tenant=tenant_id, agent=agent)]

    async def oracle(self, span: str) -> list[OraclePoint]:
        """How the oracle itself did; the same for everybody, as on the status page."""
        seconds, width = SPANS[span]
        return [_oracle_point(row) for row in await self._rows.ask(_ORACLE, seconds=seconds, width=width)]


def _anomaly(row: Sequence[Any]) -> dict[str, Any]:
    anomaly_id, kind, status, since, detected, features, attribution, evidence = row
    return {
        "anomalyId": anomaly_id,
        "kind": kind,
        "status": status,
        "since": clock.to_iso(since),
        "detectedAt": clock.to_iso(detected),
        "features": msgspec.Raw(features.encode() or b"[]"),
        "attribution": msgspec.Raw(attribution.encode() or b"{}"),
        "evidence": evidence,
    }


def _fall(row: Sequence[Any]) -> dict[str, Any]:
    day, previous_day, composite, previous, change, contributions, events = row
    return {
        "day": day,
        "previousDay": previous_day,
        "composite": composite,
        "previous": previous,
        "change": change / 1_000_000,
        "contributions": [{"dimension": name, "change": micros / 1_000_000} for name, micros in contributions],
        "events": [dict(zip(("eventId", "dimension", "what"), one, strict=True)) for one in events],
    }


def _oracle_point(row: Sequence[Any]) -> OraclePoint:
    at, requests, failures, buckets, checks, failed, lag, seconds = row
    latency = [quantile(buckets, q) for q in (0.5, 0.95, 0.99)]
    rate = round(requests / seconds, 3) if seconds else None
    return OraclePoint(at, requests, failures, latency, checks, failed, lag, rate)
