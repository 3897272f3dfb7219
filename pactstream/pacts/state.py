"""What judging remembers of one agent: an entry for each measure of a pact and each key within it.

A measure is named by a hash of what it measures (see `identity`), and a key by a hash of the session or value
that it stands for: no private value is kept. All of it is a function of the calls in their order; nothing
depends on when it is written or read back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, TypeAlias

import msgspec
import rfc8785

from pactstream.errors import InvalidInput

NAME_BYTES = 16
ZERO = Decimal(0)
GRACE_MICROS = 3_600_000_000
"""An entry is kept this long beyond its end: clocks of gateways differ, and one that has been removed must not
be missed by a call that arrived, by its stamp, a little earlier."""


class Bucket(msgspec.Struct, array_like=True):
    """The calls of one stretch of time: sum or maximum, how many, and the ids of the first, 16 bytes each.

    `values` holds fingerprints of distinct values where a window is one bucket.
    """

    figure: Decimal
    calls: int = 0
    ids: bytes = b""
    values: dict[bytes, None] = msgspec.field(default_factory=dict)


class Series(msgspec.Struct, array_like=True, tag="s"):
    """The state of a window: its buckets by index, in order of time.

    `total` is the figure of the window that ends with the newest bucket, and `ids` counts the ids kept.
    `latest` holds fingerprints of distinct values with the bucket each was last seen in, in order of time,
    where a window is many buckets.
    """

    expires_at_micros: int
    buckets: dict[int, Bucket] = msgspec.field(default_factory=dict)
    total: Decimal = ZERO
    ids: int = 0
    latest: dict[bytes, int] = msgspec.field(default_factory=dict)

    @property
    def newest(self) -> int | None:
        """The index of the newest bucket."""
        return next(reversed(self.buckets), None)


class Moments(msgspec.Struct, array_like=True, tag="m"):
    """The state of a sequence or an escalation: a few times in microseconds, or a count."""

    expires_at_micros: int
    values: list[int]


Entry: TypeAlias = Series | Moments

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Entry).decode


class PactState:
    """The entries of one agent, under all its pacts."""

    def __init__(self) -> None:
        # Within a measure the entry written longest ago comes first.
        self._entries: dict[str, dict[str, Entry]] = {}
        self._changed: dict[tuple[str, str], None] = {}

    def __len__(self) -> int:
        """How many entries there are."""
        return sum(map(len, self._entries.values()))

    def find(self, measure: str, key: str, now_micros: int) -> Entry | None:
        """An entry, unless it has expired."""
        entry = self._entries.get(measure, {}).get(key)
        return entry if entry is not None and entry.expires_at_micros > now_micros else None

    def count(self, measure: str, now_micros: int) -> int:
        """How many keys of a measure have not expired."""
        entries = self._entries.get(measure, {}).values()
        return sum(entry.expires_at_micros > now_micros for entry in entries)

    def has_room(self, measure: str, most: int, now_micros: int) -> bool:
        """Whether a measure has fewer than `most` keys that have not expired."""
        return len(self._entries.get(measure, ())) < most or self.count(measure, now_micros) < most

    def put(self, measure: str, key: str, entry: Entry) -> None:
        """Write an entry."""
        entries = self._entries.setdefault(measure, {})
        entries.pop(key, None)
        entries[key] = entry
        self._mark(measure, key)

    def drop_oldest(self, measure: str, now_micros: int) -> None:
        """Forget the entry of a measure that was written longest ago, of those that have not expired.

        An expired one may be gone already or not, as the last `drain` had it: it must make no difference.
        """
        entries = self._entries[measure].items()
        self._drop(measure, next(key for key, entry in entries if entry.expires_at_micros > now_micros))

    def drain(self, now_micros: int) -> Iterator[tuple[str, bytes | None]]:
        """What has changed since the last call, in order of change, as (`<measure>/<key>`, record).

        None: the entry is gone. Entries that expired more than an hour before `now_micros` go here.
        """
        self._expire(now_micros - GRACE_MICROS)
        changed, self._changed = self._changed, {}
        for measure, key in changed:
            entry = self._entries.get(measure, {}).get(key)
            yield f"{measure}/{key}", None if entry is None else _encode(entry)

    def restore(self, name: str, record: bytes | None) -> None:
        """Take one record of `drain`; the last of a name counts. Raises InvalidInput: it is none."""
        measure, _, key = name.partition("/")
        entries = self._entries.setdefault(measure, {})
        entries.pop(key, None)
        if record is not None:
            try:
                entries[key] = _decode(record)
            except msgspec.MsgspecError as error:
                raise InvalidInput(f"no state of a condition: {error}") from error

    def dump(self) -> bytes:
        """Everything, as bytes that are equal for equal states."""
        return _encode({measure: entries for measure, entries in sorted(self._entries.items()) if entries})

    @classmethod
    def load(cls, data: bytes) -> PactState:
        """The state that `dump` was taken of. Raises InvalidInput: it is none."""
        state = cls()
        try:
            state._entries = msgspec.msgpack.decode(data, type=dict[str, dict[str, Entry]])
        except msgspec.MsgspecError as error:
            raise InvalidInput(f"no state of an agent: {error}") from error
        return state

    def _expire(self, before_micros: int) -> None:
        for measure, entries in list(self._entries.items()):
            gone = [key for key, entry in entries.items() if entry.expires_at_micros <= before_micros]
            for key in gone:
                self._drop(measure, key)
            if not entries:
                del self._entries[measure]

    def _drop(self, measure: str, key: str) -> None:
        del self._entries[measure][key]
        self._mark(measure, key)

    def _mark(self, measure: str, key: str) -> None:
        self._changed.pop((measure, key), None)
        self._changed[measure, key] = None


class _Head(msgspec.Struct, array_like=True):
    tag: str
    expires_at_micros: int


_decode_head = msgspec.msgpack.Decoder(_Head).decode


def is_spent(record: bytes, now_micros: int) -> bool:
    """Whether a record of `PactState.drain` stands for nothing any more. Raises InvalidInput: it is none."""
    try:
        return _decode_head(record).expires_at_micros + GRACE_MICROS <= now_micros
    except msgspec.MsgspecError as error:
        raise InvalidInput(f"no state of a condition: {error}") from error


def identity(pact_id: str, *parts: Any) -> str:
    """The name of a measure: a hash of the pact's id and all that decides what is remembered.

    Versions of a pact share it as long as those parts are equal, whatever else is edited. Released names must
    never change: state in every changelog stands under them.
    """
    return _name(rfc8785.dumps([pact_id, *parts]))


def key_of(*parts: str) -> str:
    """The name of a key: a hash of the session id, or of the value, that it stands for."""
    return _name(b"".join(len(data).to_bytes(4, "big") + data for data in map(_bytes, parts)))


def fingerprint(text: str) -> bytes:
    """What is remembered of a value: 16 bytes, so that nobody finds two values that count as one."""
    return hashlib.blake2b(_bytes(text), digest_size=NAME_BYTES).digest()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _name(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=NAME_BYTES).hexdigest()
