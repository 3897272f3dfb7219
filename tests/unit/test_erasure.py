"""What an erasure's leaf says, and who can write one; and that no leaf names its tenant."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from pactstream import clock
from pactstream.control.tenants import new_pseudonym
from pactstream.events import parse
from pactstream.kafka.records import Record
from pactstream.ledger.erasure import Erasure, Scope, encode_order, erasure_of
from pactstream.ledger.leaf import Leaf
from tests.evaluator_tools import AGENT, Written, call, record, task

EVENT = "018f0000-0000-7000-8000-000000000001"
ERASURE = "018f0000-0000-7000-8000-000000000002"
TENANT = "acme-corporation"


def judged(scope: Scope, session_id: str, reason: str | None = None) -> tuple[Leaf, Written]:
    """The leaf of an erasure, as the evaluator makes it of the order."""
    order = encode_order(
        scope,
        tenant_id=TENANT,
        erasure_id=ERASURE,
        session_id=session_id,
        now_micros=1_790_000_000_000_000,
        reason=reason,
    )
    written = Written()
    task().process(Record("telemetry.batches", 3, 7, scope.agent_id.encode(), order), written)
    (leaf,) = written.leaves()
    return leaf, written


@pytest.mark.parametrize(
    ("scope", "session_id"),
    [
        (Scope("tenant-1", AGENT), ""),
        (Scope("tenant-1", AGENT, session_id="s-1"), "s-1"),
        (Scope("tenant-1", AGENT, event_id=EVENT), "s-1"),
    ],
)
def test_the_leaf_says_what_was_ordered(scope: Scope, session_id: str) -> None:
    leaf, _ = judged(scope, session_id)
    assert (leaf.type, leaf.event_id, leaf.sequence, leaf.session_id) == ("erasure", ERASURE, 1, session_id)
    assert leaf.verdict is None
    assert erasure_of(leaf, 3, 41) == Erasure(scope, 3, 41)


def test_other_leaves_erase_nothing() -> None:
    leaf, _ = judged(Scope("tenant-1", AGENT), "")
    assert erasure_of(msgspec.structs.replace(leaf, type="tool_call"), 3, 41) is None


def test_a_reason_is_a_private_value() -> None:
    leaf, _ = judged(Scope("tenant-1", AGENT), "", "the patient asked")
    assert leaf.commitments.keys() == {"reason"}
    assert b"patient" not in msgspec.json.encode(leaf)


@pytest.mark.parametrize(("kind", "taken"), [("session_start", True), ("erasure", False)])
def test_no_client_can_send_one(kind: str, taken: bool) -> None:
    event = {"type": kind, "agentId": AGENT, "sessionId": "s-1", "startedAt": "2026-05-13T10:00:00Z"}
    body = json.dumps({"events": [event]}).encode()
    (parsed,) = parse.parse_events(body, received_at_micros=clock.now_micros())
    assert isinstance(parsed, parse.Accepted) == taken


def test_a_pseudonym_says_nothing_about_the_tenant() -> None:
    """Random, so not to be computed from a name, nor one from another."""
    many = {new_pseudonym() for _ in range(1_000)}
    assert len(many) == 1_000
    assert all(len(one) == len("tenant-") + 16 for one in many)


def test_no_leaf_names_its_tenant() -> None:
    """The tenant's id is in the record; what the sealer publishes is the leaf."""
    written = Written()
    said: Any = record(call())
    task().process(said, written)
    for leaf in [*written.leaves(), judged(Scope("tenant-1", AGENT), "")[0]]:
        assert leaf.tenant == "tenant-1"
        assert TENANT not in str(leaf)
        assert set(msgspec.to_builtins(leaf)) & {"tenantId", "tenantName", "keyId", "requestId"} == set()
