"""Leaves: what is public, what is committed to, how they link, and what is no leaf."""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest
import rfc8785

from pactstream import canonical
from pactstream.errors import InvalidInput
from pactstream.ledger import leaf as leaves
from pactstream.ledger import merkle
from pactstream.ledger.leaf import (
    GENESIS,
    AgentHead,
    BuiltLeaf,
    Leaf,
    LeafError,
    LeafObjectives,
    LeafVerdict,
    LeafViolation,
    PactRef,
    Source,
    agent_link,
    build_leaf,
    parse_leaf,
    verify_disclosure,
)
from pactstream.ledger.segment import SegmentHeader, SegmentSource
from pactstream.pacts.verdict import Verdict, Violation

AGENT = "76cf31d6-ffe3-4a5c-8748-021114aa8066"
EVENT = "0196c9a4-0000-7000-8000-000000000001"
PACT = "0196c9a4-0000-7000-8000-00000000000a"
SOURCE = Source(index=3, offset=12, partition=0, topic="telemetry.batches")
RECEIVED = "2026-05-13T10:00:01.000000Z"
TOOL_CALL: dict[str, Any] = {
    "type": "tool_call",
    "event_id": EVENT,
    "session_id": "sess-42",
    "occurred_at_micros": 1_778_666_400_123_456,
    "pact_id": PACT,
    "pact_version": 3,
    "parent_event_id": None,
    "room_id": None,
    "tool": "transfer_funds",
    "params": b'{"destination":"0xBAD","amount":5000.00,"currency":"USDC"}',
    "outcome": "success",
    "latency_ms": 142.0,
    "error_message": None,
    "input": None,
    "output": None,
    "token_count": None,
    "reason": None,
    "metadata": None,
}
VIOLATIONS = (
    Violation("destination", "allowList", "critical", "0xBAD", ["0xA11A"], "not on the list"),
    Violation("amount", "maxAmount", "critical", Decimal("5000.00"), "1000", "above the cap"),
    Violation("memo", "required", "minor", None, True, "is missing"),
)
VERDICT = Verdict(False, True, PACT, 3, "ab" * 32, "critical", VIOLATIONS)


def build(
    changes: dict[str, Any] | None = None, *, verdict: Verdict | None = None, **keywords: Any
) -> BuiltLeaf:
    arguments: dict[str, Any] = {
        "agent_id": AGENT,
        "tenant": "t-5f2a",
        "received_at": RECEIVED,
        "source": SOURCE,
        "head": GENESIS,
        **keywords,
    }
    return build_leaf(TOOL_CALL | (changes or {}), verdict, **arguments)


def test_a_judged_call_as_it_stands_in_the_ledger() -> None:
    built = build(verdict=VERDICT)
    document = json.loads(built.leaf)
    commitments = document.pop("commitments")
    assert document == {
        "v": 1,
        "type": "tool_call",
        "eventId": EVENT,
        "agentId": AGENT,
        "tenant": "t-5f2a",
        "sessionId": "sess-42",
        "sequence": 1,
        "previous": "0" * 64,
        "occurredAt": "2026-05-13T10:00:00.123456Z",
        "receivedAt": RECEIVED,
        "source": {"topic": "telemetry.batches", "partition": 0, "offset": 12, "index": 3},
        "tool": "transfer_funds",
        "outcome": "success",
        "latencyMs": 142,
        "pact": {"id": PACT, "version": 3, "hash": "ab" * 32},
        "verdict": {
            "valid": False,
            "bound": True,
            "severity": "critical",
            "violations": [
                {"paramPath": "destination", "rule": "allowList", "severity": "critical"},
                {"paramPath": "amount", "rule": "maxAmount", "severity": "critical"},
                {"paramPath": "memo", "rule": "required", "severity": "minor"},
            ],
        },
    }
    assert set(commitments) == {
        "params.destination",
        "params.amount",
        "params.currency",
        "violations.0.value",
        "violations.1.value",
    }
    assert built.leaf == canonical.dumps(json.loads(built.leaf))
    assert built.head == AgentHead(1, merkle.leaf_hash(built.leaf))


def test_no_private_value_stands_in_the_leaf() -> None:
    texts = {
        "input": "in-secret",
        "output": "out-secret",
        "error_message": "err-secret",
        "reason": "why-secret",
    }
    objects = {"params": b'{"a":"param-secret"}', "metadata": b'{"k":"meta-secret"}'}
    built = build(texts | objects, verdict=VERDICT)
    for secret in (b"secret", b"0xBAD", b"5000"):
        assert secret not in built.leaf
        assert built.private is not None
        assert secret in built.private
    assert set(parse_leaf(built.leaf).commitments) == {
        "input",
        "output",
        "errorMessage",
        "reason",
        "params.a",
        "metadata.k",
        "violations.0.value",
        "violations.1.value",
    }


