"""Dead letters as headers: what is written reads back, and a source's own headers cannot pass for ours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from pactstream.errors import InvalidInput
from pactstream.kafka import letters
from pactstream.kafka.config import MAX_MESSAGE_BYTES
from pactstream.kafka.letters import Letter, Position
from pactstream.kafka.records import Headers, Record

SOURCE = Record("x.telemetry.batches", 3, 90, b"agent", b"bytes", [("trace", b"t-1")])
ERROR = InvalidInput("too long")


@dataclass
class Written:
    """Records as a task's `Emit` takes them."""

    records: list[Record] = field(default_factory=list)

    def __call__(
        self,
        topic: str,
        key: bytes,
        value: bytes | None,
        *,
        partition: int | None = None,
        headers: Headers = (),
    ) -> None:
        assert partition is not None
        self.records.append(Record(topic, partition, 17, key, value, headers))


def written(record: Record, **known: object) -> Record:
    emit = Written()
    letters.write(emit, "telemetry.batches", record, ERROR, group="evaluator", **known)  # type: ignore[arg-type]
    (found,) = emit.records
    return found


def letter(record: Record) -> Letter:
    found = letters.read(record, written_at_micros=5)
    assert found is not None
    return found


def test_a_letter_reads_back_as_it_was_written() -> None:
    record = written(SOURCE, event_index=4, tenant="t", value=b"that event")
    assert (record.topic, record.partition, record.value) == ("telemetry.batches.dlq", 3, b"that event")
    assert letter(record) == Letter(
        position=Position(3, 17),
        key=b"agent",
        value_bytes=10,
        written_at_micros=5,
        error_class="InvalidInput",
        error_message="too long",
        source_topic="x.telemetry.batches",
        source=Position(3, 90),
        event_index=4,
        tenant="t",
        group="evaluator",
        omitted_bytes=None,
        source_headers=[("trace", b"t-1")],
    )


def test_what_is_not_known_is_none() -> None:
    found = letter(written(SOURCE))
    assert (found.event_index, found.tenant, found.omitted_bytes) == (None, None, None)
    assert written(SOURCE).value == b"bytes"


@pytest.mark.parametrize("name", ["tenant", "source.event_index", "handled.offset", "error.class", "group"])
def test_a_source_cannot_forge_what_a_letter_says(name: str) -> None:
    forged = Record("x.telemetry.batches", 3, 90, b"agent", b"bytes", [(name, b"1"), (name, b"2")])
    found = letter(written(forged))
    assert found == letter(written(Record("x.telemetry.batches", 3, 90, b"agent", b"bytes")))


def size(record: Record) -> int:
    return len(record.value or b"") + len(record.key or b"") + sum(len(n) + len(v) for n, v in record.headers)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Record("t", 0, 1, b"k", bytes(MAX_MESSAGE_BYTES)),
        lambda: Record("t", 0, 1, b"k", bytes(MAX_MESSAGE_BYTES - 900)),
        lambda: Record("t", 0, 1, bytes(MAX_MESSAGE_BYTES - 900), b"v"),
        lambda: Record("t", 0, 1, b"k", b"v", [("h", bytes(MAX_MESSAGE_BYTES - 900))]),
        lambda: Record("t", 0, 1, b"k", b"v", [(f"h{n}", b"") for n in range(500_000)]),
    ],
    ids=["value", "value and headers", "key", "header", "many headers"],
)
def test_a_letter_of_any_record_fits_its_topic(make: Callable[[], Record]) -> None:
    source = make()
    record = written(source)
    assert size(record) < MAX_MESSAGE_BYTES - 512
    assert letter(record).omitted_bytes in (None, len(source.value or b""))


def test_a_mark_is_no_letter_and_says_what_became_of_one() -> None:
    mark = Record("t.dlq", 3, 20, b"k", None, letters.mark(Position(3, 17), "replayed"))
    assert letters.read(mark, written_at_micros=5) is None
    assert letters.handled(mark) == (Position(3, 17), "replayed")


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("source.partition", b"x"), ("source.offset", b"\xff"), ("error.message", b"\xff")],
        [("source.event_index", b""), ("value.omitted_bytes", b"many")],
    ],
)
def test_records_that_nobody_of_ours_wrote_are_letters_all_the_same(headers: Headers) -> None:
    found = letter(Record("t.dlq", 0, 1, None, b"?", headers))
    assert found.error_class == "?"
    assert found.state == "open"


@pytest.mark.parametrize(
    "headers",
    [
        [("handled.offset", b"x"), ("handled.as", b"replayed")],
        [("handled.offset", b"1"), ("handled.as", b"eaten")],
        [("handled.offset", b"-1"), ("handled.as", b"replayed")],
        [("handled.offset", b"1")],
    ],
)
def test_a_mark_that_says_nothing_we_know_marks_nothing(headers: Headers) -> None:
    assert letters.handled(Record("t.dlq", 0, 1, None, None, headers)) is None
