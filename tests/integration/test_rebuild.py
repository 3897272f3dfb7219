"""`pactstream ledger rebuild`: every table again, row by row the same, beside services that are running."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from ledger_sealer.projector import Projector
from ledger_sealer.rebuild import Rebuild
from pactstream import avro
from pactstream.clickhouse import migrate
from pactstream.errors import Fatal
from pactstream.kafka import config, topics
from pactstream.ledger.verification import source
from score_aggregator import wiring as aggregation
from score_aggregator.settings import AggregatorSettings
from tests.cli_tools import Run, runner
from tests.kafka_tools import PARTITIONS, produce
from tests.sealer_stack import Flaky, Setup, build, environment, running, shared_settings
from tests.sealer_tools import Evaluated, agent_id
from tests.stack import ClickHouseAddress, eventually

TABLES = {"room_events", "room_event_payloads", "ledger_segments", "pacts", "scores"}
"""All that a rebuild makes."""
OTHERS = {
    "schema_migrations",
    "score_regressions",
    "oracle_samples",
    "latest_scores",
    "pages",
    "anomalies",
}
"""Found by the nightly run, which can be repeated; what the oracle measured of itself; a view's copy of scores.
Pages and anomalies are written again by their own processes."""


@pytest.fixture
def setup(
    kafka_bootstrap: str, topic_prefix: str, clickhouse_database: ClickHouseAddress, tmp_path: Path
) -> Iterator[Setup]:
    with build(kafka_bootstrap, topic_prefix, clickhouse_database, tmp_path / "keys") as made:
        yield made


@pytest.fixture
def run(setup: Setup, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    for name, value in environment(setup.settings).items():
        monkeypatch.setenv(name, value)
    return runner(monkeypatch, capfd)


@contextmanager
def other_database(setup: Setup) -> Iterator[Setup]:
    """A database of the same server that does not exist yet; dropped afterwards."""
    settings = setup.settings.model_copy(
        update={"clickhouse_database": setup.settings.clickhouse_database + "_again"}
    )
    with Flaky(settings) as client:
        yield Setup(settings, setup.key, client)
    setup.alter(f"DROP DATABASE IF EXISTS {settings.clickhouse_database} SYNC")


def contents(setup: Setup) -> dict[str, Any]:
    """Every row of every table that is filled from Kafka, however many there are."""
    sql = "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree'"
    names = {row[0] for row in setup.database.rows(sql)} - OTHERS
    every = "SELECT * FROM {table:Identifier} FINAL ORDER BY ALL"
    plain = every.replace(" FINAL", "")
    return {name: setup.database.rows(every if name == "scores" else plain, {"table": name}) for name in names}


def fill(setup: Setup, *, partitions: int = PARTITIONS) -> int:
    """Leaves in every log, with values; an erasure of its second agent's; pacts and scores; how many leaves."""
    leaves = 0
    for partition in range(partitions):
        source = Evaluated(partition)
        agents = [10 * partition + number for number in range(3)]
        setup.write([source.batch(agent, 5) for agent in agents * 3], partition)
        setup.write([source.erasure(agents[1])], partition)
        setup.write([source.batch(agent, 5) for agent in agents], partition)
        leaves += 61
    produce(setup.settings, topics.PACTS, [pact(number) for number in (1, 2)])
    scores = AggregatorSettings(**shared_settings(setup, AggregatorSettings))
    aggregator, copier = aggregation.build(scores, setup.database)
    with running(setup.sealer(), setup.projector(), aggregator.run, copier.run):
        setup.wait_for(leaves)
        eventually(lambda: counted(setup) == leaves, 60, 0.1)
    return leaves


def counted(setup: Setup) -> int:
    """Leaves that the scores in ClickHouse rest on."""
    return int(setup.database.rows("SELECT sum(through_sequence) FROM scores FINAL")[0][0])


def pact(version: int) -> tuple[bytes, bytes]:
    identity = "11111111-1111-4111-8111-111111111111"
    fields = {
        "pact_id": identity,
        "version": version,
        "tenant_id": "tenant-1",
        "agent_id": None,
        "name": "Treasury",
        "document": b'{"name":"Treasury"}',
        "hash": "ab" * 32,
        "created_at_micros": 1_790_000_000_000_000,
        "created_by": "pk_1",
    }
    return f"{identity}/{version}".encode(), avro.encode("PactVersion", fields)


