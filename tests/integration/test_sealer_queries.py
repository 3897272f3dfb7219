"""The queries of docs/queries/, run as they stand there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
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

_DOCS = Path(__file__).parents[2] / "docs"
QUERIES = {path.stem: path.read_text(encoding="utf-8") for path in (_DOCS / "queries").glob("*.sql")}
_NOW = datetime.now(UTC).replace(microsecond=0)
PARAMETERS = {
    "agent": agent_id(1),
    "event": event_id(1, 5),
    "hours": 24,
    "from": _NOW - timedelta(hours=12),
    "to": _NOW + timedelta(hours=12),
    "step": 3_600,
}


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


def test_every_query_is_on_the_page_and_runs(setup: Setup) -> None:
    page = (_DOCS / "queries.md").read_text(encoding="utf-8")
    assert "```sql" not in page
    assert set(re.findall(r"\]\(queries/(\w+)\.sql\)", page)) == QUERIES.keys()
    for name, sql in QUERIES.items():
        assert sql.startswith("-- "), name
        run(setup, name)


def test_dashboards_count_what_the_pipeline_wrote(setup: Setup) -> None:
    rows = run(setup, "session_health")
    assert {str(row[0]) for row in rows} == {agent_id(number) for number in range(3)}
    # No session of these begins or ends; of 15 calls three violate.
    assert {row[1:] for row in rows} == {(0, None, None, None, None, 0, 20)}
    compliance = {str(row[0]): row[2:] for row in run(setup, "pact_compliance")}
    # Every fourth event is a response, the twentieth among them.
    assert compliance[agent_id(1)] == ("Treasury", 15, 80, 20, 0, 0, 0, "destination (3)")


def test_one_agent(setup: Setup) -> None:
    assert [row[0] for row in run(setup, "latest_events")] == list(range(1, 21))
    assert run(setup, "failing_values_of_an_event") == [("violations.0.value", '"0xBAD"')]
    assert [row[0] for row in run(setup, "calls_before_an_event")] == [3, 2, 1]
    assert [row[:2] for row in run(setup, "pact_in_force")] == [(3, "Treasury")]


def test_the_ledger(setup: Setup) -> None:
    ((log, leaves, segments, seconds),) = run(setup, "log_ends")
    assert (log, leaves, segments) == (0, 60, len(setup.published()))
    assert 0 <= seconds < 300
    ((_, leaf_index, segment_index, sealed_at, _),) = run(setup, "segment_of_an_event")
    sealed_by = setup.published()[segment_index].header
    assert sealed_by.first_leaf <= leaf_index < sealed_by.tree_size
    assert sealed_at.utcoffset() == timedelta(0)
    ((delays,),) = run(setup, "sealing_delay")
    assert 0 < delays[0] <= delays[1] < 300
