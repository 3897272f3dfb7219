"""Where in the text of a JSON document each of its parts stands, so that a fault can be shown at its place.

Paths are those of `PactError`: `conditions[0].parameterBinding.tool`. The text is JSON already; what is not is
found by whoever decodes it.
"""

from __future__ import annotations

import re
from contextlib import suppress
from json.decoder import JSONDecodeError, JSONDecoder
from typing import NamedTuple

from pactstream.errors import Detail

_SPACE = re.compile(r"[ \t\n\r]*")
_PLAIN = re.compile(r"[^\s,\]}]+")
_MAX_DEPTH = 100
_string = JSONDecoder().raw_decode


class Place(NamedTuple):
    """A part of the text: `start` and `end` in UTF-16 units, as browsers count; line and column from 1."""

    start: int
    end: int
    line: int
    column: int


class Fault(NamedTuple):
    """What is wrong, and where."""

    path: str
    message: str
    place: Place


def located(text: str, details: list[Detail]) -> list[Fault]:
    """Each fault with the place of the part it names, or of the nearest one around it."""
    spans = _spans(text)
    found = []
    for path, message in details:
        at = path
        while at not in spans:
            at = at[: max(at.rfind("."), at.rfind("["), 0)]
        found.append(Fault(path, message, _place(text, *spans[at])))
    return sorted(found, key=lambda one: one.place.start)


def syntax_fault(text: str, error: JSONDecodeError) -> Fault:
    """The place at which a text stops being JSON."""
    return Fault("", error.msg, _place(text, error.pos, min(error.pos + 1, len(text))))


def _place(text: str, start: int, end: int) -> Place:
    before = text[:start]
    line = before.count("\n") + 1
    column = start - (before.rfind("\n") + 1) + 1
    return Place(_units(before), _units(text[:end]), line, column)


def _units(text: str) -> int:
    return len(text) + sum(ord(one) > 0xFFFF for one in text)


def _spans(text: str) -> dict[str, tuple[int, int]]:
    scan = _Scan(text)
    with suppress(IndexError, JSONDecodeError):
        scan.value("", _skip(text, 0), 0)
    scan.found.setdefault("", (0, len(text)))
    return scan.found


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


class _Scan:
    def __init__(self, text: str) -> None:
        self._text = text
        self.found: dict[str, tuple[int, int]] = {}

    def value(self, path: str, start: int, depth: int) -> int:
        """Note the value that begins here, and what is in it; where it ends."""
        first = self._text[start]
        if first == "{" and depth < _MAX_DEPTH:
            end = self._object(path, start + 1, depth + 1)
        elif first == "[" and depth < _MAX_DEPTH:
            end = self._array(path, start + 1, depth + 1)
        elif first == '"':
            end = _string(self._text, start)[1]
        else:
            plain = _PLAIN.match(self._text, start)
            end = plain.end() if plain else start + 1
        self.found[path] = (start, end)
        return end

    def _object(self, path: str, at: int, depth: int) -> int:
        at = _skip(self._text, at)
        while self._text[at] != "}":
            key, at = _string(self._text, at)
            below = f"{path}.{key[:64]}" if path else key[:64]
            at = self.value(below, _skip(self._text, _skip(self._text, at) + 1), depth)
            at = self._after(at)
        return at + 1

    def _array(self, path: str, at: int, depth: int) -> int:
        at, number = _skip(self._text, at), 0
        while self._text[at] != "]":
            at = self._after(self.value(f"{path}[{number}]", at, depth))
            number += 1
        return at + 1

    def _after(self, at: int) -> int:
        at = _skip(self._text, at)
        return _skip(self._text, at + 1) if self._text[at] == "," else at
