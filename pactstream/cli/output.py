"""Printing for people: tables that survive a pipe, text that cannot play tricks on a terminal."""

from __future__ import annotations

import re
import sys
from datetime import timedelta
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pactstream import clock
from pactstream.errors import Fatal

_UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_DURATION = re.compile(r"([1-9][0-9]{0,5})([smhd])", re.ASCII)


def table(*headings: str) -> Table:
    """An empty table without lines, as all commands print."""
    return Table(*headings, box=None, padding=(0, 2, 0, 0))


def row(of: Table, *cells: object, style: str = "") -> None:
    """Add a row; cells are text, never markup."""
    of.add_row(*(Text(printable(str(cell))) for cell in cells), style=style)


def show(of: Table) -> None:
    """Print a table; into a pipe or file each row is one line, however long."""
    width = None if sys.stdout.isatty() else 10_000
    Console(width=width, highlight=False).print(of)


def printable(text: str) -> str:
    """The text with every control and invisible character but line ends escaped, as `\\u001b`."""
    return "".join(
        one
        if one.isprintable() or one == "\n"
        else one.encode("ascii", "backslashreplace").decode()
        if ord(one) > 0x7F
        else f"\\u{ord(one):04x}"
        for one in text
    )


def counted(number: int, noun: str) -> str:
    """`1 call`, `2 calls`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def age(micros: int) -> str:
    """How long ago that was, in the largest unit that fits: `3 d`, `5 h`, `12 min`, `40 s`."""
    seconds = max(0, clock.now_micros() - micros) // clock.MICROS_PER_SECOND
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def duration(text: str) -> timedelta:
    """`90s`, `30m`, `24h` or `7d`.

    Raises:
        Fatal: it is none of these.
    """
    found = _DURATION.fullmatch(text)
    if found is None:
        raise Fatal(f"{printable(text)!r} is not a duration such as 30m, 24h or 7d")
    return timedelta(seconds=int(found[1]) * _UNITS[found[2]])
