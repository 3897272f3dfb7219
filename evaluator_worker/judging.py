"""From a batch to leaves: each event judged, numbered and linked, and those that judging gives rise to."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeAlias
from uuid import UUID

from evaluator_worker import crossings
from evaluator_worker.agent import ID_BYTES, AgentState
from evaluator_worker.holds import Hold, Holds, name_of
from pactstream import clock
from pactstream.errors import InvalidInput, Retryable
from pactstream.kafka import topics
from pactstream.kafka.config import MAX_MESSAGE_BYTES
from pactstream.kafka.records import Record
from pactstream.ledger import stated
from pactstream.ledger.leaf import AgentHead, Contributing, Source, build_leaf
from pactstream.ledger.openings import Salts
from pactstream.pacts import Call, CompiledPact, Judgement, Verdict
from pactstream.pacts.verdict import digest

# Many small parameters, each with its commitment and opening, make far more of a batch than came in: what does
# not fit one record is written as several. The rest of a record is room for its other fields.
MAX_EVALUATED_BYTES: Final = MAX_MESSAGE_BYTES - 64 * 1_024
EVENT_OVERHEAD_BYTES: Final = 128

_UUID_CHARS: Final = 36

# The gateway stamped a version that this process has not read yet: it is on its way.
_PACT_WAIT_SECONDS = 5.0


_Written: TypeAlias = tuple[dict[str, Any], AgentHead]
"""One event of an `EvaluatedBatch`, and the head of the chain after it."""


class Pacts(Protocol):
    """Where compiled pacts come from: a `PactBook`."""

    def compiled(  # noqa: D102 - the class says it
        self, pact_id: str, version: int, *, timeout_seconds: float = 0
    ) -> CompiledPact | None: ...

    def owner(self, pact_id: str, version: int) -> str | None: ...  # noqa: D102


@dataclass(slots=True)
class Outcome:
    """What one batch comes to; `marks` are what is remembered of the events that came in."""

    head: AgentHead
    events: list[dict[str, Any]] = field(default_factory=list)
    marks: list[bytes] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    refused: list[tuple[int, InvalidInput]] = field(default_factory=list)
    crossings: int = 0
    released: int = 0
    diverged: int = 0


def judge_batch(
    batch: dict[str, Any],
    record: Record,
    agent: AgentState,
    pacts: Pacts,
    holds: Holds,
    salts: Salts | None = None,
) -> Outcome:
    """Judge a batch. Of the agent, only what conditions remember changes: by each call that gets a leaf.

    A hold that such a call names is released with it; no verdict depends on holds. `salts` are for leaves.

    Raises:
        Retryable: it names a pact version that has not arrived here. The agent's state is then to be
            restored: some calls may have been taken in.
    """
    outcome = Outcome(agent.head)
    desk = _Desk(batch, record, agent, pacts, holds, salts or Salts())
    for index, event in enumerate(batch["events"]):
        try:
            event_id = _event_id(event)
            mark = desk.mark(event_id)
            if mark in agent.seen or mark in desk.fresh:
                continue
            desk.judge(index, event_id, event, outcome)
            desk.fresh.add(mark)
            outcome.marks.append(mark)
        except InvalidInput as error:
            outcome.refused.append((index, error))
    return outcome


class _Desk:
    """The judgement of one batch."""

    def __init__(
        self,
        batch: dict[str, Any],
        record: Record,
        agent: AgentState,
        pacts: Pacts,
        holds: Holds,
        salts: Salts,
    ) -> None:
        self.fresh: set[bytes] = set()
        self._key = batch["tenant_id"].encode()[:64]
        self._salts = salts
        self._compiled: dict[tuple[str, int], CompiledPact] = {}
        self._agent_id: str = batch["agent_id"]
        self._tenant: str = batch["tenant_pseudonym"]
        self._received_at_micros: int = batch["received_at_micros"]
        self._received_at = clock.to_iso(self._received_at_micros)
        self._record = record
        self._state = agent.pacts
        self._pacts = pacts
        self._holds = holds
        self._tenant_id: str = batch["tenant_id"]

    def mark(self, event_id: bytes) -> bytes:
        """What is remembered of an event: 16 bytes of its id and its tenant.

        Agents work for several tenants: what one of them sends must not pass for a repeat of another's.
        """
        return hashlib.blake2b(event_id, key=self._key, digest_size=16).digest()

    def judge(self, index: int, event_id: bytes, event: dict[str, Any], outcome: Outcome) -> None:
        """Add an event and those it gives rise to. Raises InvalidInput: it has no leaf; nothing changes."""
        pact = self._pact(event)
        if pact is None or event["type"] != "tool_call":
            evaluated, outcome.head = self._written(index, event, None, outcome.head)
            outcome.events.append(evaluated)
            if event["type"] == "page" and event["outcome"] == "rotated":
                # Whoever had the agent's keys had its reservations too.
                outcome.released += self._holds.forget(self._agent_id, self._is_tenants)
            return
        if pact.stateful:
            judgement = self._weighed(event_id, event, pact)
            written = self._with_crossings(index, event, judgement, outcome.head)
            # Nothing can fail from here on: a call is remembered if and only if it has a leaf.
            judgement.record(self._state)
            outcome.events += [evaluated for evaluated, _ in written]
            outcome.head = written[-1][1]
            outcome.crossings += len(judgement.crossings)
            verdict, alone = judgement.verdict, judgement.alone
        else:
            verdict = alone = pact.judge(event["tool"] or "", event["params"] or b"")
            evaluated, outcome.head = self._written(index, event, verdict, outcome.head)
            outcome.events.append(evaluated)
        outcome.verdicts.append(verdict)
        if event["reservation_id"] is not None:
            self._release(event, outcome)
        if (inline := event["inline_digest"]) is not None:
            outcome.diverged += inline != digest(alone)

    def _release(self, event: dict[str, Any], outcome: Outcome) -> None:
        """Let go of the hold for this call, if there is one of its tenant, pact and tool."""
        name = name_of(self._tenant_id, event["reservation_id"])
        pact_id, tool = event["pact_id"], event["tool"] or ""
        outcome.released += self._holds.release(self._agent_id, name, pact_id=pact_id, tool=tool)

    def _is_tenants(self, hold: Hold) -> bool:
        return self._pacts.owner(hold.pact_id, hold.pact_version) == self._tenant_id

    def _with_crossings(
        self, index: int, call: dict[str, Any], judgement: Judgement, head: AgentHead
    ) -> list[_Written]:
        """The call, and an event for each window that it took beyond its limit."""
        verdict = judgement.verdict
        written = [self._written(index, call, verdict, head)]
        for crossing in judgement.crossings:
            event = crossings.event(call, crossing)
            behind = crossings.contributing(crossing)
            found = crossings.verdict(verdict, crossing)
            written.append(self._written(index, event, found, written[-1][1], behind))
        return written

    def _weighed(self, event_id: bytes, event: dict[str, Any], pact: CompiledPact) -> Judgement:
        call = Call(
            event_id,
            event["tool"] or "",
            event["params"] or b"",
            outcome=event["outcome"],
            session_id=event["session_id"],
            occurred_at_micros=event["occurred_at_micros"],
            received_at_micros=self._received_at_micros,
        )
        return pact.weigh(call, self._state)

    def _pact(self, event: dict[str, Any]) -> CompiledPact | None:
        """The version in force when the event arrived; None where it names none."""
        pact_id, version = event["pact_id"], event["pact_version"]
        if pact_id is None or version is None:
            return None
        found = self._compiled.get((pact_id, version))
        if found is None:
            found = self._pacts.compiled(pact_id, version, timeout_seconds=_PACT_WAIT_SECONDS)
            if found is None:
                raise Retryable(f"version {version} of pact {pact_id} has not arrived yet")
            self._compiled[pact_id, version] = found
        return found

    def _written(
        self,
        index: int,
        event: dict[str, Any],
        verdict: Verdict | None,
        head: AgentHead,
        behind: Contributing | None = None,
    ) -> _Written:
        pact = self._pact(event)
        aims = None if pact is None else pact.pact.objectives
        built = build_leaf(
            event,
            verdict,
            agent_id=self._agent_id,
            tenant=self._tenant,
            received_at=self._received_at,
            source=Source(index, self._record.offset, self._record.partition, topics.BATCHES),
            head=head,
            contributing=behind,
            confidence=None if event["metadata"] is None else stated.confidence(event),
            objectives=None if aims is None else stated.objectives(event, aims),
            salts=self._salts,
        )
        evaluated = {
            "event_id": event["event_id"],
            "sequence": built.head.sequence,
            "leaf": built.leaf,
            "private": built.private,
        }
        size = evaluated_bytes(evaluated)
        if size > MAX_EVALUATED_BYTES:
            raise InvalidInput(f"judged, the event has {size} bytes: more than one record holds")
        return evaluated, built.head


def parts(events: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """The events in order, in as few lists as fit one record each."""
    part: list[dict[str, Any]] = []
    size = 0
    for event in events:
        needed = evaluated_bytes(event)
        if part and size + needed > MAX_EVALUATED_BYTES:
            yield part
            part, size = [], 0
        part.append(event)
        size += needed
    yield part


def evaluated_bytes(event: dict[str, Any]) -> int:
    """What an event takes of a record, at most."""
    return len(event["leaf"]) + len(event["private"] or b"") + EVENT_OVERHEAD_BYTES


def _event_id(event: dict[str, Any]) -> bytes:
    text = event["event_id"]
    try:
        # The usual form, in a tenth of the time. What this refuses may be a UUID in another form.
        if len(text) == _UUID_CHARS and len(found := bytes.fromhex(text.replace("-", ""))) == ID_BYTES:
            return found
    except ValueError:
        pass
    try:
        return UUID(text).bytes
    except ValueError:
        raise InvalidInput("eventId is not a UUID") from None
