"""Python values as bounded JSON: what a tool's arguments look like on the wire.

A snapshot is taken while the agent waits, so the work is bounded before anything is copied: by characters, by
the number of values and by depth. A value with a natural JSON form keeps it exactly (`Decimal` as a number,
`UUID` and `datetime` as text, dataclasses and pydantic models as objects). Everything else is replaced (an
object by its type, a long text by its beginning) and the snapshot says so: `exact` is false, and a pre-flight
that must judge the real arguments refuses instead of judging a stand-in.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from itertools import islice
from pathlib import PurePath
from typing import Any, Final, NamedTuple
from uuid import UUID

import msgspec

MAX_BYTES: Final = 60_000
"""Of the encoded parameters; the gateway takes a little more."""
_MAX_CHARACTERS: Final = MAX_BYTES - 1_000
"""Leaves room for punctuation, so that one long ASCII text is cut once."""
MAX_VALUES: Final = 4_096
MAX_DEPTH: Final = 16
MAX_KEYS: Final = 100
"""Of the outermost object, and the longest key in characters."""
_MAX_BITS: Final = 1_024
_MAX_EXPONENT: Final = 400

_logger = logging.getLogger("pactstream.sdk")
_encoder = msgspec.json.Encoder(decimal_format="number")


class Snapshot(NamedTuple):
    """A JSON object as UTF-8 bytes; `exact` unless something in it had to be shortened or replaced."""

    encoded: bytes
    exact: bool


class _Budget:
    """What one snapshot may still hold, and whether something did not fit or could not be said in JSON."""

    __slots__ = ("characters", "clean", "exact", "values")

    def __init__(self, halvings: int, *, clean: bool) -> None:
        self.characters = _MAX_CHARACTERS >> halvings
        self.values = MAX_VALUES >> halvings
        self.clean = clean
        self.exact = True

    def replaced(self, stand_in: str) -> str:
        self.exact = False
        self.characters -= len(stand_in)
        return stand_in

    def text(self, value: str) -> str:
        length = len(value)
        if length > self.characters:
            kept = value[: max(self.characters, 0)]
            self.characters = 0
            value = self.replaced(f"{kept}…[{length} characters]")
        self.characters -= length
        return self._unicode(value) if self.clean else value

    def _unicode(self, value: str) -> str:
        valid = _without_surrogates(value)
        self.exact = self.exact and valid == value
        return valid


def snapshot(values: Mapping[str, object]) -> Snapshot:
    """`values` as a bounded JSON object. Never raises, whatever the values are or do when looked at."""
    halvings, clean = 0, False
    while True:
        budget = _Budget(halvings, clean=clean)
        plain = _members(values.items(), budget, 0, MAX_KEYS)
        try:
            encoded = _encoder.encode(plain)
        except UnicodeEncodeError:
            # Half a surrogate pair somewhere: rare, so texts are looked at one by one only now.
            clean = True
            continue
        if len(encoded) <= MAX_BYTES:
            return Snapshot(encoded, budget.exact)
        # Escapes and non-ASCII text take up to six bytes a character, a long integer three hundred.
        halvings += 1


def text(value: object, limit: int) -> str:
    """`value` as text of at most `limit` characters: a string as it is, anything else as its JSON."""
    if isinstance(value, str):
        whole = str.__str__(value)
    else:
        whole = snapshot({"": value}).encoded[len(b'{"":') : -1].decode()
    if len(whole) > limit:
        mark = f"…[{len(whole)} characters]"
        whole = whole[: limit - len(mark)] + mark
    return whole if whole.isascii() else _without_surrogates(whole)


def primitive(value: object, limit: int) -> str | int | float | bool | None:
    """`value` as a JSON primitive for `metadata`: anything but a number, a truth value or null becomes text."""
    if value is None or isinstance(value, bool):
        return value
    if type(value) is int and value.bit_length() < 64:
        return value
    if type(value) is float and math.isfinite(value):
        return value
    return text(value, limit)


def _members(
    items: Iterable[tuple[object, object]], budget: _Budget, depth: int, limit: int = MAX_VALUES
) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for key, value in items:
        if budget.values <= 0 or len(members) == limit:
            budget.exact = False
            break
        name = key if type(key) is str and len(key) <= MAX_KEYS else _name(key, budget)
        name = budget.text(name)
        members[name] = _looked_at(value, budget, depth)
    return members


def _name(key: object, budget: _Budget) -> str:
    if isinstance(key, str):
        name = str.__str__(key)
        return name if len(name) <= MAX_KEYS else budget.replaced(name[:MAX_KEYS])
    # Two keys may become one here (1 and "1"), so it is never exact.
    return budget.replaced(str(key) if type(key) is int else _type_name(key))


def _looked_at(value: object, budget: _Budget, depth: int) -> Any:
    try:
        return _plain(value, budget, depth)
    except Exception:
        # The agent's own code ran (a property, an iterator) or another thread changed a container meanwhile.
        _logger.debug("a value could not be read; its type is sent instead", exc_info=True)
        return budget.replaced(_type_name(value))


def _plain(value: Any, budget: _Budget, depth: int) -> Any:
    budget.values -= 1
    kind = type(value)
    if kind is str:
        return budget.text(value)
    if value is None or kind is bool:
        return value
    if kind is int:
        return value if value.bit_length() <= _MAX_BITS else budget.replaced(_type_name(value))
    if kind is float:
        return value if math.isfinite(value) else budget.replaced(str(value))
    if depth == MAX_DEPTH:
        return budget.replaced(_type_name(value))
    if isinstance(value, Mapping):
        return _members(value.items(), budget, depth + 1)
    return _converted(value, budget, depth + 1)


def _converted(value: Any, budget: _Budget, depth: int) -> Any:
    if isinstance(value, list | tuple | AbstractSet | deque):
        return _elements(value, budget, depth)
    if isinstance(value, Decimal):
        return value if _is_modest(value) else budget.replaced(text(str(value), MAX_KEYS))
    for natural, convert in _NATURAL:
        if isinstance(value, natural):
            return _plain(convert(value), budget, depth)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
        return _members(fields, budget, depth)
    if hasattr(type(value), "model_dump"):
        return _plain(value.model_dump(), budget, depth)
    return budget.replaced(_type_name(value))


def _elements(values: Collection[object], budget: _Budget, depth: int) -> list[Any]:
    room = max(budget.values, 0)
    budget.exact = budget.exact and len(values) <= room
    return [_looked_at(one, budget, depth) for one in islice(values, room)]


def _is_modest(value: Decimal) -> bool:
    return (
        value.is_finite()
        and abs(value.adjusted()) <= _MAX_EXPONENT
        and len(value.as_tuple().digits) <= _MAX_EXPONENT
    )


_NATURAL: Final[tuple[tuple[type, Callable[[Any], object]], ...]] = (
    (Enum, lambda value: value.value),
    (str, str.__str__),
    (int, int.__pos__),
    (float, float.__pos__),
    (UUID, str),
    (datetime, datetime.isoformat),
    (date, date.isoformat),
    (PurePath, str),
    (msgspec.Struct, msgspec.structs.asdict),
)
"""Types with a natural JSON form, subclasses included, most special first."""


def _type_name(value: object) -> str:
    kind = type(value)
    return f"<{kind.__module__}.{kind.__qualname__}>"[:MAX_KEYS]


def _without_surrogates(value: str) -> str:
    return value.encode("utf-8", "replace").decode()
