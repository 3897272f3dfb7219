"""Scores of all agents from the ledger alone, as of a midnight (UTC), and the falls since the night before.

`python -m score_aggregator.nightly [--day 2026-05-14]` does it by hand. ClickHouse turns leaves into counts by
the SQL in `sql/`; what weighs them is the same code that scores live. Agents come one after another, so memory
does not grow with their number. Repeating a night writes the same rows again, of which the table shows one.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from itertools import islice
from threading import Event
from typing import Any, Final

from pactstream import clock, logs, metrics, settings, worker
from pactstream.clickhouse.client import ClickHouse
from pactstream.errors import PactstreamError
from pactstream.kafka.sessions import run_sessions
from pactstream.scores import attested
from pactstream.scores.attested import Attested
from pactstream.scores.dimensions import WINDOW_DAYS
from pactstream.scores.evidence import Counts
from pactstream.scores.findings import Evidence, TenantDay
from pactstream.scores.formula import score
from pactstream.scores.tally import DAY_MICROS, TOTALS, Totals, record
from score_aggregator import regression, table
from score_aggregator.queries import sql

GROUP: Final = "score-nightly"
_AT_ONCE: Final = 1_000
_CHECK_SECONDS: Final = 30.0
_AFTER_DAYS: Final = 7
# ClickHouse groups and sorts on disk beyond this, whatever the number of agents.
_MEMORY: Final = {
    "max_bytes_before_external_group_by": 500_000_000,
    "max_bytes_before_external_sort": 500_000_000,
}

_log = logging.getLogger(__name__)
_SCORES = metrics.counter("pactstream_score_nightly_total")
_FALLS = metrics.counter("pactstream_score_regressions_total")
_LAST = metrics.gauge("pactstream_score_nightly_day")


@dataclass(frozen=True, slots=True)
class Night:
    """What a run came to."""

    agents: int
    falls: int


def run(database: ClickHouse, day: int) -> Night:
    """Score every agent as of the beginning of `day` (since 1970), and record who fell.

    Raises:
        Retryable: ClickHouse does not answer. What was written stays; running again completes it.
        Fatal: there is no such table.
    """
    agents = 0
    scores = nightly_scores(database, day)
    while block := list(islice(scores, _AT_ONCE)):
        table.insert_nightly(database, block)
        # A crash here leaves some agents with this night's score: the next run writes theirs again, the same.
        agents += len(block)
        _SCORES.inc(len(block))
    falls = regression.watch(database, day)
    _FALLS.inc(falls)
    _LAST.set(day)
    return Night(agents, falls)


def nightly_scores(database: ClickHouse, day: int) -> Iterator[dict[str, Any]]:
    """The scores as of the beginning of `day`, as Avro records `Score`, by agent.

    An agent that falls silent has a score without a composite for a week after the window, and none after that.
    """
    to = day * DAY_MICROS
    window = {"from": to - WINDOW_DAYS * DAY_MICROS, "to": to}
    with ExitStack() as open_streams:

        def rows(name: str, **parameters: int) -> Iterator[tuple[Any, ...]]:
            return open_streams.enter_context(database.stream(sql(name), parameters, settings=_MEMORY))

        days = _ByAgent(rows("evidence", **window))
        tokens = _ByAgent(rows("tokens", **window))
        attestations = _ByAgent(rows("attestations", to=to))
        for agent, *figures in rows("totals", to=to):
            totals = _totals(figures)
            held: Attested = {}
            for sequence, compact in attestations.of(agent):
                attested.take(held, compact, sequence)
            evidence = Evidence(
                _days(days.of(agent), tokens.of(agent)), attested.in_force(held, to), as_of_micros=to
            )
            if (
                totals.last_received_at_micros >= window["from"] - _AFTER_DAYS * DAY_MICROS
                or evidence.attestations
            ):
                yield record(agent, totals, score(evidence))


class _ByAgent:
    """Rows that begin with an agent and come in order of agents, handed out agent by agent."""

    def __init__(self, rows: Iterator[tuple[Any, ...]]) -> None:
        self._rows = rows
        self._next = next(rows, None)

    def of(self, agent: str) -> list[tuple[Any, ...]]:
        """The agent's rows, without it. Agents must be asked for in order."""
        found = []
        while self._next is not None and self._next[0] <= agent:
            if self._next[0] == agent:
                found.append(self._next[1:])
            self._next = next(self._rows, None)
        return found


def _totals(figures: Sequence[Any]) -> Totals:
    *counts, (severities, times) = figures
    violations = dict(zip(severities, times, strict=True))
    return Totals(**dict(zip(TOTALS, (*counts, violations), strict=True)))


def _days(rows: Iterable[tuple[Any, ...]], tokens: Iterable[tuple[Any, ...]]) -> list[TenantDay]:
    used = {(tenant, day): figures for tenant, day, *figures in tokens}
    found = []
    for tenant, day, *figures in rows:
        *plain, calibration, latency, durations = figures
        tables = (
            {row[0]: (row[1], row[2], row[3]) for row in zip(*calibration, strict=True)},
            {row[0]: (row[1], row[2]) for row in zip(*latency, strict=True)},
            dict(zip(*durations, strict=True)),
        )
        counts = (*plain, *tables, *used.get((tenant, day), (0, 0, 0)))
        found.append(TenantDay(tenant, day, Counts._make(counts)))
    return found


class Nightly:
    """Runs the night when it is due: some time after midnight, and once when the process starts."""

    def __init__(self, database: ClickHouse, delay_seconds: float) -> None:
        self._database = database
        self._delay_micros = int(delay_seconds * clock.MICROS_PER_SECOND)
        self._done = 0

    def run(self, stop: Event) -> None:
        """Until `stop` is set. A failure that passes is followed by another try.

        Raises:
            Fatal: going on makes no sense.
        """
        run_sessions(GROUP, self._session, stop)

    def _session(self, stop: Event) -> None:
        while not stop.is_set():
            # What arrived just before midnight has some time to be sealed and projected.
            due = (clock.now_micros() - self._delay_micros) // DAY_MICROS
            if due > self._done:
                night = run(self._database, due)
                self._done = due
                _log.info("nightly scores of %d agents; %d fell", night.agents, night.falls)
            stop.wait(_CHECK_SECONDS)


def main(arguments: Sequence[str] | None = None) -> int:
    """One night; 0 when it is complete, 3 when that was not possible."""
    parser = argparse.ArgumentParser(prog="python -m score_aggregator.nightly", description=run.__doc__)
    parser.add_argument("--day", type=date.fromisoformat, help="as of its beginning, UTC; default: today")
    wanted = parser.parse_args(arguments).day
    day = clock.now_micros() // DAY_MICROS if wanted is None else (wanted - date(1970, 1, 1)).days
    try:
        ours = settings.load(settings.ClickHouseSettings)
        with ClickHouse(ours) as database:
            night = run(database, day)
    except PactstreamError as error:
        sys.stderr.write(f"pactstream: {error}\n")
        return worker.EXIT_FATAL
    sys.stdout.write(f"{night.agents} agents scored, {night.falls} fell\n")
    return 0


if __name__ == "__main__":
    logs.configure("score_aggregator", "INFO")
    sys.exit(main())
