"""Splits a request's text into a statement and the data that follows it.

ClickHouse's HTTP interface takes `INSERT INTO t (a) FORMAT Native` and the rows as one body, so the end of
the statement must be found without parsing all of SQL: at the first FORMAT outside quotes and brackets.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from pactstream.devstack.clickhouse.errors import Refused

_TOKEN = re.compile(
    rb"""
    (?P<blank> (?: \s+ | --[^\n]* | \#[!\ ][^\n]* | /\*.*?\*/ )+ )
  | (?P<quoted> '(?:[^'\\]|\\.|'')*' | `(?:[^`\\]|\\.|``)*` | "(?:[^"\\]|\\.|"")*" )
  | (?P<word> \w+ )
  | (?P<open> [(\[{] )
  | (?P<close> [)\]}] )
  | (?P<other> . )
    """,
    re.VERBOSE | re.DOTALL,
)
_FORMAT_NAME = re.compile(rb"\s+([A-Za-z]\w*)")
# As in ClickHouse, blanks and at most one line break stand between the format's name and the data.
_DATA_START = re.compile(rb"[ \t]*\r?\n?")
# After one of these an INSERT has no data of its own to find: the SQL parser reads VALUES itself.
_NO_DATA_AFTER = frozenset({b"SELECT", b"WITH", b"VALUES", b"WATCH", b"INFILE"})


@dataclass(frozen=True, slots=True)
class Statement:
    """`sql`, and for an INSERT of data in some format, that `data_format` and the `data`.

    `output_format` is the one that a query itself names (`SELECT 1 FORMAT JSON`).
    """

    sql: bytes
    data_format: str | None = None
    data: bytes = b""
    output_format: str | None = None


@dataclass(frozen=True, slots=True)
class _Token:
    """A token outside brackets, in upper case, and where it starts and ends."""

    text: bytes
    start: int
    end: int


def split(text: bytes) -> Statement:
    """Split `text`; anything that is not an INSERT with a FORMAT is a query, whole.

    Raises `Refused` for several statements at once, as ClickHouse does over HTTP (the embedded engine would
    run them all, and a migration that works here would fail there).
    """
    tokens = _tokens(text)
    first = next(tokens, None)
    if first is not None and first.text == b"INSERT":
        return _split_insert(text, tokens)
    return _query(text, tokens)


def _split_insert(text: bytes, tokens: Iterator[_Token]) -> Statement:
    for token in tokens:
        if token.text == b"VALUES":
            return Statement(text)
        if token.text in _NO_DATA_AFTER:
            return _query(text, tokens)
        name = _FORMAT_NAME.match(text, token.end) if token.text == b"FORMAT" else None
        if name is None:
            continue
        if name[1].upper() == b"VALUES":
            return Statement(text)
        data_start = _DATA_START.match(text, name.end())
        data = text[data_start.end() if data_start else name.end() :]
        return Statement(text[: token.start], data_format=name[1].decode(), data=data)
    return Statement(text)


def _query(text: bytes, tokens: Iterator[_Token]) -> Statement:
    output_format = None
    ended = False
    for token in tokens:
        if ended and token.text != b";":
            raise Refused.by_interface(62, "SYNTAX_ERROR", "Multi-statements are not allowed")
        ended = token.text == b";"
        if token.text == b"FORMAT":
            name = _FORMAT_NAME.match(text, token.end)
            output_format = name[1].decode() if name else None
    return Statement(text, output_format=output_format)


def _tokens(text: bytes) -> Iterator[_Token]:
    depth = 0
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup
        if depth == 0 and kind != "blank":
            yield _Token(match[0].upper(), match.start(), match.end())
        if kind == "open":
            depth += 1
        elif kind == "close":
            depth -= 1
