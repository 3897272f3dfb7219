"""The rows of a segment: what a leaf says is what its columns say, and again the same."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger_sealer import rows
from ledger_sealer.batch import Event, sealable
from ledger_sealer.published import PublishedSegment
from pactstream.clickhouse.ledger_rows import (
    LEAF_COLUMNS,
    SEGMENT_COLUMNS,
    check_times,
    leaf_columns,
    segment_columns,
)
from pactstream.errors import Fatal, InvalidInput
from pactstream.ledger import merkle, segment
from pactstream.ledger.leaf import parse_leaf
from pactstream.ledger.note import NoteSigner
from tests.sealer_tools import START_MICROS, TENANT, Evaluated, agent_id, event_id

ORIGIN = "test.example/ledger/3"
SIGNER = NoteSigner(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes(32)))


def sealed(values: list[bytes]) -> tuple[PublishedSegment, list[Event]]:
    events = [event for value in values for event in sealable(value).events]
    tree = merkle.MemoryTree(merkle.leaf_hash(event["leaf"]) for event in events)
    made = segment.seal(
        segment.CHAIN_START,
        origin=ORIGIN,
        leaves=len(events),
        root=tree.root(),
        topic="telemetry.evaluated",
        partition=3,
        next_offset=9,
        sealed_at_micros=START_MICROS,
        signers=[SIGNER],
    )
    return PublishedSegment(made.header, made.header_bytes, made.note, START_MICROS), events


def decoded(block: rows.Block, count: int) -> list[dict[str, Any]]:
    """The `count` rows of a block, read back by column."""
    width = len(block.columns)
    # The format is an array without its head: give it one of 32 bits.
    values = msgspec.msgpack.decode(b"\xdd" + (width * count).to_bytes(4, "big") + block.rows)
    return [
        dict(zip(block.columns, values[at : at + width], strict=True)) for at in range(0, len(values), width)
    ]


def values(count: int = 2) -> list[bytes]:
    return [value for _, value in Evaluated(3).batches(count)]


def test_the_same_segment_gives_the_same_bytes() -> None:
    batches = values()
    made, events = sealed(batches)
    again, _ = sealed(batches)
    assert rows.rows_of(made, events) == rows.rows_of(again, rows.sealed_events(made.header, batches))


def test_a_leaf_in_columns() -> None:
    made, events = sealed(values(1))
    found = decoded(rows.rows_of(made, events).events, 5)
    assert [row["leaf_index"] for row in found] == [0, 1, 2, 3, 4]
    call = found[4]
    assert call.pop("leaf") == events[4]["leaf"]
    assert call.pop("leaf_hash") == merkle.leaf_hash(events[4]["leaf"])
    assert call == {
        "log": 3,
        "leaf_index": 4,
        "event_id": event_id(0, 5),
        "type": "tool_call",
        "agent_id": agent_id(0),
        "tenant": TENANT,
        "session_id": "session-0",
        "room_id": None,
        "parent_event_id": None,
        "sequence": 5,
        "occurred_at": START_MICROS + 4_000,
        "received_at": START_MICROS,
        "tool": "transfer_funds",
        "outcome": "success",
        "latency_ms": 142.0,
        "token_count": None,
        "pact_id": "11111111-1111-4111-8111-111111111111",
        "pact_version": 3,
        "bound": True,
        "valid": False,
        "severity": "critical",
        "violations.param_path": ["destination"],
        "violations.rule": ["allowList"],
        "violations.severity": ["critical"],
        "violations_omitted": 0,
        "source_partition": 3,
        "source_offset": 0,
        "source_index": 4,
    }
    # ClickHouse refuses an integer for a Float64 column.
    assert type(call["latency_ms"]) is float


def test_openings_one_row_each_with_the_exact_value() -> None:
    made, events = sealed(values(1))
    count = sum(len(msgspec.json.decode(event["private"])) for event in events)
    found = decoded(rows.rows_of(made, events).payloads, count)
    amounts = [row for row in found if row["field"] == "params.amount"]
    assert {row["value"] for row in amounts} == {b"250.1"}
    assert {len(row["salt"]) for row in found} == {16}
    said = next(row for row in found if row["field"] == "output")
    assert said["value"] == '"Settled 4 invoices — fertig."'.encode()
    assert (said["leaf_index"], said["event_id"], said["session_id"]) == (3, event_id(0, 4), "session-0")


def test_a_segment_in_columns() -> None:
    made, events = sealed(values())
    (row,) = decoded(rows.rows_of(made, events).segment, 1)
    assert row.pop("header") == made.header_bytes
    assert row.pop("checkpoint") == made.note
    assert tuple(row) == SEGMENT_COLUMNS
    assert row == segment_columns(made.header)
    assert row["segment_hash"] == segment.header_hash(made.header_bytes)
    assert (row["log"], row["tree_size"], row["next_offset"], row["sealed_at"]) == (3, 10, 9, START_MICROS)


def test_the_audit_expects_what_the_projector_writes() -> None:
    made, events = sealed(values())
    for row, event in zip(decoded(rows.rows_of(made, events).events, 10), events, strict=True):
        assert leaf_columns(parse_leaf(event["leaf"])) == {name: row[name] for name in LEAF_COLUMNS}


def test_an_event_without_pact_has_no_verdict() -> None:
    _, events = sealed(values(1))
    leaf = msgspec.structs.replace(parse_leaf(events[0]["leaf"]), pact=None, verdict=None)
    columns = leaf_columns(leaf)
    assert (columns["pact_id"], columns["pact_version"], columns["bound"]) == (None, None, False)
    assert (columns["valid"], columns["severity"], columns["violations.rule"]) == (None, "", [])


@pytest.mark.parametrize(
    "time", ["2026-02-30T00:00:00.000000Z", "1899-12-31T23:59:59.999999Z", "2300-01-01T00:00:00.000000Z"]
)
def test_a_time_that_no_table_can_hold_is_refused(time: str) -> None:
    _, events = sealed(values(1))
    leaf = parse_leaf(events[0]["leaf"])
    check_times(leaf)
    for field in ("occurred_at", "received_at"):
        with pytest.raises(InvalidInput):
            check_times(msgspec.structs.replace(leaf, **{field: time}))


def test_dead_letters_among_the_records_are_left_out() -> None:
    batches = values()
    made, events = sealed(batches)
    moved = Evaluated(3).batches(3)[2][1].replace(agent_id(2).encode(), agent_id(8).encode(), 1)
    assert rows.sealed_events(made.header, [b"poison", batches[0], None, moved, batches[1]]) == events


def test_too_few_leaves_are_never_written() -> None:
    batches = values()
    made, _ = sealed(batches)
    with pytest.raises(Fatal, match=r"past the retention of telemetry\.evaluated: 5 leaves are left of 10"):
        rows.sealed_events(made.header, batches[1:])
