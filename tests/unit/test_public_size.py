"""Whatever the gateway takes fits into an entry of the published ledger; what would not is refused there."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pactstream.events.public_size import MAX_NAMES_BYTES, names_bytes
from pactstream.ledger.leaf import (
    GENESIS,
    MAX_ATTESTATION_CHARS,
    MAX_LEAF_BYTES,
    MAX_LISTED_BYTES,
    MAX_LISTED_VIOLATIONS,
    Source,
    build_leaf,
    parse_leaf,
)
from pactstream.ledger.tiles import encode_bundle
from pactstream.pacts import Verdict
from pactstream.pacts.verdict import Violation
from tests.gateway_tools import TestGateway, body, call, make_gateway

MAX = 2**53 - 1
WIDE = "𝄞"  # four bytes in UTF-8
UUID_TEXT = "0196c9a4-0000-7000-8000-000000000001"
KEYS = st.lists(st.text(st.sampled_from('a\x01é𝄞"\\'), min_size=1, max_size=128), max_size=128, unique=True)


def largest(params: list[str], metadata: list[str], path: str = "p" * 200) -> bytes:
    """The leaf of an event with these names, and with everything else as long as it can be."""
    violation = Violation(path, "allowList", "critical", "x", ["y"], "not on the list")
    verdict = Verdict(
        valid=False,
        bound=True,
        pact_id=UUID_TEXT,
        pact_version=MAX,
        pact_hash="ab" * 32,
        severity="critical",
        violations=(violation,) * 200,
    )
    event: dict[str, Any] = {
        "type": "tool_call",
        "event_id": UUID_TEXT,
        "session_id": WIDE * 128,
        "room_id": WIDE * 128,
        "parent_event_id": UUID_TEXT,
        "occurred_at_micros": 1_778_666_400_000_000,
        "tool": WIDE * 128,
        "params": json.dumps(dict.fromkeys(params, 1), ensure_ascii=False).encode(),
        "metadata": json.dumps(dict.fromkeys(metadata, 1), ensure_ascii=False).encode(),
        "attestation": "a" * MAX_ATTESTATION_CHARS,
        "pact_id": UUID_TEXT,
        "pact_version": MAX,
        "outcome": "success",
        "latency_ms": 1.2345678901234567e-7,
        "error_message": "x",
        "input": "x",
        "output": "x",
        "token_count": MAX,
        "reason": "x",
    }
    built = build_leaf(
        event,
        verdict,
        agent_id=UUID_TEXT,
        tenant="t" * 64,
        received_at="2026-05-13T10:00:01.000000Z",
        source=Source(MAX, MAX, MAX, "telemetry.batches"),
        head=GENESIS,
        confidence=10,
    )
    return built.leaf


@settings(max_examples=40)
@given(
    KEYS, st.lists(st.text(st.sampled_from("b\x02\x7f𝄞"), min_size=1, max_size=128), max_size=64, unique=True)
)
def test_what_is_taken_fits(params: list[str], metadata: list[str]) -> None:
    leaf = largest([], [])
    named = largest(params, metadata)
    size = names_bytes(json.dumps(dict.fromkeys(params, 1)).encode(), metadata)
    assert len(named) - len(leaf) <= size, "never too low"
    if size <= MAX_NAMES_BYTES:
        assert len(named) <= MAX_LEAF_BYTES


def test_the_largest_of_all_fits_with_room_to_spare() -> None:
    params = [f"{number:03}" + "\x01" * 22 for number in range(128)]
    raw = json.dumps(dict.fromkeys(params, 1)).encode()
    assert MAX_NAMES_BYTES - 500 < names_bytes(raw, ()) <= MAX_NAMES_BYTES
    leaf = largest(params, [], "p" * 80)
    assert 60_000 < len(leaf) <= MAX_LEAF_BYTES
    assert encode_bundle([leaf])
    parse_leaf(leaf)


@pytest.mark.parametrize(
    ("path", "listed"), [("p", MAX_LISTED_VIOLATIONS), ("p" * 9_000, 1), ("p" * 20_000, 0)]
)
def test_violations_are_listed_as_far_as_there_is_room(path: str, listed: int) -> None:
    verdict = json.loads(largest([], [], path))["verdict"]
    assert (len(verdict["violations"]), verdict["omitted"]) == (listed, 200 - listed)
    assert len(json.dumps(verdict)) <= MAX_LISTED_BYTES + 1_000


def test_the_gateway_refuses_a_larger_public_part(monkeypatch: pytest.MonkeyPatch) -> None:
    gateway: TestGateway = make_gateway(monkeypatch)
    names = ["\x01" * 60 + f"{number}" for number in range(120)]
    too_large = call(params=dict.fromkeys(names, 1))
    answer = gateway.post_events(body(call(), too_large, call()))
    statuses = [one["status"] for one in answer.json()["results"]]
    assert statuses == ["accepted", "rejected", "accepted"]
    (fault,) = answer.json()["results"][1]["error"]["details"]
    assert "in the public ledger, at most 28000" in fault["message"]
