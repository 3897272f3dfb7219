"""Dead letters: how one is written when a record is refused, and how it reads again. Free of any Kafka client.

A dead letter stands in `<topic>.dlq`, in the partition of its source, with the source's key and bytes. Where it
came from and why it was refused are headers, so that the value goes back as it came.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, TypeAlias, cast

from pactstream.kafka.config import MAX_MESSAGE_BYTES
from pactstream.kafka.records import Emit, Headers, Record

SUFFIX: Final = ".dlq"

State: TypeAlias = Literal["open", "replayed", "discarded"]

# What a record takes beside value and headers, generously.
_OVERHEAD_BYTES: Final = 1_024
_MAX_KEY_BYTES: Final = 64 * 1_024
_MAX_KEPT_HEADERS_BYTES: Final = 64 * 1_024
_MAX_ERROR_CHARACTERS: Final = 1_000

_CLASS: Final = "error.class"
_MESSAGE: Final = "error.message"
_TOPIC: Final = "source.topic"
_PARTITION: Final = "source.partition"
_OFFSET: Final = "source.offset"
_INDEX: Final = "source.event_index"
_GROUP: Final = "group"
_TENANT: Final = "tenant"
_OMITTED: Final = "value.omitted_bytes"
_HANDLED_OFFSET: Final = "handled.offset"
_HANDLED_AS: Final = "handled.as"
_OURS: Final = frozenset(
    {
        _CLASS,
        _MESSAGE,
        _TOPIC,
        _PARTITION,
        _OFFSET,
        _INDEX,
        _GROUP,
        _TENANT,
        _OMITTED,
        _HANDLED_OFFSET,
        _HANDLED_AS,
    }
)


class Position(NamedTuple):
    """Where a record stands in its topic; as text `0:12`."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}:{self.offset}"


@dataclass(frozen=True, slots=True)
class Letter:
    """What is known of a dead letter without its value.

    `source` is where the refused record stands in `source_topic` (with prefix); `event_index` which of its
    events was refused, None for the record as a whole. `omitted_bytes`: the value was too large to be kept with
    the letter. Time in microseconds since 1970.
    """

    position: Position
    key: bytes | None
    value_bytes: int
    written_at_micros: int
    error_class: str
    error_message: str
    source_topic: str
    source: Position
    event_index: int | None
    tenant: str | None
    group: str | None
    omitted_bytes: int | None
    source_headers: Headers
    state: State = "open"


def write(
    emit: Emit,
    source: str,
    record: Record,
    error: Exception,
    *,
    group: str,
    value: bytes | None = None,
    event_index: int | None = None,
    tenant: str | None = None,
) -> None:
    """Put a refused record into the dead letter queue of the topic `source` (without prefix).

    `value` stands for the record's own where one event of it was refused: a record that holds that event alone.
    What does not fit beside the headers is left out and its size noted: an oversize letter that the brokers
    refuse would hold up its partition for good.
    """
    kept = value if value is not None else record.value
    key = record.key if record.key is not None and len(record.key) <= _MAX_KEY_BYTES else b""
    told = _told(record, error, group, event_index, tenant)
    theirs = _theirs(record.headers)
    if _size(theirs) > _MAX_KEPT_HEADERS_BYTES:
        theirs = []
    needed = len(kept or b"") + len(key) + _size(told) + _size(theirs)
    if kept is not None and needed + _OVERHEAD_BYTES > MAX_MESSAGE_BYTES:
        told.append((_OMITTED, str(len(kept)).encode()))
        kept = None
    emit(source + SUFFIX, key, kept, partition=record.partition, headers=[*theirs, *told])


def read(record: Record, *, written_at_micros: int) -> Letter | None:
    """The letter in a record of a dead letter queue; None for a mark, which `handled` reads."""
    said = dict(record.headers)
    if _HANDLED_OFFSET in said:
        return None
    return Letter(
        position=Position(record.partition, record.offset),
        key=record.key,
        value_bytes=len(record.value or b""),
        written_at_micros=written_at_micros,
        error_class=_text(said.get(_CLASS)) or "?",
        error_message=_text(said.get(_MESSAGE)) or "?",
        source_topic=_text(said.get(_TOPIC)) or "?",
        source=Position(_number(said.get(_PARTITION), -1), _number(said.get(_OFFSET), -1)),
        event_index=_number(said[_INDEX], -1) if _INDEX in said else None,
        tenant=_text(said.get(_TENANT)),
        group=_text(said.get(_GROUP)),
        omitted_bytes=_number(said[_OMITTED], 0) if _OMITTED in said else None,
        source_headers=_theirs(record.headers),
    )


def mark(position: Position, state: State) -> Headers:
    """The headers of a record that says what became of a letter of its partition."""
    return [(_HANDLED_OFFSET, str(position.offset).encode()), (_HANDLED_AS, state.encode())]


def handled(record: Record) -> tuple[Position, State] | None:
    """What a mark says; None for a letter, and for a mark that says nothing we know."""
    said = dict(record.headers)
    offset, state = _number(said.get(_HANDLED_OFFSET), -1), _text(said.get(_HANDLED_AS))
    if offset < 0 or state not in ("replayed", "discarded"):
        return None
    return Position(record.partition, offset), cast(State, state)


def _told(
    record: Record, error: Exception, group: str, event_index: int | None, tenant: str | None
) -> list[tuple[str, bytes]]:
    told = [
        (_CLASS, type(error).__name__.encode()),
        (_MESSAGE, str(error)[:_MAX_ERROR_CHARACTERS].encode("utf-8", "replace")),
        (_TOPIC, record.topic.encode()),
        (_PARTITION, str(record.partition).encode()),
        (_OFFSET, str(record.offset).encode()),
        (_GROUP, group.encode()),
    ]
    if event_index is not None:
        told.append((_INDEX, str(event_index).encode()))
    if tenant is not None:
        told.append((_TENANT, tenant.encode("utf-8", "replace")))
    return told


def _theirs(headers: Headers) -> list[tuple[str, bytes]]:
    """The source's own headers: none that could pass for ours."""
    return [(name, value) for name, value in headers if name not in _OURS]


def _size(headers: Iterable[tuple[str, bytes | None]]) -> int:
    return sum(len(name) * 4 + len(value or b"") + 16 for name, value in headers)


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "replace")


def _number(value: bytes | None, otherwise: int) -> int:
    try:
        return int(value or b"")
    except ValueError:
        return otherwise
