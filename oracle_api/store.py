"""What the oracle asks ClickHouse: parameterised, bounded in rows and in time, public columns only."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from math import isnan
from typing import Any, TypeAlias, TypeVar
from uuid import UUID

import anyio
import msgspec

from oracle_api.state import (
    AgentState,
    AttestationInForce,
    Checkpoint,
    Event,
    Head,
    Night,
    Score,
    Share,
    ViolatingCall,
    Violation,
)
from pactstream import clock
from pactstream.clickhouse.client import ClickHouse
from pactstream.errors import Fatal, PactstreamError
from pactstream.scores.claims import (
    CLAIM_CHARS,
    LISTED_ATTESTATIONS,
    LISTED_VIOLATIONS,
    RECENT_VIOLATIONS,
    DimensionScore,
)

# As the limits of `scores.claims`: a long path makes no report too long.
PATH_CHARS = 80

_THREADS = 16
# One thread each: these read a few granules, and handing them out would take longer than reading them.
_LIMITS = "\nSETTINGS max_execution_time = 5, max_result_rows = 1000, max_threads = 1"
# A checkpoint is of all agents of its log: it is read once for many, and an older one covers its leaves too.
_CHECKPOINT_SECONDS = 1.0
_T = TypeVar("_T")

_SCORE = """
SELECT score FROM latest_scores WHERE agent_id = {agent:UUID}
ORDER BY through_sequence DESC, computed_at DESC LIMIT 1
"""
_HISTORY = """
SELECT toString(day), through_sequence, composite, points, confidence, covered_weight,
    if(tier = '', NULL, toString(tier)), sample_size, method
FROM scores FINAL WHERE agent_id = {agent:UUID} AND nightly AND day > today() - {days:UInt16}
ORDER BY day
"""
_HEAD = """
SELECT log, leaf_index, sequence, lower(hex(leaf_hash)), toUnixTimestamp64Micro(received_at)
FROM room_events WHERE agent_id = {agent:UUID} AND leaf_index < {below:UInt64}
ORDER BY sequence DESC LIMIT 1
"""
_CHECKPOINT = """
SELECT log, tree_size, checkpoint, toUnixTimestamp64Micro(sealed_at)
FROM ledger_segments WHERE log = {log:UInt16}
ORDER BY log DESC, segment_index DESC LIMIT 1
"""
_LOGS = "SELECT DISTINCT log FROM ledger_segments ORDER BY log"
# What a report lists of a violating call: each column more is another half a millisecond.
_VIOLATING = """
SELECT sequence, toString(event_id), toUnixTimestamp64Micro(occurred_at), toUnixTimestamp64Micro(received_at),
    tool, severity, arrayZip(violations.param_path, violations.rule, violations.severity), violations_omitted
FROM room_events WHERE agent_id = {agent:UUID} AND valid = false
ORDER BY sequence DESC LIMIT {limit:UInt32}
"""
_EVENTS = """
SELECT sequence, toString(event_id), type, session_id, toUnixTimestamp64Micro(occurred_at),
    toUnixTimestamp64Micro(received_at), tool, outcome, latency_ms, bound, valid, severity,
    arrayZip(violations.param_path, violations.rule, violations.severity), violations_omitted, log, leaf_index
FROM room_events
WHERE agent_id = {agent:UUID} AND sequence > {after:UInt64} AND sequence < {below:UInt64}
    AND (valid = false OR NOT {violating:Bool})
ORDER BY sequence DESC LIMIT {limit:UInt32}
"""
_COMPARED = """
SELECT countIf(tenant = {tenant:String}), count(),
    countIf(tenant = {tenant:String} AND bound), countIf(bound),
    countIf(tenant = {tenant:String} AND bound AND valid), countIf(bound AND valid),
    quantileTDigestIf(0.95)(latency_ms, tenant = {tenant:String} AND latency_ms IS NOT NULL),
    quantileTDigestIf(0.95)(latency_ms, latency_ms IS NOT NULL)
FROM room_events
WHERE agent_id = {agent:UUID} AND type = 'tool_call' AND received_at >= now64(6) - toIntervalDay({days:UInt16})
"""
# The first leaf of a segment waited longest for it.
_SEAL_LAG = """
SELECT if(count() = 0, NULL, max(dateDiff('millisecond', e.received_at, s.sealed_at)) / 1000)
FROM (SELECT log, first_leaf, sealed_at FROM ledger_segments
      WHERE sealed_at > now64(6) - toIntervalSecond(60) ORDER BY sealed_at DESC LIMIT 500) AS s
INNER JOIN (SELECT log, leaf_index, received_at FROM room_events
            WHERE received_at > now64(6) - toIntervalSecond(600)) AS e
