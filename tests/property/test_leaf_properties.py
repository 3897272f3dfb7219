"""Leaves under fuzzing: canonical for every event, nothing private shown, no changed byte unnoticed."""

from __future__ import annotations

import json
from typing import Any

import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from pactstream import canonical
from pactstream.ledger import merkle
from pactstream.ledger.leaf import (
    GENESIS,
    AgentHead,
    LeafError,
    Source,
    agent_link,
    build_leaf,
    parse_leaf,
    verify_disclosure,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
IDS = st.uuids().map(str)
JSON = st.recursive(
    st.none() | st.booleans() | TEXT | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(TEXT, JSON, max_size=6).map(lambda members: json.dumps(members).encode())
RAW = st.none() | OBJECTS | st.binary(max_size=30)
EVENTS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["session_start", "tool_call", "response", "session_end"]),
        "event_id": IDS,
        "session_id": TEXT,
        "occurred_at_micros": st.integers(0, 4_102_444_800_000_000),
        "pact_id": st.none() | IDS,
        "pact_version": st.none() | st.integers(1, 1_000),
        "parent_event_id": st.none() | IDS,
        "room_id": st.none() | TEXT,
        "tool": st.none() | TEXT,
        "params": RAW,
        "outcome": st.none() | TEXT,
        "latency_ms": st.none() | st.floats(0, 1e12),
        "error_message": st.none() | TEXT,
        "input": st.none() | TEXT,
        "output": st.none() | TEXT,
        "token_count": st.none() | st.integers(0, canonical.MAX_SAFE_INTEGER),
        "reason": st.none() | TEXT,
        "metadata": RAW,
    }
)
SEQUENCES = st.integers(0, canonical.MAX_SAFE_INTEGER - 1)


@given(EVENTS, SEQUENCES, st.binary(min_size=32, max_size=32))
def test_every_event_has_a_canonical_leaf_that_opens(
    event: dict[str, Any], sequence: int, previous: bytes
) -> None:
    head = AgentHead(sequence, previous)
    built = build_leaf(
        event,
        None,
        agent_id="76cf31d6-ffe3-4a5c-8748-021114aa8066",
        tenant="t",
        received_at="2026-05-13T10:00:00.000000Z",
        source=Source(0, 1, 2, "telemetry.batches"),
        head=head,
    )
    assert rfc8785.dumps(json.loads(built.leaf)) == built.leaf
    leaf = parse_leaf(built.leaf)
    assert agent_link(leaf, head) is None
    assert built.head == AgentHead(sequence + 1, merkle.leaf_hash(built.leaf))
    openings = {} if built.private is None else canonical.parse_exact(built.private)
    assert openings.keys() == leaf.commitments.keys()
    for field, opening in openings.items():
        verify_disclosure(leaf, field, bytes.fromhex(opening["salt"]), opening["value"])


LEAF = build_leaf(
    {
        "type": "tool_call",
        "event_id": "0196c9a4-0000-7000-8000-000000000001",
        "session_id": "sess-42",
        "occurred_at_micros": 1_778_666_400_123_456,
        "pact_id": None,
        "pact_version": None,
        "parent_event_id": None,
        "room_id": "röm",
        "tool": "transfer_funds",
        "params": b'{"amount":1}',
        "outcome": "success",
        "latency_ms": 1.5,
        "error_message": None,
        "input": None,
        "output": None,
        "token_count": 7,
        "reason": None,
        "metadata": None,
    },
    None,
    agent_id="76cf31d6-ffe3-4a5c-8748-021114aa8066",
    tenant="t",
    received_at="2026-05-13T10:00:00.000000Z",
    source=Source(0, 1, 2, "telemetry.batches"),
    head=GENESIS,
).leaf


@given(st.integers(0, len(LEAF) - 1), st.integers(0, 255))
def test_a_changed_byte_gives_another_leaf_or_none(at: int, value: int) -> None:
    mutated = LEAF[:at] + bytes([value]) + LEAF[at + 1 :]
    try:
        leaf = parse_leaf(mutated)
    except LeafError:
        return
    assert (leaf == parse_leaf(LEAF)) == (mutated == LEAF)


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_garbage_raises_only_our_error(data: bytes) -> None:
    try:
        parse_leaf(data)
    except LeafError:
        return
    raise AssertionError("garbage is no leaf")
