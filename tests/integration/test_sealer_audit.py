"""Verification finds what somebody with the database's password did to the ledger, and names the row."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pactstream.clickhouse import migrate, verify
from pactstream.clickhouse.verify import verify_ledger
from pactstream.ledger.audit import Fault
from pactstream.ledger.note import Checkpoint
from pactstream.signing.keys import create_keys
from tests.sealer_stack import Flaky, Setup, build, database, fill
from tests.sealer_tools import agent_id, event_id
from tests.stack import ClickHouseAddress, StackAddresses

ORIGIN = "test.example/ledger/0"


@pytest.fixture(scope="module")
def original(stack: StackAddresses, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setup]:
    """Four segments of 15 leaves: batches of five, three agents in turn."""
    with (
        database(stack.clickhouse) as address,
        build(
            stack.kafka_bootstrap, f"audit{os.getpid()}.", address, tmp_path_factory.mktemp("audit") / "keys"
        ) as made,
    ):
        fill(made)
        assert made.findings() == []
        yield made


@pytest.fixture
def setup(original: Setup, clickhouse_database: ClickHouseAddress) -> Iterator[Setup]:
    """A copy of the tables, for this test to spoil."""
    settings = original.settings.model_copy(update={"clickhouse_database": clickhouse_database.database})
    migrate.apply(settings)
    with Flaky(settings) as copy:
        for table in ("room_events", "room_event_payloads", "ledger_segments"):
            names = {"to": table, "source": original.settings.clickhouse_database}
            copy.command("INSERT INTO {to:Identifier} SELECT * FROM {source:Identifier}.{to:Identifier}", names)
        yield replace(original, settings=settings, database=copy)


def faults(setup: Setup) -> set[tuple[Fault, int | None, str | None]]:
    return {(one.fault, one.leaf_index, one.event_id) for one in setup.findings()}


def update(column: str, value: str, leaf_index: int) -> str:
    return f"ALTER TABLE room_events UPDATE {column} = {value} WHERE leaf_index = {leaf_index}"


# Leaf 22 is the third of the second batch of agent 1, its eighth; leaf 24 is its tenth, and violates its pact.


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("valid", "true"),
        ("tool", "'read_balance'"),
        ("agent_id", f"toUUID('{agent_id(7)}')"),
        ("received_at", "received_at + interval 1 microsecond"),
        ("latency_ms", "NULL"),
        ("violations.rule", "['regex']"),
        ("tenant", "'\\xff'"),
        ("source_offset", "source_offset + 1"),
    ],
)
def test_a_changed_column_is_named(setup: Setup, column: str, value: str) -> None:
    setup.alter(update(f"`{column}`", value, 24))
    (finding,) = setup.findings()
    assert (finding.fault, finding.leaf_index, finding.event_id) == (Fault.COLUMN, 24, event_id(1, 10))
    assert finding.message.startswith(f"{column} shows ")


def test_a_changed_leaf_is_named(setup: Setup) -> None:
    setup.alter(update("leaf", "replaceOne(leaf, '\"valid\":true', '\"valid\":false')", 20))
    assert (Fault.CHANGED, 20, None) in faults(setup)


def test_a_changed_leaf_with_its_hash_made_to_fit_is_named(setup: Setup) -> None:
    changed = """replaceOne(leaf, '"outcome":"success"', '"outcome":"error"')"""
    setup.alter(
        f"ALTER TABLE room_events UPDATE leaf = {changed}, outcome = 'error', "
        f"leaf_hash = toFixedString(SHA256(concat('\\0', {changed})), 32) WHERE leaf_index = 22"
    )
    found = faults(setup)
    # The agent's next leaf links to what was there.
    assert (Fault.CHANGED, 22, event_id(1, 8)) in found
    assert any("do not lead to its root" in one.message and one.segment == 1 for one in setup.findings())


def test_a_leaf_that_is_no_text_any_more_is_named(setup: Setup) -> None:
    setup.alter(update("leaf", "concat(leaf, '\\xff')", 22))
    assert (Fault.CHANGED, 22, None) in faults(setup)


def test_a_removed_row_is_named(setup: Setup) -> None:
    setup.alter("ALTER TABLE room_events DELETE WHERE leaf_index = 22")
    assert (Fault.REMOVED, 22, None) in faults(setup)
    assert any(f"of agent {agent_id(1)} are missing" in one.message for one in setup.findings())


def test_rows_that_changed_places_are_named(setup: Setup) -> None:
    # A key cannot be updated: both rows are written again under each other's index, and the originals removed.
    swapped = "SELECT * REPLACE (43 - leaf_index AS leaf_index) FROM room_events WHERE leaf_index IN (21, 22)"
    setup.alter(f"CREATE TABLE swapped ENGINE = Memory AS {swapped}")
    setup.alter("ALTER TABLE room_events DELETE WHERE leaf_index IN (21, 22)")
    setup.alter("INSERT INTO room_events SELECT * FROM swapped")
    assert (Fault.REORDERED, 22, event_id(1, 7)) in faults(setup)
    assert any("do not lead to its root" in one.message for one in setup.findings())


def test_the_last_rows_and_segments_cut_off_are_found_by_who_remembers(setup: Setup) -> None:
    (before,) = setup.verify()
    setup.alter("ALTER TABLE room_events DELETE WHERE leaf_index >= 45")
    setup.alter("ALTER TABLE ledger_segments DELETE WHERE first_leaf >= 45")
    setup.alter("ALTER TABLE room_event_payloads DELETE WHERE leaf_index >= 45")
    assert setup.findings() == []  # consistent in itself: only memory or a witness shows it
    (report,) = verify_ledger(
        setup.database,
        deployment="test.example",
        keys=[setup.key.public],
        seen={ORIGIN: before.checkpoint},
        in_flight_seconds=0.1,
    )
    assert [one.fault for one in report.findings] == [Fault.REMOVED]
    assert "had 60 leaves when last seen, and has 45" in report.findings[0].message


def test_a_removed_segment_is_named(setup: Setup) -> None:
    setup.alter("ALTER TABLE ledger_segments DELETE WHERE segment_index = 1")
    named = [(one.fault, one.segment) for one in setup.findings()]
    assert (Fault.REMOVED, 2) in named


@pytest.mark.parametrize(
    ("column", "value", "fault"),
    [
        ("checkpoint", "replaceOne(checkpoint, '\\n30\\n', '\\n31\\n')", Fault.SIGNATURE),
        ("header", "replaceOne(header, '\"leaves\":15', '\"leaves\":16')", Fault.CHANGED),
        ("header", "'{}'", Fault.CHANGED),
        ("root", "reverse(root)", Fault.COLUMN),
        ("tree_size", "31", Fault.COLUMN),
        ("segment_hash", "root", Fault.COLUMN),
    ],
)
def test_a_changed_segment_is_named(setup: Setup, column: str, value: str, fault: Fault) -> None:
    setup.alter(f"ALTER TABLE ledger_segments UPDATE {column} = {value} WHERE segment_index = 1")
    assert (fault, 1) in [(one.fault, one.segment) for one in setup.findings()]


def test_rows_beyond_the_last_segment_were_added(setup: Setup) -> None:
    setup.alter(
        "INSERT INTO room_events SELECT * REPLACE (leaf_index + 60 AS leaf_index) FROM room_events LIMIT 2"
    )
    assert [(one.fault, one.leaf_index) for one in setup.findings()] == [(Fault.ADDED, 60), (Fault.ADDED, 61)]


def test_a_row_in_the_place_of_another_was_added(setup: Setup) -> None:
    setup.alter("INSERT INTO room_events SELECT * FROM room_events WHERE leaf_index = 22")
    assert faults(setup) == {(Fault.ADDED, 22, None)}


def test_another_operators_key_verifies_nothing(setup: Setup, tmp_path: Path) -> None:
    (other,) = create_keys(tmp_path / "other", "ledger")
    (report,) = verify_ledger(setup.database, deployment="test.example", keys=[other.public])
    assert {one.fault for one in report.findings} == {Fault.SIGNATURE}
    assert report.faults == report.segments


def test_erasing_payloads_leaves_every_proof_intact(setup: Setup) -> None:
    setup.alter(f"ALTER TABLE room_event_payloads DELETE WHERE agent_id = toUUID('{agent_id(1)}')")
    assert setup.findings() == []


def test_a_changed_private_value_or_salt_is_named(setup: Setup) -> None:
    changes = (
        ("params.amount", "value", "'9'", Fault.CHANGED, "'params.amount', or its salt, is not what the leaf"),
        ("params.currency", "salt", "reverse(salt)", Fault.CHANGED, "'params.currency', or its salt, is not"),
        ("params.destination", "tenant", "'\\xff'", Fault.COLUMN, "of 'params.destination', tenant shows 'ff'"),
    )
    for field, column, value, *_ in changes:
        where = f"leaf_index = 24 AND field = '{field}'"
        setup.alter(f"ALTER TABLE room_event_payloads UPDATE {column} = {value} WHERE {where}")
    findings = setup.findings()
    assert len(findings) == len(changes)
    for *_, fault, said in changes:
        (finding,) = [one for one in findings if said in one.message]
        assert (finding.fault, finding.leaf_index, finding.event_id) == (fault, 24, event_id(1, 10))


def test_a_private_value_of_another_leaf_or_of_none_was_added(setup: Setup) -> None:
    def copy(what: str, into: str) -> None:
        one = "SELECT * FROM room_event_payloads WHERE leaf_index = 24 AND field = 'params.amount' LIMIT 1"
        setup.alter(f"INSERT INTO room_event_payloads SELECT * REPLACE ({what} AS {into}) FROM ({one})")

    copy("leaf_index", "leaf_index")
    copy("'params.tip'", "field")
    copy("22", "leaf_index")
    copy("60", "leaf_index")
    copy("5", "log")
    found = [(one.origin[-1], one.leaf_index, one.fault, one.message[:30]) for one in setup.findings()]
    assert sorted(found) == [
        ("0", 22, Fault.ADDED, "the leaf commits to no private"),  # a response
        ("0", 22, Fault.COLUMN, "of 'params.amount', event_id s"),
        ("0", 22, Fault.COLUMN, "of 'params.amount', session_id"),
        ("0", 24, Fault.ADDED, "a second row has the private v"),
        ("0", 24, Fault.ADDED, "the leaf commits to no private"),
        ("0", 60, Fault.ADDED, "no segment seals the leaf of a"),
        ("5", 24, Fault.ADDED, "no segment seals the leaf of a"),
    ]


def test_private_values_are_read_in_parts(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "_LEAVES_A_READ", 7)
    assert setup.findings() == []
    setup.alter("ALTER TABLE room_event_payloads UPDATE value = '9' WHERE leaf_index IN (6, 7, 57)")
    changed = {6: event_id(1, 2), 7: event_id(1, 3), 57: event_id(2, 18)}
    assert faults(setup) == {(Fault.CHANGED, at, identity) for at, identity in changed.items()}


def test_progress_and_checkpoint_are_reported(setup: Setup) -> None:
    seen: list[tuple[str, int, int]] = []
    (report,) = verify_ledger(
        setup.database,
        deployment="test.example",
        keys=[setup.key.public],
        on_progress=lambda origin, done, total: seen.append((origin, done, total)),
    )
    assert seen[-1] == (ORIGIN, 60, 60)
    root = setup.published()[-1].header.root
    assert report.checkpoint == Checkpoint(ORIGIN, 60, bytes.fromhex(root))