def test_every_commitment_opens_with_its_salt_and_value_only() -> None:
    built = build(verdict=VERDICT)
    leaf = parse_leaf(built.leaf)
    assert built.private is not None
    openings = canonical.parse_exact(built.private)
    assert set(openings) == set(leaf.commitments)
    assert openings["params.amount"]["value"] == Decimal(5000)
    assert len({opening["salt"] for opening in openings.values()}) == len(openings)
    for field, opening in openings.items():
        salt, value = bytes.fromhex(opening["salt"]), opening["value"]
        verify_disclosure(leaf, field, salt, value)
        digest = hashlib.sha256(salt + canonical.value_bytes(value)).hexdigest()
        assert leaf.commitments[field] == digest == leaves.commitment(salt, value)
        with pytest.raises(LeafError, match="not what the leaf commits to"):
            verify_disclosure(leaf, field, salt, "another value")
        with pytest.raises(LeafError, match="not what the leaf commits to"):
            verify_disclosure(leaf, field, bytes(16), value)
        with pytest.raises(LeafError, match="16 bytes"):
            verify_disclosure(leaf, field, salt[:-1], value)
    with pytest.raises(LeafError, match=r"no commitment to 'params\.other'"):
        verify_disclosure(leaf, "params.other", bytes(16), 1)


def test_a_number_opens_however_it_is_written() -> None:
    built = build({"params": b'{"amount":250.50}'})
    leaf = parse_leaf(built.leaf)
    assert built.private is not None
    salt = bytes.fromhex(json.loads(built.private)["params.amount"]["salt"])
    for text in (b"250.5", b"250.50", b"2.505e2"):
        verify_disclosure(leaf, "params.amount", salt, canonical.parse_exact(text))
    with pytest.raises(LeafError):
        verify_disclosure(leaf, "params.amount", salt, canonical.parse_exact(b"250.50000000000000001"))
    with pytest.raises(LeafError):
        verify_disclosure(leaf, "params.amount", salt, "250.5")


def test_salts_are_fresh() -> None:
    one, other = parse_leaf(build().leaf), parse_leaf(build().leaf)
    assert one.commitments.keys() == other.commitments.keys()
    assert not set(one.commitments.values()) & set(other.commitments.values())


@pytest.mark.parametrize("kind", ["session_start", "session_end", "response"])
def test_an_event_without_values_has_no_commitments(kind: str) -> None:
    built = build({"type": kind, "pact_id": None, "pact_version": None, "tool": None, "params": None})
    assert built.private is None
    assert b"commitments" not in built.leaf
    leaf = parse_leaf(built.leaf)
    assert (leaf.type, leaf.pact, leaf.verdict, leaf.tool) == (kind, None, None, None)


def test_an_unjudged_event_names_its_pact_without_a_hash() -> None:
    assert parse_leaf(build().leaf).pact == PactRef(id=PACT, version=3)
    assert parse_leaf(build({"pact_version": None}).leaf).pact == PactRef(id=PACT)


def test_every_optional_field_comes_through() -> None:
    built = build({"room_id": "room-1", "parent_event_id": PACT, "token_count": 240, "latency_ms": None})
    leaf = parse_leaf(built.leaf)
    assert (leaf.room_id, leaf.parent_event_id, leaf.token_count, leaf.latency_ms) == (
        "room-1",
        PACT,
        240,
        None,
    )


@pytest.mark.parametrize(
    ("latency", "text"),
    [(0.0, "0"), (-0.0, "0"), (1e12, "1000000000000"), (0.1, "0.1"), (1.5e-7, "1.5e-7"), (12.25, "12.25")],
)
def test_latency_is_an_rfc_8785_number(latency: float, text: str) -> None:
    built = build({"latency_ms": latency})
    assert f'"latencyMs":{text},'.encode() in built.leaf
    assert parse_leaf(built.leaf).latency_ms == latency


RAW = [
    b'{"a":1,"a":2}',
    b'{"a":"\\ud800"}',
    b'{"a":NaN}',
    b'{"a":1e99999999999999999999}',
    b'{"a":' + b"[" * 500 + b"]" * 500 + b"}",
    b'{"a":' + b"9" * 5_000 + b"}",
    b"{",
    b"",
    b'{"a":"\xff"}',
]


@pytest.mark.parametrize("raw", RAW)
@pytest.mark.parametrize("field", ["params", "metadata"])
def test_an_undecodable_object_is_committed_to_as_text(field: str, raw: bytes) -> None:
    built = build({"params": None, field: raw})
    leaf = parse_leaf(built.leaf)
    assert set(leaf.commitments) == {field}
    assert built.private is not None
    opening = json.loads(built.private)[field]
    assert opening["value"] == raw.decode(errors="backslashreplace")
    verify_disclosure(leaf, field, bytes.fromhex(opening["salt"]), opening["value"])


