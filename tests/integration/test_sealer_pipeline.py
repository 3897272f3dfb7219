"""Sealer and projector on the real broker and the real ClickHouse: every leaf once, whatever fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from prometheus_client import REGISTRY

from ledger_sealer.projector import GROUP
from pactstream import avro
from pactstream.clickhouse import migrate
from pactstream.errors import Fatal
from pactstream.kafka import config, topics
from pactstream.ledger import segment
from tests.kafka_tools import PARTITIONS, produce, read_all
from tests.sealer_stack import TABLES, Setup, build, fill, running
from tests.sealer_tools import Evaluated, agent_id
from tests.stack import ClickHouseAddress, eventually


@pytest.fixture
def setup(
    kafka_bootstrap: str, topic_prefix: str, clickhouse_database: ClickHouseAddress, tmp_path: Path
) -> Iterator[Setup]:
    with build(kafka_bootstrap, topic_prefix, clickhouse_database, tmp_path / "keys") as made:
        yield made


def test_every_leaf_of_every_log_once_and_verified(setup: Setup) -> None:
    for partition in range(PARTITIONS):
        setup.write(Evaluated(partition).batches(8), partition)
    with running(setup.sealer(), setup.projector()):
        setup.wait_for(80)
    reports = setup.verify()
    assert [(one.origin, one.leaves, one.findings) for one in reports] == [
        ("test.example/ledger/0", 40, ()),
        ("test.example/ledger/1", 40, ()),
    ]
    assert [one.segments for one in reports] == [
        sum(1 for one in setup.published() if one.header.source.partition == log) for log in range(PARTITIONS)
    ]
    assert setup.count("room_events") == 80
    columns = "sequence, type, tool, valid, severity, violations.rule, latency_ms, token_count"
    rows = setup.database.rows(
        f"SELECT {columns} FROM room_events WHERE log = 0 AND agent_id = {{agent:UUID}} ORDER BY sequence",
        {"agent": agent_id(1)},
    )
    assert rows[3:5] == [
        (4, "response", "", None, "", [], 142.5, 240),
        (5, "tool_call", "transfer_funds", False, "critical", ["allowList"], 142.0, None),
    ]


def test_openings_open_the_leafs_commitments(setup: Setup) -> None:
    fill(setup, segments=1, batches=1)
    ((checked, right),) = setup.database.rows(
        """
        SELECT count(),
            countIf(lower(hex(SHA256(concat(salt, value)))) = JSONExtractString(leaf, 'commitments', field))
        FROM room_event_payloads JOIN room_events USING (log, leaf_index)
        """
    )
    assert checked == right == setup.count("room_event_payloads") > 0


def test_sealing_goes_on_where_it_stopped(setup: Setup) -> None:
    source = Evaluated()
    for leaves in (10, 20, 30):
        setup.write(source.batches(2))
        setup.seal(leaves)
    end = segment.CHAIN_START
    for one in setup.published():
        segment.check_chain(one.header, end)
        end = segment.chain_end(one.header, segment.header_hash(one.header_bytes))
    assert end.tree_size == 30
    setup.project(30)
    assert setup.findings() == []


def test_a_dead_letter_is_in_no_segment_and_no_row(setup: Setup) -> None:
    source = Evaluated()
    empty_chain = avro.encode("AgentChain", {"sequence": 1, "head": bytes(32)})
    setup.write([source.batch(0, 5), (b"x", b"poison"), source.batch(1, 5), (b"y", empty_chain), (b"z", None)])
    setup.write([source.batch(0, 5), unsealable(Evaluated().batch(2, 3)[1]), source.batch(0, 5)])
    with running(setup.sealer(), setup.projector()):
        setup.wait_for(20)
        eventually(lambda: len(read_all(setup.settings, topics.EVALUATED + ".dlq")) == 4, 20)
    assert setup.findings() == []
    assert setup.count("room_events") == 20


def unsealable(value: bytes) -> tuple[bytes, bytes]:
    """A record that can be decoded but not be sealed: its leaves are another agent's."""
    batch = avro.decode_as("EvaluatedBatch", value) | {"agent_id": agent_id(99)}
    return b"w", avro.encode("EvaluatedBatch", batch)


@pytest.mark.parametrize("persisted", [False, True], ids=["failed", "failed but persisted"])
@pytest.mark.parametrize("table", ["room_event_payloads", "room_events", "ledger_segments"])
def test_a_failed_insert_is_made_good_without_duplicates(setup: Setup, table: str, persisted: bool) -> None:
    setup.write(Evaluated().batches(6))
    setup.seal(30)
    setup.database.fail_at[table] = persisted
    setup.project(30)
    assert setup.database.fail_at == {}
    once = setup.contents()
    assert setup.findings() == []
    assert len(once["room_events"]) == 30
    assert len(once["ledger_segments"]) == len(setup.published())
    # The projector's memory and its offset lost as well: everything is offered again.
    rewind(setup)
    with running(setup.projector()):
        eventually(lambda: committed(setup) > 0, 30)
    assert setup.contents() == once


def test_offered_again_under_the_same_tokens_rows_stay_single(setup: Setup) -> None:
    """The crash after the inserts, with the segment's row, by which it would be skipped, lost too."""
    leaves = fill(setup, segments=2)
    once = setup.contents()
    setup.alter("ALTER TABLE ledger_segments DELETE WHERE segment_index = 1")
    rewind(setup)
    with running(setup.projector()):
        eventually(lambda: committed(setup) > 0, 30)
    again = setup.contents()
    assert len(again["room_events"]) == leaves
    assert {table: again[table] for table in TABLES[:2]} == {table: once[table] for table in TABLES[:2]}