ON e.log = s.log AND e.leaf_index = s.first_leaf
"""
_MAX_UINT64 = 2**64 - 1

# Rows as JSON, by column.
_DimensionRow: TypeAlias = tuple[str, float, float | None, float, float, str]
_AttestationRow: TypeAlias = tuple[str, str, str, int, int, int, str]
_ScoreRow: TypeAlias = tuple[
    int, int, int, int, int, int, int, dict[str, int],
    float | None, int | None, float | None, float, str | None, float, int, int,
    list[_DimensionRow], list[_AttestationRow],
]  # fmt: skip
_ViolatingRow: TypeAlias = tuple[int, str, int, int, str, str, list[tuple[str, str, str]], int]
_TEXT = msgspec.json.Decoder(tuple[str])
# Not strict: of the migration's insert, the server's own default decides whether large integers are quoted.
_SCORE_ROW = msgspec.json.Decoder(_ScoreRow, strict=False)
_HEAD_ROW = msgspec.json.Decoder(tuple[int, int, int, str, int])
_VIOLATING_ROW = msgspec.json.Decoder(_ViolatingRow)


class Store:
    """Reads run in a few threads, so that a slow one holds up its own caller only.

    Every method raises `Retryable` when ClickHouse does not answer.
    """

    def __init__(self, database: ClickHouse) -> None:
        self._database = database
        self._checkpoints_read: dict[int, tuple[float, Checkpoint]] = {}  # as many as there are logs
        self._threads = anyio.CapacityLimiter(_THREADS)

    async def agent_state(self, agent_id: UUID) -> AgentState | None:
        """All that a report needs; None if nothing is known of the agent. Read side by side."""
        score, (head, checkpoint), violating = await asyncio.gather(
            self._in_thread(partial(self._score, agent_id)),
            self._in_thread(partial(self._sealed_head, agent_id)),
            self._in_thread(partial(self._violating, agent_id)),
        )
        if score is None and head is None:
            return None
        return AgentState(str(agent_id), score, head, checkpoint, violating)

    async def head_below(self, agent_id: UUID, below: int) -> Head | None:
        """The agent's last leaf with a smaller index in its log; None if there is none."""
        return await self._in_thread(partial(self._head, agent_id, below))

    async def history(self, agent_id: UUID, days: int) -> list[Night]:
        """The agent's nightly scores of the last `days` days, oldest first."""
        rows = await self._in_thread(partial(self._rows, _HISTORY, agent=agent_id, days=days))
        return [Night(*row) for row in rows]

    async def latest_events(self, agent_id: UUID, after_sequence: int, limit: int) -> Sequence[Event]:
        """The agent's last `limit` events beyond `after_sequence`, oldest first."""
        return await self._in_thread(lambda: self._events(agent_id, after_sequence, limit))

    async def violations(self, agent_id: UUID, below_sequence: int, limit: int) -> list[Event]:
        """The agent's last `limit` violating calls before `below_sequence`, newest first."""
        newest_last = await self._in_thread(
            lambda: self._events(agent_id, 0, limit, below=below_sequence, violating=True)
        )
        return newest_last[::-1]

    async def compared(self, agent_id: UUID, pseudonym: str, days: int) -> tuple[Share, Share]:
        """The agent's calls of the last `days` days: those for one tenant, and all of them."""
        rows = await self._in_thread(
            partial(self._rows, _COMPARED, agent=agent_id, tenant=pseudonym, days=days)
        )
        return _share(rows[0][0::2]), _share(rows[0][1::2])

    async def seal_lag(self) -> float | None:
        """Seconds from an event's arrival to its seal, the longest of the last minute; None without any."""
        rows = await self._in_thread(partial(self._rows, _SEAL_LAG))
        lag: float | None = rows[0][0]
        return lag

    async def checkpoint(self, log: int) -> Checkpoint | None:
        """The newest checkpoint of one log; None if it has none."""
        return await self._in_thread(partial(self._checkpoint, log))

    async def checkpoints(self) -> list[Checkpoint]:
        """The newest checkpoint of each log."""
        return await self._in_thread(self._checkpoints)

    async def answers(self) -> bool:
        """Whether ClickHouse does, and has our tables."""
        try:
            await self._in_thread(partial(self._rows, "SELECT 1 FROM scores LIMIT 1"))
        except PactstreamError:
            return False
        return True

    async def _in_thread(self, call: Callable[[], _T]) -> _T:
        return await anyio.to_thread.run_sync(call, limiter=self._threads)

    def _rows(self, sql: str, **parameters: object) -> list[tuple[Any, ...]]:
        return self._database.rows(sql + _LIMITS, parameters)

    def _lines(self, sql: str, rows: msgspec.json.Decoder[_T], **parameters: object) -> list[_T]:
        return self._database.json_rows(sql + _LIMITS, rows, parameters)

    def _score(self, agent_id: UUID) -> Score | None:
        rows = self._lines(_SCORE, _TEXT, agent=agent_id)
        if not rows:
            return None
        try:
            return _score(_SCORE_ROW.decode(rows[0][0]))
        except msgspec.DecodeError as error:
            raise Fatal(f"the score of {agent_id} is not as expected: {error}") from error

    def _violating(self, agent_id: UUID) -> tuple[ViolatingCall, ...]:
        rows = self._lines(_VIOLATING, _VIOLATING_ROW, agent=agent_id, limit=RECENT_VIOLATIONS)
        return tuple(map(_violating, rows))

    def _events(
        self, agent_id: UUID, after: int, limit: int, *, below: int = _MAX_UINT64, violating: bool = False
    ) -> list[Event]:
        rows = self._rows(_EVENTS, agent=agent_id, after=after, below=below, limit=limit, violating=violating)
        return [_event(row) for row in reversed(rows)]

    def _sealed_head(self, agent_id: UUID) -> tuple[Head | None, Checkpoint | None]:
        """The agent's last leaf under a checkpoint, and that checkpoint.

        Leaves are written before the row of the segment that seals them: what is beyond the last one is not
        shown, because nothing signed vouches for it.
        """
        head = self._head(agent_id, _MAX_UINT64)
        if head is None:
            return None, None
        checkpoint = self._recent_checkpoint(head.log, head.leaf_index)
        if checkpoint is None:
            return None, None
        if head.leaf_index >= checkpoint.tree_size:
            head = self._head(agent_id, checkpoint.tree_size)
        return (None, None) if head is None else (head, checkpoint)

    def _head(self, agent_id: UUID, below: int) -> Head | None:
        rows = self._lines(_HEAD, _HEAD_ROW, agent=agent_id, below=below)
        return Head(*rows[0]) if rows else None

    def _recent_checkpoint(self, log: int, leaf_index: int) -> Checkpoint | None:
        """The newest checkpoint, or one read a moment ago if it covers the leaf."""
        read_at, kept = self._checkpoints_read.get(log, (0.0, None))
        now = clock.monotonic_seconds()
        if kept is None or leaf_index >= kept.tree_size or now - read_at > _CHECKPOINT_SECONDS:
            kept = self._checkpoint(log)
            if kept is not None:
                self._checkpoints_read[log] = (now, kept)
        return kept

    def _checkpoint(self, log: int) -> Checkpoint | None:
        rows = self._rows(_CHECKPOINT, log=log)
        return Checkpoint(*rows[0]) if rows else None

    def _checkpoints(self) -> list[Checkpoint]:
        logs = [log for (log,) in self._rows(_LOGS)]
        return [one for one in map(self._checkpoint, logs) if one is not None]


