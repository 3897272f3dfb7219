"""The sealer's task without Kafka: what it emits, what it restores, what it refuses."""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger_sealer.batch import sealable
from ledger_sealer.published import read_segment
from ledger_sealer.sealer import Log, SealerTask
from pactstream import avro
from pactstream.errors import Fatal, InvalidInput
from pactstream.kafka import topics
from pactstream.kafka.records import Headers, Record
from pactstream.ledger import merkle, segment
from pactstream.ledger.note import NoteSigner
from pactstream.ledger.segment import ChainEnd
from tests.sealer_tools import START_MICROS, Evaluated

ORIGIN = "test.example/ledger/0"
LOG = Log(0, ORIGIN, NoteSigner(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes(32))))


class Emitted(NamedTuple):
    topic: str
    key: bytes
    value: bytes | None
    partition: int | None


class Outbox(list[Emitted]):
    def __call__(
        self,
        topic: str,
        key: bytes,
        value: bytes | None,
        *,
        partition: int | None = None,
        headers: Headers = (),
    ) -> None:
        self.append(Emitted(topic, key, value, partition))


def task(published: ChainEnd = segment.CHAIN_START) -> SealerTask:
    return SealerTask(LOG, published, now_micros=lambda: START_MICROS)


def record(offset: int, value: bytes | None) -> Record:
    return Record(topics.EVALUATED, 0, offset, b"agent", value)


def values(count: int) -> list[bytes]:
    return [value for _, value in Evaluated().batches(count)]


def sealed(of: SealerTask, records: list[Record]) -> Outbox:
    out = Outbox()
    for one in records:
        of.process(one, out)
    of.flush(out)
    return out


def restored(out: Outbox, published: ChainEnd | None = None) -> SealerTask:
    """A new task with the state and the segment that `out` wrote last."""
    last = read_segment(out[-2].value)
    fresh = task(published or segment.chain_end(last.header, segment.header_hash(last.header_bytes)))
    fresh.restore(out[-1].key, out[-1].value)
    return fresh


def test_a_segment_covers_its_records_and_is_signed() -> None:
    batches = values(3)
    out = sealed(task(), [record(4, batches[0]), record(5, batches[1]), record(9, batches[2])])
    assert [(one.topic, one.key, one.partition) for one in out] == [
        (topics.CHECKPOINTS, ORIGIN.encode(), 0),
        (topics.SEALER_STATE, b"0", 0),
    ]
    published = read_segment(out[0].value)
    header = segment.open_sealed(published.header_bytes, published.note, ORIGIN, [LOG.signer.verifier])
    leaves = [event["leaf"] for value in batches for event in sealable(value).events]
    assert header.leaves == header.tree_size == len(leaves) == 15
    assert (header.source.first_offset, header.source.next_offset) == (0, 10)
    assert header.root == merkle.MemoryTree(map(merkle.leaf_hash, leaves)).root().hex()
    assert published.sealed_at_micros == START_MICROS


def test_the_fields_beside_the_header_repeat_it() -> None:
    out = sealed(task(), [record(0, values(1)[0])])
    fields = avro.decode_as("SealedSegment", out[0].value)
    header = segment.parse_header(fields["header"])
    assert (fields["origin"], fields["log"], fields["index"]) == (header.origin, 0, header.index)
    assert (fields["first_leaf"], fields["leaves"]) == (header.first_leaf, header.leaves)
    assert (fields["first_offset"], fields["next_offset"]) == (
        header.source.first_offset,
        header.source.next_offset,
    )


def test_a_restart_between_segments_changes_nothing() -> None:
    """The same segments, byte for byte, from one task and from a chain of restored ones."""
    batches = values(6)
    straight, restarted = task(), task()
    for offset, value in enumerate(batches):
        expected = sealed(straight, [record(offset, value)])
        found = sealed(restarted, [record(offset, value)])
        assert found == expected
        restarted = restored(found)


def test_the_root_does_not_depend_on_where_segments_end() -> None:
    batches = [record(offset, value) for offset, value in enumerate(values(5))]
    at_once = read_segment(sealed(task(), batches)[0].value).header
    in_parts = task()
    sealed(in_parts, batches[:2])
    last = read_segment(sealed(in_parts, batches[2:])[0].value).header
    assert (last.root, last.tree_size) == (at_once.root, at_once.tree_size)
    assert (last.index, last.first_leaf) == (1, 10)


def test_without_leaves_there_is_no_segment() -> None:
    out = Outbox()
    of = task()
    of.flush(out)
    assert out == []
    # A dead letter at offset 0 left nothing behind: the next segment covers its offset.
    assert read_segment(sealed(of, [record(1, values(1)[0])])[0].value).header.source.first_offset == 0


