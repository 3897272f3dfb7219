"""A sender's journal: its digests are those of the leaves that are made, and what crashes leave of it."""

from __future__ import annotations

import json
import threading
import uuid
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pactstream import clock
from pactstream.errors import InvalidInput
from pactstream.journal.entry import MAX_LINE_BYTES, entry_of, read_line, sent_part
from pactstream.journal.journal import Journal, earlier
from pactstream.ledger.files import StorageFailed
from pactstream.sdk import Telemetry, TelemetryProblem
from tests.journal_tools import event_id, leaves_of, sent
from tests.published_ledger import changed
from tests.sdk_gateway import Gateway, accept, answer, serving

MIB = 1 << 20
NOW = 1_790_000_000_000_000


def digest_of(event: dict[str, Any]) -> str | None:
    return entry_of(json.dumps(event).encode(), event["eventId"], NOW).digest


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {
            "params": {"amount": 2_000, "memo": None},
            "latencyMs": 12.5,
        },  # breaks the pact: its value is committed to
        {"outcome": "error", "errorMessage": "no", "latencyMs": 3},
        {"metadata": {"confidence": 0.925, "model_version": "m", "é": "ü"}, "roomId": "r"},
        {"params": {f"p{n}": n for n in range(128)}},
        {"params": {"é": {"nested": [1, 1e300, 2.5e-7]}}, "parentEventId": str(uuid.uuid4()).upper()},
        {"attemptedAt": "2026-05-13T12:00:00.123456+02:00", "pactId": None},
        sent(1, type="response", tool=None, params=None, attemptedAt=None, input="i", output="o", tokenCount=7)
        | {"emittedAt": "2026-05-13T10:00:00Z"},
        sent(1, type="session_start", tool=None, params=None, attemptedAt=None, outcome=None)
        | {"startedAt": "2026-05-13T10:00:00Z"},
        sent(1, type="session_end", tool=None, params=None, attemptedAt=None, reason="done")
        | {"endedAt": "2026-05-13T10:00:00Z"},
    ],
)
def test_the_digest_is_that_of_the_leaf_which_gateway_and_evaluator_make(changes: dict[str, Any]) -> None:
    event = changes if "type" in changes else sent(1, **changes)
    (leaf,) = leaves_of(event)
    assert sent_part(leaf).digest() == digest_of(event)


TEXT = st.text(max_size=6)
VALUES = st.none() | st.booleans() | TEXT | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
TREES = st.recursive(
    VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3)
)


PARTS = st.tuples(
    st.dictionaries(TEXT, TREES, max_size=4), st.dictionaries(TEXT, VALUES, max_size=3), st.floats(0, 1e12)
)


@settings(max_examples=20)
@given(st.lists(PARTS, min_size=4, max_size=8))
def test_whatever_the_gateway_takes_has_its_digest(parts: list[tuple[Any, Any, float]]) -> None:
    events = {
        event_id(number): sent(number, params=params, metadata=metadata, latencyMs=latency)
        for number, (params, metadata, latency) in enumerate(parts)
    }
    for leaf in map(sent_part, leaves_of(*events.values())):
        assert leaf.digest() == digest_of(events[leaf.event_id])


def test_each_part_that_is_the_senders_counts_and_nothing_else() -> None:
    event = sent(1, latencyMs=5, roomId="r", metadata={"confidence": 0.5}, params={"amount": 1, "to": "x"})
    (leaf,) = leaves_of(event)
    digest, shown = digest_of(event), json.loads(leaf)
    other = str(uuid.uuid4())
    fewer = {name: value for name, value in shown["commitments"].items() if name != "params.to"}
    for change in (
        {"agentId": other},
        {"eventId": other},
        {"sessionId": "s-2"},
        {"roomId": "q"},
        {"parentEventId": other},
        {"type": "response"},
        {"tool": "other"},
        {"outcome": "denied"},
        {"latencyMs": 6},
        {"confidence": 51},
        {"occurredAt": "2026-05-13T10:00:00.000001Z"},
        {"pact": {**shown["pact"], "id": other}},
        {"commitments": fewer},
    ):
        assert sent_part(changed(leaf, **change)).digest() != digest, change
    for same in (
        {"receivedAt": "2026-05-13T10:00:00.000001Z"},
        {"sequence": 7},
        {"pact": {"id": shown["pact"]["id"], "version": 9}},
        {"tenant": "other"},
        {"verdict": None},
        {
            "commitments": dict.fromkeys(shown["commitments"], "ab" * 32)
        },  # the values are not known to the sender
    ):
        assert sent_part(changed(leaf, **same)).digest() == digest, same


def test_an_event_that_no_leaf_can_hold_is_noted_all_the_same() -> None:
    names = {"\x01" * 120 + str(n): 0 for n in range(60)}  # in the ledger, six characters each
    event = sent(1, params=names, metadata=names)
    assert digest_of(event) is None
    assert leaves_of(event) == []


@pytest.mark.parametrize(
    ("event", "name"), [(b"{}", event_id(1)), (b"\xff", event_id(1)), (json.dumps(sent(1)), "")]
)
def test_what_is_no_event_is_refused(event: bytes | str, name: str) -> None:
    with pytest.raises(InvalidInput, match="not an event"):
        entry_of(event if isinstance(event, bytes) else event.encode(), name, NOW)


