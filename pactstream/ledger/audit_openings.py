"""Compares stored private values with what leaves commit to, in one pass beside the audit of the leaves.

A value that is not there was erased, or is as if it were: every proof still holds. One that is there must be
what the leaf commits to, and must say whose it is as the leaf does, or an erasure would not find it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pactstream.ledger.audit import Fault, Finding, differences, shown
from pactstream.ledger.leaf import Leaf


class OpeningRow(NamedTuple):
    """A stored opening: the leaf it belongs to, whose it says it is, and SHA-256 of salt and value."""

    leaf_index: int
    event_id: str
    agent_id: str
    tenant: str
    session_id: str
    field: str
    commitment: bytes


class OpeningAudit:
    """The openings of one log, in the order of their leaves; `check` is called with each leaf in that order."""

    def __init__(self, origin: str, rows: Iterable[OpeningRow]) -> None:
        self._origin = origin
        self._rows = iter(rows)
        self._row = next(self._rows, None)

    def check(self, leaf: Leaf, leaf_index: int) -> Iterator[Finding]:
        """What is wrong with the values of this leaf, and with those before it that have no leaf."""
        yield from self._without_leaf(leaf_index)
        fields: set[str] = set()
        while (row := self._row) is not None and row.leaf_index == leaf_index:
            if row.field in fields or not _is_of(row, leaf):
                yield from self._compare(row, leaf, fields)
            fields.add(row.field)
            self._row = next(self._rows, None)

    def rest(self) -> Iterator[Finding]:
        """The values behind the last leaf."""
        yield from self._without_leaf(None)

    def _without_leaf(self, end: int | None) -> Iterator[Finding]:
        while (row := self._row) is not None and (end is None or row.leaf_index < end):
            yield self._finding(Fault.ADDED, row, f"no leaf has the private value {shown(row.field)}")
            self._row = next(self._rows, None)

    def _compare(self, row: OpeningRow, leaf: Leaf, fields: set[str]) -> Iterator[Finding]:
        committed = leaf.commitments.get(row.field)
        if committed is None:
            yield self._finding(
                Fault.ADDED, row, f"the leaf commits to no private value {shown(row.field)}", leaf
            )
        elif row.commitment.hex() != committed:
            message = f"the private value {shown(row.field)}, or its salt, is not what the leaf commits to"
            yield self._finding(Fault.CHANGED, row, message, leaf)
        if row.field in fields:
            yield self._finding(
                Fault.ADDED, row, f"a second row has the private value {shown(row.field)}", leaf
            )
        expected = {
            "event_id": leaf.event_id,
            "agent_id": leaf.agent_id,
            "tenant": leaf.tenant,
            "session_id": leaf.session_id,
        }
        for message in differences(expected, row._asdict()):
            yield self._finding(Fault.COLUMN, row, f"of {shown(row.field)}, {message}", leaf)

    def _finding(self, fault: Fault, row: OpeningRow, message: str, leaf: Leaf | None = None) -> Finding:
        event_id = row.event_id if leaf is None else leaf.event_id
        return Finding(
            origin=self._origin, fault=fault, message=message, leaf_index=row.leaf_index, event_id=event_id
        )


def _is_of(row: OpeningRow, leaf: Leaf) -> bool:
    """Whether all is as the leaf says: the usual case, and quick."""
    return (
        leaf.commitments.get(row.field) == row.commitment.hex()
        and leaf.event_id == row.event_id
        and leaf.agent_id == row.agent_id
        and leaf.tenant == row.tenant
        and leaf.session_id == row.session_id
    )
