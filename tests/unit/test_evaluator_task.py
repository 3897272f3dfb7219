"""The evaluator's task without Kafka: what it emits, what it remembers, what it refuses."""

from __future__ import annotations

import uuid

import pytest

from evaluator_worker.agent import SeenBlock, SeenEvents
from evaluator_worker.agents import Memory
from pactstream import avro
from pactstream.errors import InvalidInput, Retryable
from pactstream.kafka.config import MAX_MESSAGE_BYTES
from pactstream.kafka.records import Record
from pactstream.ledger import merkle
from pactstream.ledger.leaf import GENESIS, agent_link
from tests.evaluator_tools import AGENT, HOUR, Written, call, record, task


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
        one.process(record(call(), offset=offset, received=offset * HOUR), written)
        one.flush(written)
    states = written.of("evaluator.state")
    tombstones = [key for key, value in states if value is None]
    assert tombstones == [f"{AGENT}/1".encode(), f"{AGENT}/2".encode()]


def test_one_tenants_event_is_no_repeat_of_anothers() -> None:
    """Whoever knows an id in advance must not be able to suppress the event of another tenant of the agent."""
    one, written = task(), Written()
    event = call(pact_id=None, pact_version=None)
    mine = record(event)
    batch = avro.decode_as("TelemetryBatch", mine.value) | {"tenant_id": "another"}
    theirs = Record(mine.topic, mine.partition, 1, mine.key, avro.encode("TelemetryBatch", batch))
    one.process(theirs, written)
    one.process(mine, written)
    one.process(mine, written)
    assert [leaf.sequence for leaf in written.leaves()] == [1, 2]