def test_a_line_holds_no_values(tmp_path: Path) -> None:
    event = sent(1, params={"amount": 777_001}, metadata={"note": "private"}, sessionId="é" * 128)
    line = entry_of(json.dumps(event).encode(), event["eventId"], NOW).line()
    assert b"777001" not in line
    assert b"private" not in line
    assert len(line) < MAX_LINE_BYTES
    entry = read_line(line)
    assert clock.to_micros(entry.acknowledged_at) == NOW
    assert (str(entry.agent_id), entry.type, entry.session_id) == (event["agentId"], "tool_call", "é" * 128)


@given(st.binary(max_size=80))
def test_any_bytes_are_an_entry_or_none(line: bytes) -> None:
    with pytest.raises(InvalidInput):
        read_line(line)
    with pytest.raises(InvalidInput):
        sent_part(line)


def noted(path: Path) -> list[str]:
    """The ids of the lines that can be read."""
    ids = []
    for line in path.read_bytes().splitlines():
        try:
            ids.append(str(read_line(line).event_id))
        except InvalidInput:
            ids.append("?")
    return ids


def pair(number: int) -> tuple[bytes, str]:
    event = sent(number)
    return json.dumps(event).encode(), event["eventId"]


def test_a_line_that_a_crash_cut_off_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "new" / "sent.jsonl"
    Journal(path, MIB).note([pair(1), pair(2)], NOW)
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for cut in (first + 1, first + 100, len(whole) - 1):
        path.write_bytes(whole[:cut])
        Journal(path, MIB).note([pair(3)], NOW)
        last = event_id(2) if cut == len(whole) - 1 else "?"
        assert noted(path) == [event_id(1), last, event_id(3)]
    assert path.stat().st_mode & 0o077 == 0


def test_it_takes_no_more_than_it_may(tmp_path: Path) -> None:
    path = tmp_path / "sent.jsonl"
    journal = Journal(path, 4_000)
    for number in range(40):
        journal.note([pair(number)], NOW)
        assert sum(one.stat().st_size for one in (path, earlier(path)) if one.exists()) <= 4_000
    kept = [*noted(earlier(path)), *noted(path)]
    assert kept == [event_id(number) for number in range(40 - len(kept), 40)]
    assert len(kept) > 8


def test_several_writers_share_it(tmp_path: Path) -> None:
    path = tmp_path / "sent.jsonl"

    def write(first: int) -> None:
        journal = Journal(path, MIB)
        for number in range(first, first + 20):
            journal.note([pair(number)], NOW)

    threads = [threading.Thread(target=write, args=(first,)) for first in (0, 100, 200)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(noted(path)) == sorted(event_id(first + n) for first in (0, 100, 200) for n in range(20))


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageFailed, match=r"sent.jsonl cannot be written"):
        Journal(tmp_path / "file" / "sent.jsonl", MIB)
    with pytest.raises(ValueError, match="journal: "):
        Telemetry(
            api_key="k", base_url="http://127.0.0.1:1", agent_id=uuid.uuid4(), journal=tmp_path / "file" / "s"
        )
    with pytest.raises(ValueError, match="journal_max_bytes"):
        Telemetry(api_key="k", base_url="http://127.0.0.1:1", agent_id=uuid.uuid4(), journal_max_bytes=1)


@pytest.fixture
def gateway() -> Any:
    with serving() as running:
        yield running


def test_the_sdk_notes_what_was_acknowledged_and_only_that(gateway: Gateway, tmp_path: Path) -> None:
    path = tmp_path / "sent.jsonl"
    with gateway.telemetry(journal=path, batch_size=2) as tel:
        gateway.replies.extend([answer(503), accept])
        first, second = tel.tool_call(tool="a"), tel.response(input="i", output="o")
        assert tel.flush(10)
        # What flush has settled stands there.
        assert noted(path) == [first.event_id, second.event_id]
        refused, taken = (str(uuid.uuid4()) for _ in range(2))
        results = [
            {"eventId": refused, "status": "rejected", "error": {"error": "no", "code": "NOT_FOUND"}},
            {"eventId": taken, "status": "accepted", "validation": None},
        ]
        gateway.replies.append(answer(207, {"accepted": 1, "results": results}))
        tel.tool_call(tool="b", event_id=refused)
        tel.tool_call(tool="c", event_id=taken)
        assert tel.flush(10)
    assert noted(path)[2:] == [taken]
    (event,) = (one for one in gateway.events if one["eventId"] == taken)
    assert read_line(path.read_bytes().splitlines()[2]).digest == digest_of(event)


def test_a_journal_that_fails_holds_up_nothing(gateway: Gateway, tmp_path: Path) -> None:
    problems: list[TelemetryProblem] = []
    place = tmp_path / "place"
    with gateway.telemetry(journal=place / "sent.jsonl", on_error=problems.append) as tel:
        for one in place.iterdir():
            one.unlink()
        place.rmdir()
        place.touch()
        receipt = tel.tool_call(tool="a")
        assert tel.flush(10)
        assert receipt.status == "accepted"
    assert [(one.kind, one.count) for one in problems] == [("journal", 1)]
