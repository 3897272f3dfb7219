"""Sufficient statistics of one agent's leaves for one tenant on one day (UTC, by arrival).

All are sets of slots, whole numbers, and a bounded sample: leaves in any order give the same, and so does
`sql/evidence.sql` over the ledger. The size is bounded whatever an agent sends.

A slot is an hour of a stratum of work. What went well counts once a slot, so that splitting work into many
calls or sessions adds nothing; what went wrong counts each time.
"""

from __future__ import annotations

from bisect import bisect_right
from hashlib import sha256
from typing import Any, Final, NamedTuple, TypeAlias
from zlib import crc32

from pactstream.scores.leaves import CountedLeaf

HOURS: Final = 24
BOUND_STRATA: Final = 13
"""Tools that a pact names, by hash: the pact chooses them, the agent cannot add one."""
UNBOUND, SESSIONS, RESPONSES = 0, 14, 15
SAMPLED_SESSIONS: Final = 64
"""Of a day's sessions with a token budget, those with the smallest hashes are kept."""
LATENCY_EDGES: Final = tuple(part * 2.0**power for power in range(22) for part in (1.0, 1.25, 1.5, 1.75))
"""Lower ends of the latency buckets, milliseconds: exact binary fractions, at most 25 % apart."""
CONFIDENCE_EDGES: Final = (50, 70, 85, 95)
CONFIDENCE_BINS: Final = len(CONFIDENCE_EDGES) + 1

_CALL, _RESPONSE, _END = "tool_call", "response", "session_end"
_WENT_BADLY: Final = {_CALL: ("error",), _RESPONSE: ("error",), _END: ("failure", "timeout", "aborted")}
_RIGHT: Final = {_CALL: {"success": 1, "error": 0}, _RESPONSE: {"success": 1, "partial": 0, "error": 0}}

Calibration: TypeAlias = dict[int, tuple[int, int, int]]
"""Cell to how many outcomes, the sum of stated confidences (per cent), and how many were right."""
Latency: TypeAlias = dict[int, tuple[int, int]]
"""Stratum to how many were timed under an objective, and how many took longer."""


class Counts(NamedTuple):
    """What the formula knows of a day: slots that hold such a thing, events that are such, and three tables."""

    worked: int = 0
    worked_elsewhere: int = 0
    kept: int = 0
    admitted: int = 0
    stopped: int = 0
    unbound_hours: int = 0
    ended_hours: int = 0
    model_allowed_hours: int = 0
    model_unstated_hours: int = 0
    failures: int = 0
    critical: int = 0
    major: int = 0
    minor: int = 0
    hidden: int = 0
    executed: int = 0
    broken_sessions: int = 0
    starts: int = 0
    ends: int = 0
    model_other: int = 0
    calibration: Calibration = {}  # noqa: RUF012 - never changed
    latency: Latency = {}  # noqa: RUF012
    durations: dict[int, int] = {}  # noqa: RUF012
    tokens: int = 0
    tokens_beyond: int = 0
    budgeted_sessions: int = 0


SLOT_SETS: Final = Counts._fields[: Counts._fields.index("failures")]
COUNTERS: Final = Counts._fields[len(SLOT_SETS) : Counts._fields.index("calibration")]


