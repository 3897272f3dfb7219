"""The queries that docs/queries.md publishes, run as they stand there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pactstream import avro, clock
from pactstream.kafka import topics
from tests import sealer_tools
from tests.kafka_tools import produce
from tests.sealer_stack import Setup, build, database, fill
from tests.sealer_tools import PACT_ID, agent_id, event_id
from tests.stack import StackAddresses, eventually

_PAGE = Path(__file__).parents[2] / "docs" / "queries.md"
QUERIES = dict(re.findall(r"```sql\n-- ([^\n]+)\n(.*?)```", _PAGE.read_text(encoding="utf-8"), re.DOTALL))
PARAMETERS = {"agent": agent_id(1), "event": event_id(1, 5), "hours": 24}


@pytest.fixture(scope="module")
def setup(stack: StackAddresses, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setup]:
    """Three agents with 20 events each, received just now; each violates its pact at every fifth."""
    keys = tmp_path_factory.mktemp("queries") / "keys"
    pact = {
        "pact_id": PACT_ID,
        "version": 3,
        "tenant_id": "tenant-1",
        "name": "Treasury",
        "document": b"{}",
        "hash": "ab" * 32,
        "created_at_micros": clock.now_micros(),
        "created_by": "pk_1",
    }
    with (
        pytest.MonkeyPatch.context() as patched,
        database(stack.clickhouse) as address,
        build(stack.kafka_bootstrap, f"{address.database}.", address, keys) as made,
    ):
        patched.setattr(sealer_tools, "START_MICROS", clock.now_micros() - 10_000_000)
        record = (f"{PACT_ID}/3".encode(), avro.encode("PactVersion", pact))
        produce(made.settings, topics.PACTS, [record])
        fill(made)
        eventually(lambda: made.count("pacts") == 1, 30)
        yield made


def run(setup: Setup, name: str) -> list[tuple[Any, ...]]:
    sql = QUERIES[name]
    used = {key: value for key, value in PARAMETERS.items() if f"{{{key}:" in sql}
    return setup.database.rows(sql, used)


def test_every_query_on_the_page_has_a_name_and_runs(setup: Setup) -> None:
    assert len(QUERIES) == _PAGE.read_text(encoding="utf-8").count("```sql")
    for name in QUERIES:
        run(setup, name)


def test_session_health(setup: Setup) -> None:
    rows = run(setup, "session health")
    assert [str(row[0]) for row in rows] == [agent_id(number) for number in range(3)]
    # Sessions of eight events: 20 events are three; none of these has an end.
    assert rows[1][1] == pytest.approx(3 / (24 * 60))
    assert rows[1][2] is None
    assert rows[1][4] == 0
    assert 0 < rows[1][5] < 1


def test_compliance_and_what_was_violated(setup: Setup) -> None:
    compliance = {str(row[0]): row for row in run(setup, "pact compliance")}
    _, _, bound, rate, critical, *others = compliance[agent_id(1)]
    # Every fourth event is a response, the twentieth among them.
    assert (bound, rate, critical, others) == (15, 0.8, 3, [0, 0, 0])
    violated = {row[1:4]: row[4] for row in run(setup, "top violating parameters")}
    assert sum(violated.values()) == 3
    assert set(violated) == {("destination", "allowList", "critical")}


def test_one_agent(setup: Setup) -> None:
    assert [row[0] for row in run(setup, "latest events")] == list(range(1, 21))
    assert run(setup, "failing values of an event") == [("violations.0.value", '"0xBAD"')]
    assert [row[0] for row in run(setup, "calls before an event")] == [3, 2, 1]
    assert [row[:2] for row in run(setup, "pact in force")] == [(3, "Treasury")]


def test_the_ledger(setup: Setup) -> None:
    ((log, leaves, segments, seconds),) = run(setup, "log ends")
    assert (log, leaves, segments) == (0, 60, len(setup.published()))
    assert 0 <= seconds < 300
    ((_, leaf_index, segment_index, sealed_at, _),) = run(setup, "segment of an event")
    sealed_by = setup.published()[segment_index].header
    assert sealed_by.first_leaf <= leaf_index < sealed_by.tree_size
    assert sealed_at.utcoffset() == timedelta(0)
    ((delays,),) = run(setup, "sealing delay")
    assert 0 < delays[0] <= delays[1] < 300
