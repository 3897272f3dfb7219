"""Journals against the leaves of verified logs, in memory that does not grow with either.

The entries go into a table on disk that SQLite makes, keeps in a temporary file and deletes by itself.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from pactstream import clock
from pactstream.errors import Fatal, InvalidInput
from pactstream.events.avro_form import SENT_TYPES
from pactstream.journal.entry import MAX_LINE_BYTES, Entry, SentPart, read_line, sent_part
from pactstream.journal.journal import earlier

MAX_LISTED: Final = 1_000
_CACHE_KIB: Final = 65_536
_SCHEMA: Final = """
CREATE TABLE sent (
    agent TEXT, event TEXT, digest TEXT, at_micros INTEGER, what TEXT, found INTEGER DEFAULT 0,
    PRIMARY KEY (agent, event, digest)
) WITHOUT ROWID
"""
_DIFFERS: Final = 2


@dataclass(frozen=True, slots=True)
class Place:
    """A leaf of one of the sender's agents: where it is, and its event."""

    origin: str
    index: int
    agent_id: str
    event_id: str
    what: str

    def __str__(self) -> str:
        return f"{self.origin}, leaf {self.index}: event {self.event_id} of agent {self.agent_id}, {self.what}"


class Missing(NamedTuple):
    """An acknowledged event without a leaf."""

    agent_id: str
    event_id: str
    what: str
    acknowledged_micros: int

    def __str__(self) -> str:
        at = clock.to_iso(self.acknowledged_micros)
        return f"event {self.event_id} of agent {self.agent_id}, {self.what}: acknowledged {at}"


class Tally(NamedTuple):
    """How many acknowledged events there are, and of these: in the ledger as sent, otherwise, not, not yet."""

    events: int
    same: int
    different: int
    missing: int
    young: int


class Comparison:
    """Takes journals, then leaves; then says what became of each event. `close` deletes the table."""

    def __init__(self) -> None:
        self.unreadable_lines = 0
        self.different: list[Place] = []
        """Leaves with an acknowledged event's id and another content, the first of them."""
        self.others: list[Place] = []
        """Leaves of the same agents, since the first entry, that no journal has; the first of them."""
        self.others_count = 0
        self._agents: set[str] = set()
        self._since = ""
        self._table = sqlite3.connect("", isolation_level=None)
        for pragma in ("journal_mode=OFF", "synchronous=OFF", f"cache_size=-{_CACHE_KIB}"):
            self._table.execute(f"PRAGMA {pragma}")
        self._table.execute(_SCHEMA)
        self._table.execute("BEGIN")  # and never to be committed: one transaction costs least

    def close(self) -> None:
        """Let go of the table."""
        self._table.close()

    def read(self, path: Path) -> None:
        """Take a journal, and its earlier half. Raises `Fatal` when there is none, or it cannot be read."""
        try:
            # In this order: what becomes the earlier half meanwhile is read twice, and counts once.
            self._take(_entries(path, self))
            if earlier(path).exists():
                self._take(_entries(earlier(path), self))
        except OSError as error:
            raise Fatal(f"{path} cannot be read: {error.strerror}") from None

    def leaf(self, origin: str, index: int, leaf: bytes) -> None:
        """Take a leaf. Bytes that are none are left to the audit, which names them."""
        try:
            part = sent_part(leaf)
        except InvalidInput:
            return
        if part.agent_id not in self._agents:
            return
        key = part.agent_id, part.event_id
        digests = {one for (one,) in self._rows("SELECT digest FROM sent WHERE agent = ? AND event = ?", *key)}
        if not digests:
            self._other(origin, index, part)
            return
        same = part.digest() in digests
        if not same and len(self.different) < MAX_LISTED:
            self.different.append(_place(origin, index, part))
        found = "UPDATE sent SET found = max(found, ?) WHERE agent = ? AND event = ?"
        self._table.execute(found, (1 if same else _DIFFERS, *key))

    def tally(self, until_micros: int) -> Tally:
        """How many are what; what was acknowledged after `until_micros` need not be in the ledger yet."""
        ((events, same, different, missing),) = self._rows(
            "SELECT count(*), count(*) FILTER (WHERE found = 1), count(*) FILTER (WHERE found = 2),"
            " count(*) FILTER (WHERE found = 0 AND at <= ?)"
            " FROM (SELECT max(found) found, min(at_micros) at FROM sent GROUP BY agent, event)",
            until_micros,
        )
        return Tally(events, same, different, missing, events - same - different - missing)

    def missing(self, until_micros: int) -> list[Missing]:
        """The events that should be in the ledger and are not, the first of them as they were acknowledged."""
        rows = self._rows(
            "SELECT agent, event, what, min(at_micros) at FROM sent WHERE found = 0"
            " GROUP BY agent, event HAVING at <= ? ORDER BY at, event LIMIT ?",
            until_micros,
            MAX_LISTED,
        )
        return [Missing(*one) for one in rows]

    def _take(self, entries: Iterable[Entry]) -> None:
        self._table.executemany(
            "INSERT INTO sent (agent, event, digest, at_micros, what) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET at_micros = min(at_micros, excluded.at_micros)",
            map(self._row, entries),
        )

    def _row(self, entry: Entry) -> tuple[str, str, str, int, str]:
        agent, at_micros = str(entry.agent_id), clock.to_micros(entry.acknowledged_at)
        self._agents.add(agent)
        at = clock.to_iso(at_micros)
        self._since = min(self._since or at, at)
        what = f"{entry.type} of session {entry.session_id}"
        return agent, str(entry.event_id), entry.digest or "", at_micros, what

    def _other(self, origin: str, index: int, part: SentPart) -> None:
        if part.type not in SENT_TYPES or part.received_at < self._since:
            return
        self.others_count += 1
        if len(self.others) < MAX_LISTED:
            self.others.append(_place(origin, index, part))

    def _rows(self, sql: str, *values: object) -> list[Any]:
        return self._table.execute(sql, values).fetchall()


def _entries(path: Path, into: Comparison) -> Iterator[Entry]:
    with path.open("rb") as file:
        while line := file.readline(MAX_LINE_BYTES):
            try:
                yield read_line(line)
            except InvalidInput:
                into.unreadable_lines += 1


def _place(origin: str, index: int, part: SentPart) -> Place:
    return Place(origin, index, part.agent_id, part.event_id, f"{part.type} of session {part.session_id}")