class Day:
    """The statistics, open to more leaves. Sets of slots are bit masks."""

    __slots__ = ("_counts", "calibration", "counters", "durations", "latency", "sets", "tokens")

    def __init__(self) -> None:
        self.sets: dict[str, int] = dict.fromkeys(SLOT_SETS, 0)
        self.counters: dict[str, int] = dict.fromkeys(COUNTERS, 0)
        self.calibration: Calibration = {}
        self.latency: Latency = {}
        self.durations: dict[int, int] = {}
        self.tokens: dict[bytes, tuple[int, int]] = {}  # hash of the session: tokens, budget
        self._counts: Counts | None = None

    def add(self, leaf: CountedLeaf, hour: int) -> None:
        """Count a leaf that arrived in that hour of the day."""
        self._counts = None
        if leaf.type == _CALL:
            self._add_call(leaf, hour)
        elif leaf.type == _RESPONSE:
            self._add_work(leaf, RESPONSES, hour)
            self._add_tokens(leaf)
        elif leaf.type == _END:
            self._add_work(leaf, SESSIONS, hour)
            self.counters["ends"] += 1
            broken = leaf.outcome in ("aborted", "timeout")
            self.counters["broken_sessions"] += broken
            self.sets["ended_hours"] |= (not broken) << hour
        elif leaf.type == "session_start":
            self.counters["starts"] += 1
        self._add_model(leaf, hour)

    def counts(self) -> Counts:
        """What the formula needs of it."""
        if self._counts is None:
            used = self.tokens.values()
            self._counts = Counts(
                **{name: mask.bit_count() for name, mask in self.sets.items()},
                **self.counters,
                calibration=self.calibration,
                latency=self.latency,
                durations=self.durations,
                tokens=sum(tokens for tokens, _ in used),
                tokens_beyond=sum(max(0, tokens - budget) for tokens, budget in used),
                budgeted_sessions=len(used),
            )
        return self._counts

    def to_avro(self) -> dict[str, Any]:
        """The Avro record `ScoreEvidence`."""
        return {
            **{name: _mask_bytes(mask) for name, mask in self.sets.items()},
            **self.counters,
            "calibration": [one for key, figures in self.calibration.items() for one in (key, *figures)],
            "latency": [one for key, figures in self.latency.items() for one in (key, *figures)],
            "durations": [one for pair in self.durations.items() for one in pair],
            "sessions": b"".join(self.tokens),
            "tokens": [one for pair in self.tokens.values() for one in pair],
        }

    @classmethod
    def from_avro(cls, record: dict[str, Any]) -> Day:
        """From the Avro record `ScoreEvidence`."""
        day = cls()
        day.sets = {name: int.from_bytes(record[name], "little") for name in SLOT_SETS}
        day.counters = {name: record[name] for name in COUNTERS}
        calibration, latency, durations = record["calibration"], record["latency"], record["durations"]
        day.calibration = {row[0]: (row[1], row[2], row[3]) for row in _rows(calibration, 4)}
        day.latency = {row[0]: (row[1], row[2]) for row in _rows(latency, 3)}
        day.durations = {row[0]: row[1] for row in _rows(durations, 2)}
        hashes = (record["sessions"][at : at + 8] for at in range(0, len(record["sessions"]), 8))
        pairs = ((row[0], row[1]) for row in _rows(record["tokens"], 2))
        day.tokens = dict(zip(hashes, pairs, strict=True))
        return day

    def _add_call(self, leaf: CountedLeaf, hour: int) -> None:
        stratum = tool_stratum(leaf.tool) if leaf.bound else UNBOUND
        self._add_work(leaf, stratum, hour)
        slot = 1 << (stratum * HOURS + hour)
        if not leaf.bound:
            self.sets["unbound_hours"] |= 1 << hour
        elif leaf.verdict is not None and leaf.verdict.valid:
            self.sets["kept"] |= slot
        elif leaf.violated in ("critical", "major", "minor"):
            self._add_violation(leaf, leaf.violated, slot)

    def _add_violation(self, leaf: CountedLeaf, severity: str, slot: int) -> None:
        self.counters[severity] += 1
        if leaf.outcome == "success":
            self.counters["hidden"] += 1
        else:
            self.sets["admitted"] |= slot
        if severity != "minor":
            if leaf.outcome in ("denied", "refused"):
                self.sets["stopped"] |= slot
            else:
                self.counters["executed"] += 1

    def _add_work(self, leaf: CountedLeaf, stratum: int, hour: int) -> None:
        """What calls, responses and ends of sessions have in common."""
        if leaf.outcome == "success":
            where = "worked" if UNBOUND < stratum < SESSIONS else "worked_elsewhere"
            self.sets[where] |= 1 << (stratum * HOURS + hour)
        self.counters["failures"] += leaf.outcome in _WENT_BADLY[leaf.type]
        if leaf.type == _END:
            return
        if leaf.latency_ms is not None:
            self._add_latency(leaf, leaf.latency_ms, stratum)
        if leaf.confidence is not None:
            self._add_calibration(leaf, leaf.confidence)

    def _add_latency(self, leaf: CountedLeaf, latency_ms: float, stratum: int) -> None:
        bucket = bisect_right(LATENCY_EDGES, latency_ms)
        self.durations[bucket] = self.durations.get(bucket, 0) + 1
        objective = None if leaf.objectives is None else leaf.objectives.latency_p95_ms
        if objective is not None and stratum != UNBOUND:
            timed, late = self.latency.get(stratum, (0, 0))
            self.latency[stratum] = (timed + 1, late + (latency_ms > objective))

    def _add_calibration(self, leaf: CountedLeaf, confidence: int) -> None:
        right = _RIGHT[leaf.type].get(leaf.outcome)
        if right is None:
            return
        kind = 2 if leaf.type == _RESPONSE else int(leaf.bound)
        cell = kind * CONFIDENCE_BINS + bisect_right(CONFIDENCE_EDGES, confidence)
        n, stated, hits = self.calibration.get(cell, (0, 0, 0))
        hit = right if leaf.violated is None else 0
        self.calibration[cell] = (n + 1, stated + confidence, hits + hit)

    def _add_tokens(self, leaf: CountedLeaf) -> None:
        budget = None if leaf.objectives is None else leaf.objectives.tokens_per_session
        if budget is None or leaf.token_count is None:
            return
        # The smallest hashes: which sessions are kept depends on no order, so that SQL keeps the same.
        session = sha256(leaf.session_id.encode()).digest()[:8]
        tokens, most = self.tokens.get(session, (0, 0))
        self.tokens[session] = (tokens + leaf.token_count, max(most, budget))
        if len(self.tokens) > SAMPLED_SESSIONS:
            del self.tokens[max(self.tokens)]

    def _add_model(self, leaf: CountedLeaf, hour: int) -> None:
        model = None if leaf.objectives is None else leaf.objectives.model
        if model == "other":
            self.counters["model_other"] += 1
        elif model is not None:
            self.sets[f"model_{model}_hours"] |= 1 << hour


def tool_stratum(tool: str) -> int:
    """The stratum of a tool that a pact names."""
    return 1 + crc32(tool.encode()) % BOUND_STRATA


def _mask_bytes(mask: int) -> bytes:
    return mask.to_bytes((mask.bit_length() + 7) // 8, "little")


def _rows(flat: list[int], width: int) -> list[list[int]]:
    return [flat[at : at + width] for at in range(0, len(flat), width)]