def rewind(setup: Setup) -> None:
    where = TopicPartition(topics.name(setup.settings, topics.CHECKPOINTS), 0, 0)
    consumer = Consumer(config.consumer(setup.settings, GROUP))
    consumer.commit(offsets=[where], asynchronous=False)
    consumer.close()
    assert committed(setup) == 0


def committed(setup: Setup) -> int:
    where = TopicPartition(topics.name(setup.settings, topics.CHECKPOINTS), 0)
    consumer = Consumer(config.consumer(setup.settings, GROUP))
    (found,) = consumer.committed([where], 10)
    consumer.close()
    return int(found.offset)


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def sample_into(seen: list[float]) -> bool:
    seen.append(sample("pactstream_projection_lag_seconds", log="0"))
    return True


def restarts() -> float:
    return sample("pactstream_restarts_total", group="ledger-projector")


def test_while_clickhouse_is_down_sealing_goes_on(setup: Setup) -> None:
    source = Evaluated()
    setup.database.down = True
    with running(setup.sealer(), setup.projector()):
        for segments in (1, 2):
            setup.write(source.batches(2))
            eventually(lambda wanted=segments: len(setup.published()) >= wanted, 30, interval=0.1)  # type: ignore[misc]
        assert setup.sealed_leaves() == 0
        # Each failure leaves the group and joins it again; the segment waits all the same.
        seen = [eventually(lambda: sample("pactstream_projection_lag_seconds", log="0"), 20)]
        until = sample("pactstream_restarts_total", group="ledger-projector") + 4
        eventually(
            lambda: (
                sample_into(seen) and sample("pactstream_restarts_total", group="ledger-projector") >= until
            ),
            40,
        )
        assert min(seen) > 0
        setup.database.down = False
        setup.wait_for(20)
    assert setup.findings() == []
    assert setup.count("room_events") == 20


def test_a_new_clickhouse_is_filled_from_the_start(setup: Setup) -> None:
    source = Evaluated()
    leaves = fill(setup, source=source)
    before = setup.contents()
    for table in (*TABLES, "schema_migrations"):
        # Not TRUNCATE: the memory of tokens goes too, as with a lost disk.
        setup.alter(f"DROP TABLE {table} SYNC")
    migrate.apply(setup.settings)
    setup.write(source.batches(1))
    with running(setup.sealer(), setup.projector()):
        setup.wait_for(leaves + 5)
    after = setup.contents()
    assert after["ledger_segments"][:-1] == before["ledger_segments"]
    assert after["room_events"][:leaves] == before["room_events"]
    assert set(after["room_event_payloads"]) > set(before["room_event_payloads"])
    assert setup.findings() == []


def forget_records(setup: Setup, topic: str, before: int) -> None:
    admin = AdminClient(config.client(setup.settings))
    where = TopicPartition(topics.name(setup.settings, topic), 0, before)
    for done in admin.delete_records([where]).values():
        done.result(10)


def test_records_past_their_retention_stop_the_projector(setup: Setup) -> None:
    setup.write(Evaluated().batches(4))
    setup.seal(20)
    forget_records(setup, topics.EVALUATED, 2)
    with running(setup.projector()) as failures:
        eventually(lambda: failures, 30)
        (failure,) = failures
        failures.clear()
    assert isinstance(failure, Fatal)
    assert "segment 0: its records are past the retention of telemetry.evaluated" in str(failure)
    assert setup.contents() == {table: [] for table in TABLES}


def test_state_that_lags_stops_the_sealer_before_it_forks_the_log(setup: Setup) -> None:
    source = Evaluated()
    for leaves in (10, 20):
        setup.write(source.batches(2))
        setup.seal(leaves)
    # As after a restore from an older backup.
    older = read_all(setup.settings, topics.SEALER_STATE)[0]
    produce(setup.settings, topics.SEALER_STATE, [(b"0", older.value())])
    published = len(setup.published())
    setup.write(source.batches(1))
    with running(setup.sealer()) as failures:
        eventually(lambda: failures, 30)
        (failure,) = failures
        failures.clear()
    assert isinstance(failure, Fatal)
    assert "sealing on would fork the log" in str(failure)
    assert len(setup.published()) == published


def test_pacts_are_projected_once(setup: Setup) -> None:
    def version(number: int, pact: str = "11111111-1111-4111-8111-111111111111") -> tuple[bytes, bytes]:
        fields = {
            "pact_id": pact,
            "version": number,
            "tenant_id": "tenant-1",
            "agent_id": agent_id(1) if number > 1 else None,
            "name": "Treasury",
            "document": b'{"name":"Treasury"}',
            "hash": "ab" * 32,
            "created_at_micros": 1_790_000_000_000_000,
            "created_by": "pk_1",
        }
        return f"{pact}/{number}".encode(), avro.encode("PactVersion", fields)

    records = [version(1), version(2), version(1), (b"gone/1", None), (b"x", b"poison"), version(1, "no-uuid")]
    produce(setup.settings, topics.PACTS, [*records, version(3)])
    with running(setup.projector()):
        eventually(lambda: setup.count("pacts") == 3, 30)
    once = setup.contents()["pacts"]
    assert [row[1] for row in once] == [1, 2, 3]
    assert once[0][5] == bytes.fromhex("ab" * 32)
    produce(setup.settings, topics.PACTS, [version(2), version(4)])
    with running(setup.projector()):
        eventually(lambda: setup.count("pacts") >= 4, 30)
    assert [row[1] for row in setup.contents()["pacts"]] == [1, 2, 3, 4]