@pytest.mark.parametrize(
    "value",
    [
        [1, 2],
        "text",
        {f"k{number}": number for number in range(129)},
        {"k" * 5_000: 1, "l" * 5_000: 2},
    ],
)
def test_what_should_not_be_split_is_committed_to_as_one(value: Any) -> None:
    built = build({"params": json.dumps(value).encode()})
    leaf = parse_leaf(built.leaf)
    assert set(leaf.commitments) == {"params"}
    assert built.private is not None
    verify_disclosure(leaf, "params", bytes.fromhex(json.loads(built.private)["params"]["salt"]), value)


def test_an_object_with_as_many_keys_as_allowed_is_split() -> None:
    value = {f"{number:064}": number for number in range(128)}
    assert len(parse_leaf(build({"params": json.dumps(value).encode()}).leaf).commitments) == 128


def test_keys_beyond_ascii_are_sorted_as_rfc_8785_has_it() -> None:
    params = json.dumps({"\ufb33": 1, "\U0001f600": 2, 'qu"ote': 3}).encode()
    built = build({"params": params})
    assert built.leaf == canonical.dumps(json.loads(built.leaf))
    assert built.leaf.index("\U0001f600".encode()) < built.leaf.index("\ufb33".encode())
    assert parse_leaf(built.leaf).commitments.keys() == {"params.\ufb33", "params.\U0001f600", 'params.qu"ote'}


def test_violations_beyond_the_limit_are_counted() -> None:
    many = tuple(Violation(f"items[{i}]", "denyList", "minor", i, [], "no") for i in range(103))
    leaf = parse_leaf(build(verdict=Verdict(False, True, PACT, 3, "ab" * 32, "minor", many)).leaf)
    assert leaf.verdict is not None
    assert (len(leaf.verdict.violations), leaf.verdict.omitted) == (100, 3)
    assert "violations.99.value" in leaf.commitments
    assert "violations.100.value" not in leaf.commitments


def test_violations_with_long_paths_are_counted_beyond_what_a_leaf_has_room_for() -> None:
    many = tuple(Violation("p" * 3_000 + str(i), "denyList", "minor", i, [], "no") for i in range(9))
    leaf = parse_leaf(build(verdict=Verdict(False, True, PACT, 3, "ab" * 32, "minor", many)).leaf)
    assert leaf.verdict is not None
    assert (len(leaf.verdict.violations), leaf.verdict.omitted) == (4, 5)


@pytest.mark.parametrize(
    ("verdict", "severity"),
    [(None, "warning"), (Verdict(True, True, PACT, 3, "ab" * 32, None), "warning"), (VERDICT, None)],
)
def test_a_failed_call_is_a_warning_unless_its_verdict_is_graver(
    verdict: Verdict | None, severity: str | None
) -> None:
    assert parse_leaf(build({"outcome": "error"}, verdict=verdict).leaf).severity == severity


def test_the_calls_behind_a_violation_are_listed() -> None:
    contributing = leaves.Contributing(calls=2, event_ids=(EVENT, PACT))
    assert parse_leaf(build(contributing=contributing).leaf).contributing == contributing


def test_a_failing_value_that_json_cannot_hold_does_not_keep_the_call_out() -> None:
    odd = (Violation("amount", "valueRange", "major", Decimal("NaN"), {}, "no number"),)
    built = build(verdict=Verdict(False, True, PACT, 3, "ab" * 32, "major", odd))
    assert built.private is not None
    assert json.loads(built.private)["violations.0.value"]["value"] == "Decimal('NaN')"


def test_an_unbound_valid_verdict() -> None:
    leaf = parse_leaf(build(verdict=Verdict(True, False, PACT, 3, "cd" * 32)).leaf)
    assert leaf.verdict == LeafVerdict(bound=False, valid=True, violations=())
    assert leaf.pact == PactRef(id=PACT, version=3, hash="cd" * 32)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"latency_ms": float("nan")}, "has no leaf"),
        ({"latency_ms": float("inf")}, "has no leaf"),
        ({"latency_ms": 1e300}, "has no leaf"),
        ({"latency_ms": -0.5}, "latency is out of range"),
        ({"token_count": 2**53}, "token count is out of range"),
        ({"token_count": -1}, "token count is out of range"),
        ({"occurred_at_micros": 10**18}, "has no leaf"),
        ({"session_id": "\ud800"}, "has no leaf"),
        ({"output": "\ud800"}, "has no leaf"),
        ({"tool": "x" * 65_536}, "at most 65535"),
    ],
)
def test_an_event_that_cannot_become_a_leaf_is_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(LeafError, match=f"event {EVENT}.*{reason}"):
        build(changes)


