"""Splits a request's text into a statement and the data that follows it.

ClickHouse's HTTP interface takes `INSERT INTO t (a) FORMAT Native` and the rows as one body, so the end of
the statement must be found without parsing all of SQL: at the first FORMAT outside quotes and brackets.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_TOKEN = re.compile(
    rb"""
    (?P<skip> \s+ | --[^\n]* | \#[!\ ][^\n]* | /\*.*?\*/
            | '(?:[^'\\]|\\.|'')*' | `(?:[^`\\]|\\.|``)*` | "(?:[^"\\]|\\.|"")*" )
  | (?P<word> [A-Za-z_][A-Za-z0-9_]* )
  | (?P<open> [(\[{] )
  | (?P<close> [)\]}] )
  | (?P<other> . )
    """,
    re.VERBOSE | re.DOTALL,
)
_FORMAT_NAME = re.compile(rb"\s+([A-Za-z][A-Za-z0-9_]*)")
# As ClickHouse: blanks, and at most one line break, stand between the format's name and the data.
_DATA_START = re.compile(rb"[ \t]*\r?\n?")


@dataclass(frozen=True, slots=True)
class Statement:
    """`sql`, and for an INSERT of data in some format, that `data_format` and the `data`.

    `output_format` is the one a query names itself (`SELECT 1 FORMAT JSON`).
    """

    sql: bytes
    data_format: str | None = None
    data: bytes = b""
    output_format: str | None = None


def split(text: bytes) -> Statement:
    """Split `text`; anything that is not an INSERT with a FORMAT is a query, whole."""
    words = _top_level_words(text)
    first = next(words, None)
    if first is None or first[0] != b"INSERT":
        return Statement(text, output_format=_last_format(text, words))
    for word, start, end in words:
        if word in (b"SELECT", b"WITH", b"VALUES", b"WATCH", b"INFILE"):
            break
        name = _FORMAT_NAME.match(text, end) if word == b"FORMAT" else None
        if name is None:
            continue
        if name[1].upper() == b"VALUES":  # the SQL parser itself reads these
            break
        data_start = _DATA_START.match(text, name.end())
        data = text[data_start.end() if data_start else name.end() :]
        return Statement(text[:start], data_format=name[1].decode(), data=data)
    return Statement(text)


def _top_level_words(text: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Each bare word outside parentheses, in upper case, with where it starts and ends."""
    depth = 0
    for token in _TOKEN.finditer(text):
        if token.lastgroup == "open":
            depth += 1
        elif token.lastgroup == "close":
            depth -= 1
        elif token.lastgroup == "word" and depth == 0:
            yield token[0].upper(), token.start(), token.end()


def _last_format(text: bytes, words: Iterator[tuple[bytes, int, int]]) -> str | None:
    """The name after the last top-level FORMAT, which is where a query may carry one."""
    last = None
    for word, _start, end in words:
        if word == b"FORMAT":
            name = _FORMAT_NAME.match(text, end)
            last = name[1].decode() if name else None
    return last