def test_a_record_sealed_before_stops_the_process() -> None:
    value = values(1)[0]
    of = task()
    of.process(record(7, value), Outbox())
    with pytest.raises(Fatal, match=r"offset 7 of telemetry\.evaluated is sealed already"):
        of.process(record(7, value), Outbox())
    out = Outbox()
    of.flush(out)
    with pytest.raises(Fatal, match=r"offset 7 of telemetry\.evaluated is sealed already, due is 8"):
        restored(out).process(record(7, value), Outbox())


def test_state_behind_what_was_published_stops_the_process() -> None:
    batches = values(3)
    of = task()
    first = sealed(of, [record(0, batches[0])])
    second = sealed(of, [record(1, batches[1])])
    end = read_segment(second[0].value)
    published = segment.chain_end(end.header, segment.header_hash(end.header_bytes))
    with pytest.raises(Fatal, match=r"stands at segment 0, but ledger\.checkpoints at 2"):
        task(published).process(record(2, batches[2]), Outbox())
    with pytest.raises(Fatal, match="would fork the log"):
        restored(first, published).process(record(2, batches[2]), Outbox())
    with pytest.raises(Fatal, match="would fork the log"):
        restored(second, published._replace(header_hash=bytes(32))).process(record(2, batches[2]), Outbox())
    # Ahead is no fault: the former holder's last segment became visible while we looked.
    older = read_segment(first[0].value)
    behind = segment.chain_end(older.header, segment.header_hash(older.header_bytes))
    assert restored(second, behind).process(record(2, batches[2]), Outbox()) == 5


@pytest.mark.parametrize(
    ("key", "value"),
    [(b"1", "good"), (b"0", None), (b"0", b"\x00\x00\x00\x00\x08junk"), (b"0", "short")],
)
def test_state_that_is_not_this_logs_stops_the_process(key: bytes, value: str | bytes | None) -> None:
    state = {"tree_size": 3, "frontier": bytes(64), "next_segment": 1, "next_offset": 4}
    frontier = bytes(64) if value == "good" else bytes(63)
    if isinstance(value, str):
        value = avro.encode("SealerState", state | {"frontier": frontier, "last_segment_hash": bytes(32)})
    with pytest.raises(Fatal, match=ORIGIN):
        task().restore(key, value)


def poisoned(**changes: object) -> bytes:
    batch = avro.decode_as("EvaluatedBatch", Evaluated().batch(0, 3)[1])
    batch["events"][1] |= changes
    return avro.encode("EvaluatedBatch", batch)


def openings(salt: str = "00" * 16, field: str = "params.amount") -> bytes:
    return msgspec.json.encode({field: {"salt": salt, "value": 1}})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "not an Avro record"),
        (b"\x00\x00\x00\x00\x02\xff", "not a EvaluatedBatch"),
        (avro.encode("AgentChain", {"sequence": 1, "head": bytes(32)}), "expected a EvaluatedBatch"),
        (poisoned(leaf=b"{}"), "not a leaf"),
        (poisoned(leaf=b" " * 65_536), "65536 bytes"),
        (poisoned(sequence=9), "another agent, event or sequence"),
        (poisoned(event_id="018f0000-0000-7000-8000-ffffffffffff"), "another agent, event or sequence"),
        (poisoned(private=b'{"params.amount":'), "openings cannot be read"),
        (poisoned(private=b'{"params.amount":{"salt":"00"}}'), "openings cannot be read"),
        (poisoned(private=openings(salt="zz" * 16)), "a salt is not in lower-case hexadecimal"),
        (poisoned(private=openings(salt="00" * 15)), "openings cannot be read"),
        (poisoned(private=openings(field="params.other")), "belongs to no commitment"),
    ],
)
def test_a_poison_record_is_refused_and_leaves_no_trace(value: bytes | None, message: str) -> None:
    good = values(2)
    clean, hit = task(), task()
    clean.process(record(0, good[0]), Outbox())
    hit.process(record(0, good[0]), Outbox())
    out = Outbox()
    with pytest.raises(InvalidInput, match=message):
        hit.process(record(1, value), out)
    assert out == []
    assert sealed(hit, [record(2, good[1])]) == sealed(clean, [record(2, good[1])])


def test_a_refusal_never_quotes_a_private_value() -> None:
    private = b'{"params.amount":{"salt":"00","value":"SECRET"},}'
    with pytest.raises(InvalidInput) as caught:
        sealable(poisoned(private=private))
    assert "SECRET" not in repr(caught.value)
    assert caught.value.__cause__ is None


def test_what_reads_a_segment_refuses_anything_else() -> None:
    with pytest.raises(Fatal, match=r"ledger\.checkpoints cannot be read"):
        read_segment(b"nothing")
