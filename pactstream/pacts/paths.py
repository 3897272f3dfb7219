"""Paths to parameters: `destination`, `vendor.id`, `items[*].price`, `items[0]`, `"a.b".c`.

    path    = key *( "." key / "[*]" / "[" index "]" / "[" quoted "]" )
    key     = bare / quoted
    bare    = 1*( any character but white space, controls and . [ ] " \\ * )
    quoted  = a JSON string, for keys that hold any of those
    index   = 0..9999, without leading zeros

A path may also begin with `["a.b"]`. The canonical form quotes only where it must, and writes `.` before a key.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from enum import Enum
from typing import Final, TypeAlias

MAX_SEGMENTS: Final = 16
MAX_WILDCARDS: Final = 4


class Each(Enum):
    """The segment `[*]`: every element of an array."""

    ELEMENT = "*"


EACH: Final = Each.ELEMENT

Segment: TypeAlias = str | int | Each
Path: TypeAlias = tuple[Segment, ...]

_BARE = r'[^\s\x00-\x1f\x7f.\[\]"\\*]+'
_QUOTED = r'"(?:[^"\\\x00-\x1f]|\\.)*"'
_BARE_KEY = re.compile(_BARE)
_SEGMENT = re.compile(
    rf"(?P<dot>\.)?(?P<key>{_BARE}|{_QUOTED})"
    rf"|\[(?:(?P<each>\*)|(?P<index>0|[1-9][0-9]{{0,3}})|(?P<bracketed>{_QUOTED}))\]"
)


class PathError(ValueError):
    """A path that does not follow the grammar; `position` counts characters from 0."""

    def __init__(self, position: int, reason: str) -> None:
        super().__init__(f"{reason} at position {position}")
        self.position = position


def parse_path(text: str) -> Path:
    """The segments of a path: a `str` for a key, an `int` for an index, `EACH` for `[*]`.

    Raises PathError with the position of the first fault.
    """
    segments: list[Segment] = []
    at = 0
    while at < len(text):
        found = _SEGMENT.match(text, at)
        if found is None:
            raise PathError(at, "expected a key, [*] or an index such as [0]")
        if found["key"] is not None and bool(found["dot"]) != bool(segments):
            raise PathError(at, "expected '.' between keys" if segments else "a path begins with a key")
        segments.append(_segment(found, at))
        at = found.end()
    if not segments:
        raise PathError(0, "the path is empty")
    if not isinstance(segments[0], str):
        raise PathError(0, "a path begins with a key, because parameters are an object")
    if len(segments) > MAX_SEGMENTS or segments.count(EACH) > MAX_WILDCARDS:
        raise PathError(0, f"more than {MAX_SEGMENTS} segments, or more than {MAX_WILDCARDS} of them [*]")
    return tuple(segments)


def _segment(found: re.Match[str], at: int) -> Segment:
    if found["each"]:
        return EACH
    if found["index"]:
        return int(found["index"])
    key = found["key"] or found["bracketed"]
    return _unquoted(key, at) if key.startswith('"') else key


def _unquoted(literal: str, at: int) -> str:
    try:
        key = json.loads(literal)
        key.encode()
    except ValueError as error:
        raise PathError(at, "the quoted key is not a JSON string") from error
    return str(key)


def format_path(path: Path, indices: Sequence[int] = ()) -> str:
    """The canonical form; each `[*]` shows the next of `indices`, or stays `[*]` where they have run out."""
    remaining = iter(indices)
    parts: list[str] = []
    for segment in path:
        if isinstance(segment, str):
            key = segment if _BARE_KEY.fullmatch(segment) else json.dumps(segment, ensure_ascii=False)
            parts.append(f".{key}" if parts else key)
        elif segment is EACH:
            parts.append(f"[{next(remaining, '*')}]")
        else:
            parts.append(f"[{segment}]")
    return "".join(parts)


def beside(path: Path, key: str) -> Path:
    """The parameter `key` beside the last named key of `path`: `a.b[*]` and `c` give `a.c`."""
    last_key = max(at for at, segment in enumerate(path) if isinstance(segment, str))
    return (*path[:last_key], key)


def lookup(params: object, path: Path, indices: Sequence[int]) -> object:
    """The value at `path` with `indices` for its wildcards; None where there is none."""
    remaining = iter(indices)
    value = params
    for segment in path:
        if isinstance(segment, str):
            value = value.get(segment) if isinstance(value, dict) else None
        else:
            index = next(remaining) if segment is EACH else segment
            value = value[index] if isinstance(value, list) and len(value) > index else None
    return value
