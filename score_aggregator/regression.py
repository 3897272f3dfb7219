"""Falls of the composite overnight: by how much each dimension made it fall, and the events behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pactstream import clock
from pactstream.clickhouse.client import ClickHouse
from pactstream.scores.dimensions import WEIGHTS
from pactstream.scores.tally import DAY_MICROS
from score_aggregator.queries import sql

POINTS: Final = 5.0
_MICROS: Final = 1_000_000
_COLUMNS: Final = (
    "agent_id",
    "day",
    "previous_day",
    "composite",
    "previous",
    "change_micros",
    "contributions.dimension",
    "contributions.micros",
    "events.event_id",
    "events.sequence",
    "events.dimension",
    "events.what",
    "computed_at",
)

Scores = Sequence[float | None]
"""Of all dimensions, in the order of their weights."""


def contributions(
    composite: float, covered: float, scores: Scores, previous: float, previous_covered: float, before: Scores
) -> dict[str, int]:
    """What each dimension adds to the change of the composite, in millionths of a point; their sum is exact.

    A dimension's part of a composite is weight x score / covered weight. So one that is covered on one side
    only counts with all of its part, and the others with what the covered weight made of theirs.
    """
    parts = {
        name: round(_MICROS * (_part(weight, now, covered) - _part(weight, then, previous_covered)))
        for (name, weight), now, then in zip(WEIGHTS.items(), scores, before, strict=True)
    }
    # Each is rounded by itself: what is left over, millionths, goes to the largest.
    largest = max(parts, key=lambda name: abs(parts[name]))
    parts[largest] += change_micros(composite, previous) - sum(parts.values())
    return {str(name): part for name, part in parts.items()}


def change_micros(composite: float, previous: float) -> int:
    """The change in millionths of a point."""
    return round(_MICROS * composite) - round(_MICROS * previous)


def watch(database: ClickHouse, day: int) -> int:
    """Record the agents whose nightly score of `day` is more than five points below the one before; how many.

    Raises:
        Retryable: ClickHouse does not answer; what was recorded is recorded again by the next run.
        Fatal: there is no such table.
    """
    parameters = {"day": clock.to_iso(day * DAY_MICROS)[:10], "points": POINTS}
    rows = [_row(database, day, *fall) for fall in database.rows(sql("falls"), parameters)]
    database.insert("score_regressions", _COLUMNS, rows)
    return len(rows)


def _part(weight: float, score: float | None, covered: float) -> float:
    return 0.0 if score is None else weight * score / covered


def _row(
    database: ClickHouse,
    day: int,
    agent: str,
    composite: float,
    covered: float,
    scores: Scores,
    previous_day: int,
    previous: float,
    previous_covered: float,
    before: Scores,
) -> tuple[object, ...]:
    parts = contributions(composite, covered, scores, previous, previous_covered, before)
    events = _events(database, agent, previous_day, day, parts)
    return (
        agent,
        day,
        previous_day,
        composite,
        previous,
        change_micros(composite, previous),
        list(parts),
        list(parts.values()),
        *([event[column] for event in events] for column in range(4)),
        day * DAY_MICROS,
    )


def _events(
    database: ClickHouse, agent: str, since: int, until: int, parts: Mapping[str, int]
) -> list[tuple[Any, ...]]:
    parameters = {"agent": agent, "from": since * DAY_MICROS, "to": until * DAY_MICROS}
    return [row for row in database.rows(sql("moved_by"), parameters) if parts.get(row[2], 0) < 0]
