"""Reading the small parts of a pact document: paths, exact numbers, durations; faults are collected."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

import msgspec

from pactstream.errors import Detail
from pactstream.pacts import values
from pactstream.pacts.paths import Path, PathError, parse_path
from pactstream.pacts.structure import DURATION_DUE, PLAIN_DECIMAL_DUE
from pactstream.pacts.verdict import bounded

# Stands for a path that is at fault, so that the rest of its rule is still read; told apart by identity.
UNKNOWN_PATH: Final[Path] = ("?",)

_MICRO: Final = timedelta(microseconds=1)
_LONGEST: Final = timedelta(days=366)
_SHORTEST: Final = timedelta(seconds=1)


class Reader:
    """Reads values that are structurally sound and adds the faults in their meaning to `faults`."""

    def __init__(self, faults: list[Detail]) -> None:
        self.faults = faults

    def fault(self, path: str, message: str) -> None:
        """Add a fault."""
        self.faults.append(Detail(path, message))

    def path(self, text: str, path: str) -> Path | None:
        """A path, or None with a fault."""
        try:
            return parse_path(text)
        except PathError as error:
            self.fault(path, str(error))
            return None

    def number(self, value: object, path: str) -> Decimal:
        """An exact number; zero with a fault where it is none."""
        read = values.number(value)
        if read is None:  # Python's `$`, as the schema's validator reads it, lets a trailing newline pass
            self.fault(path, PLAIN_DECIMAL_DUE)
        return Decimal(read or 0)

    def duration_micros(self, value: object, path: str) -> int:
        """A duration from 1 second to 366 days in microseconds; a day with a fault where it is none."""
        try:
            if isinstance(value, str):
                length = msgspec.convert(value, timedelta)
            else:
                length = timedelta(microseconds=int(self.number(value, path).scaleb(6)))
        except (msgspec.ValidationError, ArithmeticError):
            length = timedelta()
        if not _SHORTEST <= length <= _LONGEST:
            self.fault(path, DURATION_DUE)
            return timedelta(days=1) // _MICRO
        return length // _MICRO


def plain(value: Any) -> Any:
    """A decoded document with floats for decimals, which it survives: see `structure.inexact_numbers`."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list) else value


def shown(value: Any) -> Any:
    """A part of the document as verdicts quote it."""
    return bounded(plain(value))
