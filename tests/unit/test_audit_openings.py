"""Private values beside the leaves: each fault at its leaf, and nothing said of what is not there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pactstream.ledger.audit import Fault
from pactstream.ledger.audit_openings import OpeningAudit, OpeningRow
from pactstream.ledger.leaf import Leaf, parse_leaf
from tests.published_ledger import changed, leaves

COMMITTED = {"output": "ab" * 32, "params.amount": "cd" * 32}
LEAVES = [parse_leaf(changed(one, commitments=COMMITTED)) for one in leaves(4)]


def row(index: int, field: str = "output", **changes: Any) -> OpeningRow:
    leaf: Leaf = LEAVES[index % 4]
    commitment = bytes.fromhex(COMMITTED.get(field, "00" * 32))
    made = OpeningRow(
        index, leaf.event_id, leaf.agent_id, leaf.tenant, leaf.session_id, field, commitment=commitment
    )
    return made._replace(**changes)


def findings(*rows: OpeningRow, without: int | None = None) -> list[tuple[int | None, Fault, str]]:
    """Of the four leaves; that of index `without` cannot be read."""

    def found() -> Iterator[tuple[int | None, Fault, str]]:
        audit = OpeningAudit("dev/ledger/0", rows)
        for index, leaf in enumerate(LEAVES):
            for one in audit.check(leaf, index) if index != without else ():
                yield one.leaf_index, one.fault, one.message
        for one in audit.rest():
            yield one.leaf_index, one.fault, one.message

    return list(found())


def test_what_is_sound_or_not_there_is_no_fault() -> None:
    assert findings() == []
    assert findings(row(0), row(0, "params.amount"), row(2), row(3, "params.amount")) == []


def test_each_fault_is_named_at_its_leaf() -> None:
    other = bytes(32)
    assert findings(row(0), row(1, commitment=other), row(1, "params.tip"), row(2), row(2), row(3)) == [
        (1, Fault.CHANGED, "the private value 'output', or its salt, is not what the leaf commits to"),
        (1, Fault.ADDED, "the leaf commits to no private value 'params.tip'"),
        (2, Fault.ADDED, "a second row has the private value 'output'"),
    ]
    assert [said for *_, said in findings(row(1, tenant="u", session_id="x"))] == [
        "of 'output', tenant shows 'u', the leaf says 't'",
        "of 'output', session_id shows 'x', the leaf says 's'",
    ]


def test_values_whose_leaf_is_not_there_or_cannot_be_read_were_added() -> None:
    message = "no leaf has the private value 'output'"
    assert findings(row(0), row(1), row(2), without=1) == [(1, Fault.ADDED, message)]
    assert findings(row(3), row(4), row(9)) == [(4, Fault.ADDED, message), (9, Fault.ADDED, message)]


def test_a_fields_name_cannot_fill_the_screen() -> None:
    ((_, _, message),) = findings(row(0, "\x1b[2J" + "x" * 10_000))
    assert "\x1b" not in message
    assert len(message) < 200
