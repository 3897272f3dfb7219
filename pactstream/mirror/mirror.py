"""All logs and reports of one oracle, mirrored: what is kept where, and the loop that follows the oracle."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any, Self

from pactstream import clock
from pactstream.errors import Fatal, InvalidInput, PactstreamError, Retryable
from pactstream.ledger.cosignature import Cosigner
from pactstream.ledger.log_keys import LogKey
from pactstream.ledger.note import Checkpoint, parse_note
from pactstream.ledger.tile_store import TileDirectory
from pactstream.mirror.log import LogMirror
from pactstream.trust.oracle import Oracle

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Standing:
    """How a log is doing: when it was last compared with its source, and what is wrong since when."""

    compared_at_micros: int | None = None
    fault: str = ""
    fault_since_micros: int | None = None
    refused: bool = False
    """Whether the fault is one of the log itself, and not of a network or a disk."""

    def shown(self, log: LogMirror) -> dict[str, Any]:
        """As JSON."""
        return {
            "origin": log.origin,
            "size": log.size,
            "comparedAt": _iso(self.compared_at_micros),
            "fault": self.fault or None,
            "faultSince": _iso(self.fault_since_micros),
            "refused": self.refused,
        }


@dataclass(frozen=True, slots=True)
class LedgerMirror:
    """The logs of one deployment by their numbers."""

    logs: Mapping[int, LogMirror]
    keys: bytes
    """The pinned verifier keys, as the mirror serves them."""
    standings: Mapping[int, Standing] = field(default_factory=dict)

    @classmethod
    def of(
        cls, oracle: Oracle, keys: Mapping[str, Sequence[LogKey]], directory: Path, cosigner: Cosigner
    ) -> Self:
        """The mirror in `directory`, which the caller holds.

        Raises:
            Fatal: two logs have one number, or what is stored is not this mirror's.
        """
        logs: dict[int, LogMirror] = {}
        for origin, verifiers in keys.items():
            number = _number(origin)
            if number in logs:
                raise Fatal(f"{origin} and {logs[number].origin} cannot be served under one address")
            store = TileDirectory(directory / str(number))
            logs[number] = LogMirror(origin, verifiers, oracle.log_files(origin), store, cosigner)
        lines = [f"{key.line()}\n" for verifiers in keys.values() for key in verifiers]
        return cls(logs, "".join(lines).encode(), {number: Standing() for number in logs})

    def follow(self, stop: Event, interval_seconds: float) -> None:
        """Compare all logs with their source every so often, until `stop` is set."""
        while not stop.is_set():
            for number in self.logs:
                self.look(number)
                if stop.is_set():
                    break
            stop.wait(interval_seconds)

    def look(self, number: int) -> None:
        """Mirror what a log has added. What is wrong is logged and shown, and what is served stays."""
        log, standing = self.logs[number], self.standings[number]
        try:
            if log.advance():
                _log.info("%s: %d leaves are mirrored", log.origin, log.size)
        except PactstreamError as error:
            standing.refused = not isinstance(error, Retryable)
            if standing.fault_since_micros is None:
                standing.fault_since_micros = clock.now_micros()
            standing.fault = str(error)
            if standing.refused:
                _log.error("%s is NOT mirrored any further, %d leaves stay: %s", log.origin, log.size, error)
            else:
                _log.warning("%s: %s", log.origin, error)
        else:
            standing.compared_at_micros = clock.now_micros()
            standing.fault, standing.fault_since_micros, standing.refused = "", None, False

    def reach(self, origin: str, note: str) -> None:
        """Mirror the log as far as a checkpoint that a report names.

        Raises:
            InvalidInput: this mirror does not have the log, or the note is none.
            Retryable: it is not mirrored so far.
        """
        found = [number for number, log in self.logs.items() if log.origin == origin]
        if not found:
            raise InvalidInput(f"the report is about the log {origin!r}, which is not mirrored")
        size = Checkpoint.parse(parse_note(note.encode()).text).size
        if self.logs[found[0]].size < size:
            self.look(found[0])
        if self.logs[found[0]].size < size:
            raise Retryable(f"{origin} is mirrored up to {self.logs[found[0]].size} leaves, not {size}")


def _number(origin: str) -> int:
    number = origin.rpartition("/")[2]
    if not (number.isascii() and number.isdecimal()):
        raise Fatal(f"the origin {origin!r} does not end in a log's number")
    return int(number)


def _iso(micros: int | None) -> str | None:
    return None if micros is None else clock.to_iso(micros)
