"""Private values and what stands for them: canonical bytes, commitments in a leaf, openings beside it.

Making these is most of what the evaluator does with an event. So the texts around hashes and values are made
once for each set of names (calls of one tool have the same), and an object's values are written all at once
where that is known to give what writing each by itself would.
"""

from __future__ import annotations

import os
from binascii import hexlify
from collections.abc import Callable, Collection
from decimal import Decimal
from functools import lru_cache
from hashlib import sha256
from struct import Struct
from typing import Any, Final, NamedTuple

import msgspec

from pactstream import canonical
from pactstream.canonical import value_bytes
from pactstream.errors import InvalidInput

SALT_BYTES: Final = 16
MAX_COMMITTED_KEYS: Final = 128
"""An object with more members, or with longer keys in all, is committed to as one value."""
MAX_COMMITTED_KEY_CHARS: Final = 8_192

_SALTS_AT_ONCE: Final = 256
# What is kept for a set of names is about ten times as long as they are, for 512 sets at most.
_MAX_CACHED_CHARS: Final = 2_048
_MAX_NUMBER_CHARS: Final = 64
# Within so many bytes, or with so many brackets, nesting stays below what `canonical.parse_exact` takes.
_FLAT_BYTES: Final = 400
_FLAT_BRACKETS: Final = 64
# What may stand in front of a number becomes a colon.
_DIGITS_TO_0: Final = bytes.maketrans(b"123456789,[- \t\r\n", b"000000000:::::::")
_LONG_INTEGER: Final = b":" + b"0" * 22

Draw = Callable[[int], bytes]
"""Random bytes, so many."""


class Salts:
    """Fresh salts. Drawn many at a time: asking the kernel for each costs as much as hashing with it.

    For one thread and one process: a fork would take the same ones.
    """

    def __init__(self, draw: Draw = os.urandom, at_once: int = _SALTS_AT_ONCE) -> None:
        self._draw = draw
        self._at_once = at_once
        self._left = b""
        self._at = 0

    def take(self, count: int) -> bytes:
        """So many salts, end to end."""
        end = self._at + count * SALT_BYTES
        if end > len(self._left):
            self._left = self._left[self._at :] + self._draw(max(count, self._at_once) * SALT_BYTES)
            self._at, end = 0, count * SALT_BYTES
        taken = self._left[self._at : end]
        self._at = end
        return taken


class Sealed(NamedTuple):
    """Commitments by field name, and the openings: `{field: {"salt": hex, "value": value}}`, both as JSON.

    The commitments are in RFC 8785 form; the openings stand in the order in which the values came.
    """

    commitments: bytes
    private: bytes


class Secrets:
    """The private values of one event, by the names that their commitments will have."""

    __slots__ = ("_chars", "_names", "_values")

    def __init__(self) -> None:
        self._names: tuple[str, ...] = ()
        self._values: list[bytes] = []
        self._chars = 0  # of the names, at most

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._values)

    def add(self, name: str, value: object) -> None:
        """One value. Raises `InvalidInput` when it is not JSON."""
        self._put((name,), [value_bytes(value)], len(name))

    def add_or_text(self, name: str, value: object) -> None:
        """One value; of one that JSON cannot hold, its Python text, so that the call has a leaf."""
        try:
            self.add(name, value)
        except InvalidInput:
            self.add(name, ascii(value))

    def add_object(self, name: str, raw: bytes) -> None:
        """One value for each member of the JSON object `raw`; one for all of it where it cannot be split.

        Hostile parameters (duplicate keys, lone surrogates, endless nesting) must not keep a call out of the
        ledger: then the value is the raw text, as a string.
        """
        members = members_at_once(raw)
        if members is not None and _is_small(members[0], raw):
            keys, values = members
            named = _named if len(raw) <= _MAX_CACHED_CHARS else _made_named
            self._put(named(name, keys), values, len(raw))
            return
        try:
            found = canonical.parse_exact(raw)
            if isinstance(found, dict) and _is_small(found, raw):
                self._put(_made_named(name, tuple(found)), [*map(value_bytes, found.values())], len(raw))
            else:
                self.add(name, found)
        except InvalidInput:
            self.add(name, raw.decode(errors="backslashreplace"))

    def seal(self, salts: Salts) -> Sealed:
        """Commit to each value with a salt of its own."""
        values = self._values
        around = (_around if self._chars <= _MAX_CACHED_CHARS else _made_around)(self._names)
        drawn = salts.take(len(values))
        salted = zip(around.salts(drawn), values, strict=True)
        digests = [sha256(salt + value).digest() for salt, value in salted]
        hashes = around.hashes(hexlify(b"".join(digests)))
        commitments = around.commitments.copy()
        commitments[1::2] = [hashes[at] for at in around.order]
        private = around.openings.copy()
        private[1::4] = around.hex_salts(hexlify(drawn))
        private[3::4] = values
        return Sealed(b"".join(commitments), b"".join(private))

    def _put(self, names: tuple[str, ...], values: list[bytes], chars: int) -> None:
        self._names += names
        self._values += values
        self._chars += chars


