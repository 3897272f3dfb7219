"""From windows as they arrive to minutes in order, and from what is found to records. Pure.

A minute is taken when a window of the agent arrives that is `WAIT_MINUTES` later. Until then the latest
revision of each tenant's window counts, whatever the order; afterwards nothing of that minute changes anything.
So a replay, and windows that come twice, late or in another order, leave the same state and find the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from evaluator_worker.anomaly.detector import take
from evaluator_worker.anomaly.found import Found
from evaluator_worker.anomaly.state import State
from evaluator_worker.behaviour.task import MINUTE_MICROS
from pactstream import avro
from pactstream.errors import InvalidInput

WAIT_MINUTES: Final = 2
MAX_WAITING: Final = 4_096
"""Windows of an agent that wait; beyond it their minutes are taken at once."""

_EMPTY: Final[Mapping[str, Any]] = {"taken_micros": 0, "waiting": [], "detector": b""}


class Advanced(NamedTuple):
    """The state after a window, None if it changed nothing; and the `Anomaly` records to write before it."""

    state: bytes | None
    anomalies: list[bytes]


def advance(state: bytes | None, key: bytes | None, value: bytes | None, level: float) -> Advanced:
    """Take in one record of `behaviour.windows`; `state` is what was remembered of its agent.

    Raises:
        InvalidInput: it is not a window, or its key is not its agent.
    """
    window = avro.decode_as("BehaviourWindow", value)
    if value is None or key != window["agent_id"].encode():
        raise InvalidInput("the record's key is not the window's agent: its order would not hold")
    known = _EMPTY if state is None else avro.decode_as("AnomalyState", state)
    minute = window["minute_micros"]
    if minute < known["taken_micros"]:
        return Advanced(None, [])
    waiting = {(one["minute_micros"], one["tenant_id"]): one for one in map(_opened, known["waiting"])}
    place = (minute, window["tenant_id"])
    if place in waiting and waiting[place]["revision"] >= window["revision"]:
        return Advanced(None, [])
    waiting[place] = window | {"": value}
    due = _due(waiting, known["taken_micros"])
    detector: bytes = known["detector"]
    found: list[Found] = []
    if due > known["taken_micros"]:
        detector, found = _take(detector, waiting, due, level)
    left = [waiting[one][""] for one in sorted(waiting) if one[0] >= due]
    record = {"taken_micros": due, "waiting": left, "detector": detector}
    return Advanced(avro.encode("AnomalyState", record), [encode(window["agent_id"], one) for one in found])


def _opened(value: bytes) -> dict[str, Any]:
    """A waiting window, with the bytes that it came in."""
    return avro.decode_as("BehaviourWindow", value) | {"": value}


def _due(waiting: Mapping[tuple[int, str], Any], taken_micros: int) -> int:
    """Minutes before this have waited long enough."""
    latest = max(minute for minute, _ in waiting)
    wait = 0 if len(waiting) > MAX_WAITING else WAIT_MINUTES - 1
    return max(taken_micros, latest - wait * MINUTE_MICROS)


def _take(
    detector: bytes, waiting: Mapping[tuple[int, str], dict[str, Any]], due: int, level: float
) -> tuple[bytes, list[Found]]:
    minutes: dict[int, dict[str, Any]] = {}
    found: list[Found] = []
    for (minute, tenant_id), window in sorted(waiting.items()):
        if minute < due:
            minutes.setdefault(minute, {})[tenant_id] = window
    for minute, windows in minutes.items():
        # Through its bytes each time: numbers are rounded there, and a restart must not show.
        state = State.decode(detector)
        agent_id = next(iter(windows.values()))["agent_id"]
        found += take(state, agent_id, minute // MINUTE_MICROS, windows, level)
        detector = state.encode()
    return detector, found


def encode(agent_id: str, found: Found) -> bytes:
    """The `Anomaly` of what was found. Times in it are the windows', so a replay writes the same bytes."""
    moved = [{name: getattr(one, name) for name in one.__struct_fields__} for one in found.features]
    first = found.features[0]
    return avro.encode(
        "Anomaly",
        {
            "anomaly_id": found.anomaly_id,
            "agent_id": agent_id,
            "tenant_id": found.tenant_id,
            "minute_micros": found.minute * MINUTE_MICROS,
            "measure": first.feature,
            "observed": first.observed,
            "expected": first.usual,
            "deviation": first.effect,
            "detected_at_micros": (found.minute + 1) * MINUTE_MICROS,
            "kind": found.kind,
            "status": found.status,
            "since_micros": found.since * MINUTE_MICROS,
            "evidence": found.evidence,
            "attribution": found.attribution,
            "version": found.version,
            "features": moved,
        },
    )