def forget(setup: Setup, log: int, before: int) -> None:
    """What Kafka's retention does."""
    where = TopicPartition(topics.name(setup.settings, topics.EVALUATED), log, before)
    admin = AdminClient(config.client(setup.settings))
    for done in admin.delete_records([where]).values():
        done.result(10)


def test_from_kafka_every_table_is_the_same(setup: Setup, run: Run) -> None:
    leaves = fill(setup)
    before = contents(setup)
    assert before.keys() == TABLES
    assert all(before.values())
    with other_database(setup) as other:
        done = run("ledger", "rebuild", "--into", other.settings.clickhouse_database)
        assert done.code == 0, done.err
        assert f"{leaves} leaves in" in done.out
        assert "without private values" not in done.out
        assert contents(other) == before
        assert other.findings() == []
        again = run("ledger", "rebuild", "--into", other.settings.clickhouse_database)
        assert (again.code, "0 leaves in 0 segments" in again.out) == (0, True), again.err
        assert contents(other) == before
    assert contents(setup) == before


def rows(setup: Setup, kind: str) -> Sequence[Any]:
    return setup.database.rows(f"SELECT * FROM room_event_{kind}")


def test_erased_values_do_not_come_back(setup: Setup) -> None:
    fill(setup, partitions=1)
    sql = """
    SELECT toString(agent_id), min(leaf_index) >= (SELECT leaf_index FROM erasures)
    FROM room_event_payloads GROUP BY agent_id ORDER BY agent_id
    """
    with other_database(setup) as other:
        migrate.apply(other.settings)
        Rebuild(other.settings, other.database).run()
        for one in (setup, other):
            assert one.database.rows(sql) == [(agent_id(0), False), (agent_id(1), True), (agent_id(2), False)]


def test_past_kafkas_retention_the_published_files_serve(setup: Setup, run: Run, tmp_path: Path) -> None:
    fill(setup)
    before = contents(setup)
    setup.publish(tmp_path)
    forget(setup, 0, 5)
    with other_database(setup) as other:
        name = other.settings.clickhouse_database
        refused = run("ledger", "rebuild", "--into", name)
        assert refused.code == 3
        assert "past the retention of telemetry.evaluated" in refused.err
        assert "--from" in refused.err
        done = run("ledger", "rebuild", "--into", name, "--from", tmp_path)
        assert done.code == 0, done.err
        assert "of them without private values: only Kafka had these" in done.out
        after = contents(other)
        values = before.pop("room_event_payloads")
        left = after.pop("room_event_payloads")
        assert after == before
        assert set(left) < set(values)
        assert {row for row in values if row[0] == 1} <= set(left)
        assert other.findings() == []


def test_files_of_another_history_are_refused(setup: Setup, tmp_path: Path) -> None:
    fill(setup, partitions=1)
    setup.publish(tmp_path)
    entries = tmp_path / "ledger/0/tile/entries/000.p"
    (file,) = entries.iterdir()
    file.write_bytes(file.read_bytes().replace(b"transfer_funds", b"transfer_fundz", 1))
    forget(setup, 0, 5)
    with other_database(setup) as other:
        migrate.apply(other.settings)
        with pytest.raises(Fatal, match="entry 0 does not have its hash"):
            Rebuild(other.settings, other.database, source(str(tmp_path))).run()
        assert rows(other, "payloads") == []


def test_services_go_on_in_the_new_database(setup: Setup) -> None:
    """Also in a log in which nothing happens any more, and that is behind in the new database."""
    fill(setup)
    with other_database(setup) as other:
        migrate.apply(other.settings)
        with running(setup.projector()):
            Rebuild(other.settings, other.database).run()
            setup.write(Evaluated().batches(1))
            with running(setup.sealer()):
                setup.wait_for(127)
        # The group's offsets are past this segment.
        with running(Projector(other.settings, other.database).run):
            other.wait_for(127)
        assert other.count("room_events") == 127
        assert other.contents() == setup.contents()


def test_the_database_in_use_is_refused(setup: Setup, run: Run) -> None:
    refused = run("ledger", "rebuild", "--into", setup.settings.clickhouse_database)
    assert (refused.code, "is the database in use" in refused.err) == (3, True)
