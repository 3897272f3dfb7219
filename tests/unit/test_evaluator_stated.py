"""What the ledger shows of metadata and objectives: two figures, and nothing that was not meant to be shown."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pactstream.ledger import stated
from pactstream.ledger.leaf import LeafObjectives
from pactstream.pacts.model import Objectives
from tests.evaluator_tools import DOCUMENT, Pacts, Written, call, record, task

AIMS = Objectives(latency_p95_ms=800, allowed_models=("m-1", "m-2"), tokens_per_session=5_000)


def event(**changes: Any) -> dict[str, Any]:
    return call(latency_ms=None, token_count=None, metadata=None, reservation_id=None) | changes


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        (b'{"confidence":0.925}', 92),
        (b'{"confidence":1}', 100),
        (b'{"confidence":0}', 0),
        (b'{"confidence":1.01}', None),
        (b'{"confidence":-0.1}', None),
        (b'{"confidence":true}', None),
        (b'{"confidence":"0.9"}', None),
        (b'{"confidence":null}', None),
        (b'{"note":"\\"confidence\\""}', None),
        (b'{"confidence":0.9', None),
        (b'["confidence"]', None),
        (None, None),
    ],
)
def test_confidence_is_per_cent_or_nothing(metadata: bytes | None, expected: int | None) -> None:
    assert stated.confidence(event(metadata=metadata)) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, LeafObjectives(model="unstated")),
        ({"metadata": b'{"model_version":"m-1"}'}, LeafObjectives(model="allowed")),
        ({"metadata": b'{"model_version":"m-3"}'}, LeafObjectives(model="other")),
        ({"metadata": b'{"model_version":7}'}, LeafObjectives(model="other")),
        ({"latency_ms": 5.0}, LeafObjectives(model="unstated", latency_p95_ms=800)),
        (
            {"type": "response", "token_count": 0},
            LeafObjectives(model="unstated", tokens_per_session=5_000),
        ),
        ({"type": "session_end"}, None),
        ({"type": "tool_call.violation"}, None),
    ],
)
def test_objectives_stand_where_they_bear_on_the_event(
    changes: dict[str, Any], expected: LeafObjectives | None
) -> None:
    assert stated.objectives(event(**changes), AIMS) == expected


def test_a_pact_without_objectives_shows_none() -> None:
    assert stated.objectives(event(latency_ms=5.0), None) is None
    assert stated.objectives(event(), Objectives(800, None, None)) is None


def test_the_leaf_shows_neither_the_model_nor_the_exact_figure() -> None:
    document = DOCUMENT | {"objectives": {"latencyP95Ms": 800, "allowedModels": ["m-secret"]}}
    metadata = msgspec.json.encode({"confidence": 0.925_4, "model_version": "m-secret"})
    written = Written()
    task(pacts=Pacts(document)).process(record(call(metadata=metadata, latency_ms=5.0)), written)
    (leaf,) = written.leaves()
    assert leaf.confidence == 93
    assert leaf.objectives == LeafObjectives(latency_p95_ms=800, model="allowed")
    assert "metadata.model_version" in leaf.commitments
    (value,) = [value for _, value in written.of("telemetry.evaluated") if value is not None]
    public = msgspec.json.encode(msgspec.to_builtins(leaf))
    assert b"m-secret" in value  # in the opening, which is private
    assert b"m-secret" not in public
    assert b"9254" not in public
