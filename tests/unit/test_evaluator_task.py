"""The evaluator's task without Kafka: what it emits, what it remembers, what it refuses."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from evaluator_worker.agent import SeenBlock, SeenEvents
from evaluator_worker.task import EvaluatorTask, Memory
from pactstream import avro
from pactstream.errors import InvalidInput, Retryable
from pactstream.kafka.config import MAX_MESSAGE_BYTES
from pactstream.kafka.records import Headers, Record
from pactstream.ledger import merkle
from pactstream.ledger.leaf import GENESIS, Leaf, agent_link, parse_leaf
from pactstream.pacts import CompiledPact, compile_pact, parse_pact

AGENT = "76cf31d6-ffe3-4a5c-8748-021114aa8066"
PACT = "11111111-1111-4111-8111-111111111111"
HOUR = 3_600_000_000
DOCUMENT = {
    "name": "Treasury",
    "agentId": AGENT,
    "conditions": [
        {
            "type": "param_binding",
            "severity": "critical",
            "parameterBinding": {
                "tool": "transfer_funds",
                "rules": [{"paramPath": "amount", "valueRange": {"max": 1000}, "required": True}],
            },
        }
    ],
}


class Pacts:
    """A `PactBook` that has read version 1 of one pact."""

    def compiled(self, pact_id: str, version: int, *, timeout_seconds: float = 0) -> CompiledPact | None:
        if (pact_id, version) != (PACT, 1):
            return None
        return compile_pact(parse_pact(DOCUMENT), pact_id=pact_id, version=version)


@dataclass
class Written:
    """Everything a task emitted, as a transaction would hold it."""

    records: list[tuple[str, bytes, bytes | None, int | None, Headers]] = field(default_factory=list)

    def __call__(
        self,
        topic: str,
        key: bytes,
        value: bytes | None,
        *,
        partition: int | None = None,
        headers: Headers = (),
    ) -> None:
        self.records.append((topic, key, value, partition, headers))

    def of(self, topic: str) -> list[tuple[bytes, bytes | None]]:
        return [(key, value) for name, key, value, _, _ in self.records if name == topic]

    def leaves(self) -> list[Leaf]:
        batches = [avro.decode_as("EvaluatedBatch", value) for _, value in self.of("telemetry.evaluated")]
        return [parse_leaf(event["leaf"]) for batch in batches for event in batch["events"]]


def task(memory: Memory | None = None) -> EvaluatorTask:
    return EvaluatorTask(3, Pacts(), memory or Memory(events=10_000, hours=24))  # type: ignore[arg-type]


def call(amount: object = 10, **changes: Any) -> dict[str, Any]:
    return {
        "type": "tool_call",
        "event_id": str(uuid.uuid4()),
        "session_id": "s-1",
        "occurred_at_micros": 1_700_000_000_000_000,
        "pact_id": PACT,
        "pact_version": 1,
        "tool": "transfer_funds",
        "params": msgspec.json.encode({"amount": amount}),
        "outcome": "success",
    } | changes


def record(*events: dict[str, Any], received: int = HOUR, offset: int = 0, key: str = AGENT) -> Record:
    batch = {
        "tenant_id": "t",
        "tenant_pseudonym": "tenant-1",
        "agent_id": AGENT,
        "key_id": "k",
        "request_id": "r",
        "received_at_micros": received,
        "events": list(events),
    }
    return Record("telemetry.batches", 3, offset, key.encode(), avro.encode("TelemetryBatch", batch))


def test_judges_numbers_and_links_each_event() -> None:
    written = Written()
    one = task()
    assert one.process(record(call(10), call(5_000)), written) == 2
    assert one.process(record(call(1), offset=1), written) == 1
    leaves = written.leaves()
    assert [leaf.sequence for leaf in leaves] == [1, 2, 3]
    assert [leaf.verdict is not None and leaf.verdict.valid for leaf in leaves] == [True, False, True]
    assert [leaf.source.offset for leaf in leaves] == [0, 0, 1]
    head = GENESIS
    for leaf, raw in zip(leaves, _raw_leaves(written), strict=True):
        assert agent_link(leaf, head) is None
        head = type(head)(leaf.sequence, merkle.leaf_hash(raw))


def _raw_leaves(written: Written) -> list[bytes]:
    batches = [avro.decode_as("EvaluatedBatch", value) for _, value in written.of("telemetry.evaluated")]
    return [event["leaf"] for batch in batches for event in batch["events"]]


def test_output_stays_in_the_partition_of_the_source() -> None:
    written = Written()
    one = task()
    one.process(record(call()), written)
    one.flush(written)
    assert {partition for _, _, _, partition, _ in written.records} == {3}


def test_the_same_record_twice_is_written_once() -> None:
    written = Written()
    one = task()
    twice = record(call(), call())
    one.process(twice, written)
    before = len(written.records)
    one.process(twice, written)
    assert len(written.records) == before
    assert [leaf.sequence for leaf in written.leaves()] == [1, 2]


def test_an_id_twice_in_one_batch_is_judged_once() -> None:
    written = Written()
    event = call()
    task().process(record(event, event, call()), written)
    assert [leaf.sequence for leaf in written.leaves()] == [1, 2]


def test_a_restored_task_continues_where_the_old_one_stood() -> None:
    first, written = task(), Written()
    events = [call() for _ in range(4)]
    first.process(record(*events[:2]), written)
    first.process(record(*events[2:], offset=1), written)
    first.flush(written)

    second, later = task(), Written()
    for key, value in written.of("evaluator.state"):
        second.restore(key, value)
    second.process(record(*events, call(), offset=2), later)
    (leaf,) = later.leaves()
    assert leaf.sequence == 5
    assert leaf.previous == merkle.leaf_hash(_raw_leaves(written)[-1]).hex()


def test_flush_writes_a_chain_once_however_many_batches_moved_it() -> None:
    written = Written()
    one = task()
    for offset in range(5):
        one.process(record(call(), offset=offset), written)
    one.flush(written)
    one.flush(written)
    chains = [value for key, value in written.of("evaluator.state") if key == AGENT.encode()]
    assert [avro.decode_as("AgentChain", value)["sequence"] for value in chains] == [5]


def test_an_event_without_a_pact_is_recorded_and_not_judged() -> None:
    written = Written()
    task().process(record(call(pact_id=None, pact_version=None)), written)
    (leaf,) = written.leaves()
    assert leaf.verdict is None
    assert leaf.pact is None


def test_a_bad_event_goes_to_the_dead_letters_and_its_neighbours_are_judged() -> None:
    written = Written()
    bad = call(event_id="not-a-uuid")
    task().process(record(call(), bad, call()), written)
    assert [leaf.source.index for leaf in written.leaves()] == [0, 2]
    ((topic, key, value, _, headers),) = [one for one in written.records if one[0].endswith(".dlq")]
    assert (topic, key) == ("telemetry.batches.dlq", AGENT.encode())
    assert dict(headers)["source.event_index"] == b"1"
    assert dict(headers)["tenant"] == b"t"
    assert dict(headers)["error.message"] == b"eventId is not a UUID"
    # The letter holds that event alone: replayed, it touches no neighbour, however long ago those were judged.
    assert [event["event_id"] for event in avro.decode_as("TelemetryBatch", value)["events"]] == ["not-a-uuid"]


@pytest.mark.parametrize(
    "value",
    [None, b"", b"junk", b"\0\0\0\0\x01", avro.encode("AgentChain", {"sequence": 1, "head": bytes(32)})],
)
def test_what_is_no_batch_is_refused_before_state_changes(value: bytes | None) -> None:
    one, written = task(), Written()
    with pytest.raises(InvalidInput):
        one.process(Record("telemetry.batches", 3, 0, AGENT.encode(), value), written)
    assert written.records == []


def test_a_key_that_is_not_the_agent_is_refused() -> None:
    one, written = task(), Written()
    refused = record(call(), key="another")
    assert one.process(refused, written) == 1
    ((topic, key, value, partition, headers),) = written.records
    assert (topic, key, value, partition) == ("telemetry.batches.dlq", b"another", refused.value, 3)
    assert dict(headers)["tenant"] == b"t"
    assert b"key" in dict(headers)["error.message"]


def test_what_does_not_fit_one_record_is_written_as_several_in_order() -> None:
    """Five hundred calls of many tiny parameters: half a megabyte in, more than a record out."""
    params = b"{" + b",".join(b'"p%d":1' % n for n in range(128)) + b"}"
    written = Written()
    source = record(*(call(params=params) for _ in range(500)))
    assert len(source.value or b"") < 1 << 20
    task().process(source, written)
    sizes = [len(value or b"") for _, value in written.of("telemetry.evaluated")]
    assert len(sizes) > 1
    assert max(sizes) < MAX_MESSAGE_BYTES
    assert [leaf.sequence for leaf in written.leaves()] == [*range(1, 501)]


def test_an_event_that_no_record_holds_once_judged_is_refused_alone() -> None:
    # Each control character takes six bytes in JSON.
    huge = call(
        type="response", tool=None, params=None, pact_id=None, pact_version=None, input="\x01" * (2 << 20)
    )
    written = Written()
    task().process(record(call(), huge, call()), written)
    assert [leaf.source.index for leaf in written.leaves()] == [0, 2]
    ((_, value),) = written.of("telemetry.batches.dlq")
    assert len(avro.decode_as("TelemetryBatch", value)["events"]) == 1


def test_a_pact_version_that_is_not_here_yet_is_waited_for_not_skipped() -> None:
    one, written = task(), Written()
    with pytest.raises(Retryable, match="version 2"):
        one.process(record(call(), call(pact_version=2)), written)
    assert written.records == []


def test_old_ids_are_forgotten_by_age_and_by_number() -> None:
    seen = SeenEvents()
    for at in range(10):
        seen.add(at * 2 + 1, SeenBlock(at * HOUR, b"".join(uuid.uuid4().bytes for _ in range(2))))
    assert seen.expire(older_than_micros=3 * HOUR, keep=100) == [1, 3, 5]
    assert len(seen) == 14
    assert seen.expire(older_than_micros=0, keep=9) == [7, 9]
    assert len(seen) == 10


def test_forgotten_ids_leave_the_changelog_too() -> None:
    one, written = task(Memory(events=1, hours=24)), Written()
    for offset in range(3):
        one.process(record(call(), offset=offset), written)
    states = written.of("evaluator.state")
    tombstones = [key for key, value in states if value is None]
    assert tombstones == [f"{AGENT}/1".encode(), f"{AGENT}/2".encode()]