def test_leaves_of_an_agent_link() -> None:
    first = build()
    second = build(head=first.head)
    third = build(head=second.head)
    one, two, three = (parse_leaf(built.leaf) for built in (first, second, third))
    assert [leaf.sequence for leaf in (one, two, three)] == [1, 2, 3]
    assert two.previous == merkle.leaf_hash(first.leaf).hex()
    assert agent_link(one, GENESIS) is None
    assert agent_link(two, first.head) is None
    assert agent_link(three, second.head) is None
    assert agent_link(three, first.head) == "its sequence number is 3, after 1"
    assert agent_link(two, AgentHead(1, bytes(32))) == "it does not link to the agent's leaf 1"


LEAF = build(verdict=VERDICT).leaf


def changed(**members: Any) -> bytes:
    return canonical.dumps({**json.loads(LEAF), **members})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"{}",
        b"[" * 100_000,
        LEAF + b" ",
        b" " + LEAF,
        LEAF[:-1],
        json.dumps(json.loads(LEAF)).encode(),
        LEAF.replace(b'"latencyMs":142', b'"latencyMs":142.0'),
        LEAF.replace(b'"latencyMs":142', b'"latencyMs":1.42e2'),
        LEAF.replace(b'"latencyMs":142', b'"latencyMs":-0.0'),
        LEAF.replace(b'"sess-42"', b'"sess\\u002d42"'),
        LEAF.replace(b'"sess-42"', b'"\xff"'),
        LEAF.replace(b'"v":1', b'"v":1,"v":1'),
        LEAF.replace(b'"outcome":"success"', b'"outcome":null'),
        changed(v=2),
        changed(extra=1),
        changed(sequence=0),
        changed(sequence=2.5),
        changed(sequence=True),
        changed(previous="0" * 63),
        changed(previous="0" * 64 + "\n"),
        changed(previous="G" * 64),
        changed(eventId=EVENT.upper()),
        changed(eventId=EVENT + "\n"),
        changed(occurredAt="2026-05-13T10:00:00Z"),
        changed(occurredAt="2026-05-13 10:00:00.000000Z"),
        changed(contributing={"calls": 1, "eventIds": [EVENT.upper()]}),
        changed(tokenCount=-1),
        changed(type=""),
        changed(confidence=101),
        changed(objectives={"model": "gpt"}),
        changed(objectives={"latencyP95Ms": 0}),
        changed(attestation="x" * 8_193),
        changed(commitments={}),
        changed(commitments={"a": "short"}),
        changed(source={"topic": "t", "partition": 0, "offset": 1}),
    ],
)
def test_what_is_not_exactly_a_leaf_is_refused(data: bytes) -> None:
    assert data != LEAF
    with pytest.raises(LeafError, match="not a leaf"):
        parse_leaf(data)


def test_a_number_beyond_the_safe_range_is_no_leaf() -> None:
    data = LEAF.replace(b'"sequence":1', b'"sequence":%d' % 2**53)
    with pytest.raises(LeafError, match="not a leaf"):
        parse_leaf(data)
    data = LEAF.replace(b'"latencyMs":142', b'"latencyMs":%d' % 2**60)
    with pytest.raises(LeafError, match="not a leaf"):
        parse_leaf(data)


@pytest.mark.parametrize(
    "struct",
    [Leaf, LeafObjectives, LeafVerdict, LeafViolation, PactRef, Source, SegmentHeader, SegmentSource],
    ids=lambda struct: struct.__name__,
)
def test_fields_stand_in_canonical_order(struct: type[msgspec.Struct]) -> None:
    """The encoder writes fields as they are declared; RFC 8785 wants them sorted."""
    assert list(struct.__struct_encode_fields__) == sorted(struct.__struct_encode_fields__)


def test_commitments_refuse_what_is_not_json() -> None:
    with pytest.raises(InvalidInput):
        leaves.commitment(bytes(16), object())


@pytest.mark.parametrize(
    "latency",
    [0.001, 0.1, 1.5, 142.25, 1e14 + 0.5, 999_999_999_999_999.9, 0.0009, 1e-7, 5e-324, 2.0, 1e15, 1e300],
)
def test_a_latency_is_written_as_rfc_8785_has_it(latency: float) -> None:
    """Most are left to msgspec, which writes other forms of the smallest and largest only."""
    leaf = msgspec.structs.replace(leaves.parse_leaf(build().leaf), latency_ms=latency)
    assert leaves.encode_leaf(leaf) == rfc8785.dumps(msgspec.to_builtins(leaf))
