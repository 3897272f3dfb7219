"""What the ledger shows of an event beside its verdict: stated confidence, and what the pact aims at there.

Metadata stay private. Two figures of theirs are published in a form that says little: the confidence in per
cent, and of the model only whether the pact allows it. Anybody can compute scores from them (ADR 18).
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pactstream.ledger.leaf import LeafObjectives

if TYPE_CHECKING:
    from pactstream.pacts.model import Objectives

_JUDGED: Final = frozenset({"session_start", "tool_call", "response"})
_NOTHING: Final[Mapping[str, Any]] = {}

_decode = msgspec.json.Decoder(dict[str, Any]).decode


def confidence(event: Mapping[str, Any]) -> int | None:
    """`metadata.confidence`, from 0 to 1, as per cent; None where it is not stated, or no such number."""
    stated = _metadata(event, b'"confidence"').get("confidence")
    if isinstance(stated, bool) or not isinstance(stated, int | float) or not isfinite(stated):
        return None
    return round(100 * stated) if 0 <= stated <= 1 else None


def objectives(event: Mapping[str, Any], aims: Objectives | None) -> LeafObjectives | None:
    """Of what the pact aims at, what bears on this event; None where nothing does."""
    if aims is None or event["type"] not in _JUDGED:
        return None
    found = LeafObjectives(
        latency_p95_ms=None if event["latency_ms"] is None else aims.latency_p95_ms,
        model=None if aims.allowed_models is None else _model(event, aims.allowed_models),
        tokens_per_session=None if event["token_count"] is None else aims.tokens_per_session,
    )
    return None if found == _NONE else found


def _model(event: Mapping[str, Any], allowed: tuple[str, ...]) -> Any:
    stated = _metadata(event, b'"model_version"').get("model_version")
    if stated is None:
        return "unstated"
    return "allowed" if stated in allowed else "other"


def _metadata(event: Mapping[str, Any], key: bytes) -> Mapping[str, Any]:
    """The event's metadata where `key` may stand in it."""
    raw = event["metadata"]
    if raw is None or key not in raw:
        return _NOTHING
    try:
        return _decode(raw)
    except msgspec.DecodeError:
        return _NOTHING  # a leaf commits to it as to a text; nothing can be read from it


_NONE: Final = LeafObjectives()
