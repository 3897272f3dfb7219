"""The work on one partition of `telemetry.evaluated`: which calls are asked about, and what is recorded of it.

It keeps no state. What is asked in a transaction is asked again if that is lost, under the same id, and the
event that records the answer has that id too: so the evaluator takes in the first and drops the rest.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from evaluator_worker.evaluated import PactRef, openings_of, params_of
from evaluator_worker.external.desk import Asked, Desk, Found
from pactstream import avro, clock
from pactstream.errors import InvalidInput, Retryable
from pactstream.evaluation.question import Question, evaluation_id
from pactstream.kafka import topics
from pactstream.kafka.records import Emit, Record, Task
from pactstream.ledger import merkle
from pactstream.pacts import CompiledPact
from pactstream.pacts.model import Evaluator

TYPE: Final = "evaluation"
"""Of the events that record what a third party said."""

_PACT_WAIT_SECONDS: Final = 5.0


class Pacts(Protocol):
    """Where pacts come from: a `PactBook`."""

    def compiled(  # noqa: D102 - the class says it
        self, pact_id: str, version: int, *, timeout_seconds: float = 0
    ) -> CompiledPact | None: ...

    def owner(self, pact_id: str, version: int) -> str | None: ...  # noqa: D102


class _Leaf(msgspec.Struct, rename="camel"):
    type: str
    event_id: str
    session_id: str
    tool: str | None = None
    pact: PactRef | None = None


_decode_leaf = msgspec.json.Decoder(_Leaf).decode


class _Pending(NamedTuple):
    """A call with the questions about it."""

    batch: Mapping[str, Any]
    leaf: _Leaf
    asked: list[Asked]


class ExternalTask(Task):
    """Calls of one partition; those that arrived longer than `max_age_micros` ago are not asked about."""

    def __init__(
        self,
        partition: int,
        pacts: Pacts,
        desk: Desk,
        *,
        max_age_micros: int,
        now_micros: Callable[[], int] = clock.now_micros,
    ) -> None:
        self._partition = partition
        self._pacts = pacts
        self._desk = desk
        self._max_age_micros = max_age_micros
        self._now_micros = now_micros
        self._pending: list[_Pending] = []

    def restore(self, key: bytes, value: bytes | None) -> None:
        """There is no state."""

    def process(self, record: Record, emit: Emit) -> int:
        """Ask about the calls of one batch.

        Raises:
            InvalidInput: it is not a batch of leaves.
            Retryable: it names a pact version that has not arrived here.
        """
        batch = avro.decode_as("EvaluatedBatch", record.value)
        leaves = [(event, _read(event["leaf"])) for event in batch["events"]]
        if batch["received_at_micros"] >= self._now_micros() - self._max_age_micros:
            for event, leaf in leaves:
                questions = list(self._questions(batch, event, leaf))
                if questions:
                    self._pending.append(_Pending(batch, leaf, [self._desk.ask(one) for one in questions]))
        return len(leaves)

    def flush(self, emit: Emit) -> None:
        """Record what was said, or that nothing was by the deadline: all of them run at once."""
        pending, self._pending = self._pending, []
        for batch, leaf, asked in pending:
            events = [_event(one.question, leaf, self._desk.found(one)) for one in asked]
            self._write(batch, events, emit)

    def _questions(self, batch: Mapping[str, Any], event: Mapping[str, Any], leaf: _Leaf) -> Iterator[Question]:
        for one in self._evaluators(batch["tenant_id"], leaf):
            if one.tools is not None and leaf.tool not in one.tools:
                continue
            yield Question(
                evaluation_id=evaluation_id(batch["tenant_id"], leaf.event_id, one.issuer),
                issuer=one.issuer,
                agent_id=batch["agent_id"],
                leaf_hash=merkle.leaf_hash(event["leaf"]).hex(),
                leaf=msgspec.Raw(event["leaf"]),
                params=params_of(openings_of(event["private"])) if one.sees_params else None,
            )

    def _evaluators(self, tenant_id: str, leaf: _Leaf) -> tuple[Evaluator, ...]:
        """Whom the pact of a call names, if it is the tenant's own: nobody else shows its parameters around."""
        if leaf.type != "tool_call" or leaf.pact is None or leaf.pact.version is None:
            return ()
        pact_id, version = leaf.pact.id, leaf.pact.version
        found = self._pacts.compiled(pact_id, version, timeout_seconds=_PACT_WAIT_SECONDS)
        if found is None:
            raise Retryable(f"version {version} of pact {pact_id} has not arrived yet")
        own = self._pacts.owner(pact_id, version) == tenant_id
        return found.pact.evaluators if own else ()

    def _write(self, batch: Mapping[str, Any], events: list[dict[str, Any]], emit: Emit) -> None:
        record = {
            "tenant_id": batch["tenant_id"],
            "tenant_pseudonym": batch["tenant_pseudonym"],
            "agent_id": batch["agent_id"],
            "key_id": "pactstream",
            "request_id": "",
            "received_at_micros": self._now_micros(),
            "events": events,
        }
        # The evaluator writes to the partition that it reads from, so this is where the agent's events come in.
        value = avro.encode("TelemetryBatch", record)
        emit(topics.BATCHES, batch["agent_id"].encode(), value, partition=self._partition)


def _read(leaf: bytes) -> _Leaf:
    try:
        return _decode_leaf(leaf)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"not a leaf: {error}") from error


def _event(question: Question, leaf: _Leaf, found: Found) -> dict[str, Any]:
    """The Avro `TelemetryEvent`. Who did not answer, and why, is the tenant's to know, so it is private."""
    said: dict[str, str] = {"evaluator": question.issuer}
    if found.reason is not None:
        said["reason"] = found.reason
    return {
        "type": TYPE,
        "event_id": question.evaluation_id,
        "session_id": leaf.session_id,
        "occurred_at_micros": clock.now_micros(),
        "parent_event_id": leaf.event_id,
        "pact_id": None if leaf.pact is None else leaf.pact.id,
        "pact_version": None if leaf.pact is None else leaf.pact.version,
        "tool": leaf.tool,
        "outcome": found.outcome,
        "attestation": found.signed,
        "metadata": json.dumps(said).encode(),
    }