def members_at_once(raw: bytes) -> tuple[tuple[str, ...], list[bytes]] | None:
    """The names of a JSON object's members, and the canonical bytes of each; None: it takes the exact way.

    Decoded and encoded by msgspec, whose grammar is as strict as `canonical.parse_exact`'s. What the two take
    differently is not taken here:

    - A key that stands twice: msgspec drops the first. Each key is followed by a colon and all other colons
      stand in strings, none of which come or go without a backslash; so if what was read, written again, has
      as many as there were, none was dropped.
    - Keys beyond ASCII in nested objects, which RFC 8785 sorts otherwise.
    - Integers of more than 21 digits, which ECMAScript writes with an exponent.
    - Nesting beyond a limit, and long numbers with a fraction or an exponent.
    """
    if b"\\" in raw or _LONG_INTEGER in raw.translate(_DIGITS_TO_0):
        return None
    if len(raw) > _FLAT_BYTES and raw.count(b"[") + raw.count(b"{") > _FLAT_BRACKETS:
        return None
    if not raw.isascii() and raw.count(b"{") > 1:
        return None
    try:
        found = _decode_members(raw)
        lines = _encode_lines(list(found.values()))
    except (msgspec.MsgspecError, ArithmeticError, TypeError, ValueError):
        return None
    if lines.count(b":") + len(found) != raw.count(b":"):
        return None
    values = lines.split(b"\n")
    values.pop()  # what follows the last line
    return tuple(found), values


def _exact_number(text: str) -> msgspec.Raw:
    """Of a number with a fraction or an exponent, its canonical form."""
    if len(text) > _MAX_NUMBER_CHARS:
        raise ValueError("left to the exact way")
    return msgspec.Raw(value_bytes(Decimal(text)))


_decode_members = msgspec.json.Decoder(dict[str, Any], float_hook=_exact_number).decode
_encode_lines = msgspec.json.Encoder(order="sorted").encode_lines


def _is_small(names: Collection[str], raw: bytes) -> bool:
    if len(names) > MAX_COMMITTED_KEYS:
        return False
    return len(raw) <= MAX_COMMITTED_KEY_CHARS or sum(map(len, names)) <= MAX_COMMITTED_KEY_CHARS


_Cut = Callable[[bytes], tuple[bytes, ...]]


class _Around(NamedTuple):
    """What stands around the hashes, salts and values of a set of names; what is empty is to be filled in.

    `order`: the places of the names as RFC 8785 (section 3.2.3) sorts them. The rest cuts what was drawn, and
    salts and hashes in hexadecimal, into one for each name.
    """

    order: list[int]
    commitments: list[bytes]
    openings: list[bytes]
    salts: _Cut
    hex_salts: _Cut
    hashes: _Cut


def _made_around(names: tuple[str, ...]) -> _Around:
    quoted = [msgspec.json.encode(name) for name in names]
    order = sorted(range(len(names)), key=lambda at: names[at].encode("utf-16-be"))
    commitments, openings = [b"{"], [b"{"]
    for at in order:
        commitments[-1] += quoted[at] + b':"'
        commitments += [b"", b'",']
    for name in quoted:
        openings[-1] += name + b':{"salt":"'
        openings += [b"", b'","value":', b"", b"},"]
    commitments[-1] = b'"}'
    openings[-1] = b"}}"
    cuts = (Struct(f"{length}s" * len(names)).unpack for length in (SALT_BYTES, 2 * SALT_BYTES, 64))
    return _Around(order, commitments, openings, *cuts)


def _made_named(prefix: str, keys: tuple[str, ...]) -> tuple[str, ...]:
    return tuple([f"{prefix}.{key}" for key in keys])


_around = lru_cache(maxsize=512)(_made_around)
_named = lru_cache(maxsize=512)(_made_named)