def _score(row: _ScoreRow) -> Score:
    *_, dimensions, attestations = row
    figures: list[Any] = list(row[:-2])
    figures.append(tuple(map(_dimension, dimensions)))
    figures.append(tuple(map(_attestation, attestations[:LISTED_ATTESTATIONS])))
    return Score(*figures)


def _dimension(row: _DimensionRow) -> DimensionScore:
    name, weight, score, confidence, sample_size, inputs = row
    return DimensionScore(name, weight, score, confidence, sample_size, msgspec.json.decode(inputs))


def _attestation(row: _AttestationRow) -> AttestationInForce:
    attestation_id, kind, issuer, issued, expires, sequence, claim = row
    said = msgspec.json.decode(claim) if len(claim) <= CLAIM_CHARS else None
    return AttestationInForce(
        attestation_id, kind, issuer, clock.to_iso(issued), clock.to_iso(expires), sequence, said
    )


def _share(row: Sequence[Any]) -> Share:
    calls, bound, valid, latency = row
    return Share(calls, bound, valid, None if latency is None or isnan(latency) else latency)


def _event(row: Sequence[Any]) -> Event:
    (sequence, event_id, kind, session_id, occurred, received, tool, outcome, latency_ms, *judged) = row
    bound, valid, severity, violations, omitted, log, leaf_index = judged
    return Event(
        sequence=sequence,
        event_id=event_id,
        type=kind,
        session_id=session_id,
        occurred_at=clock.to_iso(occurred),
        received_at=clock.to_iso(received),
        tool=tool,
        outcome=outcome,
        latency_ms=latency_ms,
        bound=bound,
        valid=valid,
        severity=severity,
        violations=_listed(violations),
        omitted=omitted + max(0, len(violations) - LISTED_VIOLATIONS),
        log=log,
        leaf_index=leaf_index,
    )


def _violating(row: _ViolatingRow) -> ViolatingCall:
    sequence, event_id, occurred, received, tool, severity, violations, omitted = row
    return ViolatingCall(
        sequence=sequence,
        event_id=event_id,
        occurred_at=clock.to_iso(occurred),
        received_at=clock.to_iso(received),
        tool=tool,
        severity=severity,
        violations=_listed(violations),
        omitted=omitted + max(0, len(violations) - LISTED_VIOLATIONS),
    )


def _listed(violations: Sequence[tuple[str, str, str]]) -> tuple[Violation, ...]:
    return tuple(Violation(_cut(path), *rest) for path, *rest in violations[:LISTED_VIOLATIONS])


def _cut(path: str) -> str:
    return path if len(path) <= PATH_CHARS else path[: PATH_CHARS - 1] + "…"
