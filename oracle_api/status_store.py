"""What the status page asks ClickHouse, at most once in a while however many look."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from oracle_api.status import HISTORY_DAYS, WINDOW_SECONDS, Incident, Span, document
from pactstream import clock

Rows = Callable[[str, dict[str, object]], list[tuple[Any, ...]]]

KEEP_SECONDS = 5.0
_LIMITS = "\nSETTINGS max_execution_time = 5, max_result_rows = 1000"
_NOW = """
SELECT '', uniqExact(instance), sum(seconds), sum(requests), sum(failures), sumForEach(buckets), sum(checks),
    sum(failed_checks), max(lag_seconds), 0, 0
FROM oracle_samples FINAL WHERE at > now64(6) - toIntervalSecond({seconds:UInt32}) HAVING count() > 0
"""
# A minute is good if it was observed, at most one request in twenty failed, and every self-check held.
_DAYS = """
SELECT toString(toDate(minute)) AS day, max(n), sum(s), sum(r), sum(f), sumForEach(b), sum(c), sum(w), max(l),
    countIf(f * 20 <= r AND w = 0), toUnixTimestamp(min(minute))
FROM (
    SELECT toStartOfMinute(at) AS minute, uniqExact(instance) AS n, sum(seconds) AS s, sum(requests) AS r,
        sum(failures) AS f, sumForEach(buckets) AS b, sum(checks) AS c, sum(failed_checks) AS w,
        max(lag_seconds) AS l
    FROM oracle_samples FINAL WHERE at > now64(6) - toIntervalDay({days:UInt16}) GROUP BY minute)
GROUP BY day ORDER BY day
"""
# Minutes with the same trouble, next to each other, are one incident; so is a gap of more than two minutes.
_INCIDENTS = """
WITH minutes AS (
    SELECT intDiv(toUnixTimestamp(at), 60) AS m, sum(failures) * 20 > sum(requests) AS failing,
        sum(failed_checks) > 0 AS forged
    FROM oracle_samples FINAL WHERE at > now64(6) - toIntervalDay({days:UInt16}) GROUP BY m),
islands AS (
    SELECT kind, m, m - row_number() OVER (PARTITION BY kind ORDER BY m) AS island
    FROM (SELECT 'failures' AS kind, m FROM minutes WHERE failing
          UNION ALL SELECT 'signatures' AS kind, m FROM minutes WHERE forged)),
gaps AS (
    SELECT lagInFrame(m, 1, m) OVER (ORDER BY m ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS before, m
    FROM (SELECT m FROM minutes UNION ALL SELECT intDiv(toUnixTimestamp(now()), 60) AS m WHERE {seen:Bool}))
SELECT kind, begun * 60000000, ended * 60000000 FROM (
    SELECT kind, min(m) AS begun, max(m) + 1 AS ended FROM islands GROUP BY kind, island
    UNION ALL SELECT 'unobserved' AS kind, before + 1 AS begun, m AS ended FROM gaps WHERE m > before + 2)
ORDER BY begun DESC LIMIT 100
"""
_MINUTE = 60


class StatusStore:
    """The page's document. Blocking; raises `Retryable` when ClickHouse does not answer."""

    def __init__(self, rows: Rows, issuer: str) -> None:
        self._rows = rows
        self._issuer = issuer
        self._kept: tuple[float, dict[str, Any]] | None = None

    def document(self) -> dict[str, Any]:
        """The figures now, at most five seconds old."""
        now = clock.monotonic_seconds()
        if self._kept is None or now - self._kept[0] > KEEP_SECONDS:
            self._kept = (now, self._read())
        return self._kept[1]

    def _read(self) -> dict[str, Any]:
        at = clock.now_micros()
        recent = [_span(row, 0, 0) for row in self._ask(_NOW, seconds=WINDOW_SECONDS)]
        rows = self._ask(_DAYS, days=HISTORY_DAYS)
        first = min((row[-1] for row in rows), default=0)
        days = [_span(row, first, at // clock.MICROS_PER_SECOND) for row in rows]
        incidents = [Incident(*row) for row in self._ask(_INCIDENTS, days=HISTORY_DAYS, seen=bool(rows))]
        return document(self._issuer, at, recent[0] if recent else None, days, incidents)

    def _ask(self, sql: str, **parameters: object) -> list[tuple[Any, ...]]:
        return self._rows(sql + _LIMITS, parameters)


def _span(row: tuple[Any, ...], first_seconds: int, now_seconds: int) -> Span:
    """A row as a span; of a day, with the minutes that it had from the first sample until now."""
    day, processes, seconds, requests, failures, buckets, checks, failed, lag, minutes, _ = row
    expected = 0
    if day:
        midnight = int(datetime.fromisoformat(f"{day}T00:00:00+00:00").timestamp())
        begun, ended = max(midnight, first_seconds), min(midnight + 86_400, now_seconds)
        expected = max(1, -(-(ended - begun) // _MINUTE))
    return Span(
        day, processes, seconds, requests, failures, tuple(buckets), checks, failed, lag, minutes, expected
    )
