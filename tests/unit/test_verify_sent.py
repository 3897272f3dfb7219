"""`pactstream verify sent`: what was acknowledged against a published ledger, honest and not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pactstream import clock
from pactstream.journal import comparison
from pactstream.journal.comparison import Comparison, Tally
from pactstream.journal.journal import Journal, earlier
from tests.cli_tools import Ran, runner
from tests.evaluator_tools import AGENT
from tests.journal_tools import event_id, leaves_of, sent
from tests.published_ledger import changed, published, relinked, write

SENT = [sent(number) for number in range(12)]
LEAVES = leaves_of(*SENT)
HOUR = 3_600 * clock.MICROS_PER_SECOND
MINUTE = 60 * clock.MICROS_PER_SECOND


class Place:
    """A published ledger, a journal, and the command that compares them."""

    def __init__(self, directory: Path, run: Any) -> None:
        self.files, self.state, self.journal = (
            directory / "files",
            directory / "state",
            directory / "sent.jsonl",
        )
        self._run = run
        self.note(SENT)

    def note(self, events: Sequence[dict[str, Any]], micros_ago: int = HOUR) -> None:
        acknowledged = [(json.dumps(one).encode(), one["eventId"]) for one in events]
        Journal(self.journal, 1 << 20).note(acknowledged, clock.now_micros() - micros_ago)

    def publish(self, leaves: list[bytes]) -> None:
        write(published(relinked(leaves), (5,)).files, self.files)

    def compare(self, *arguments: str) -> Ran:
        given = ("--url", self.files, "--state", self.state)
        ran: Ran = self._run("verify", "sent", self.journal, *given, *arguments)
        return ran._replace(err=ran.err.lstrip())  # where the bars were


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Place:
    return Place(tmp_path, runner(monkeypatch, capsys))


def test_all_that_was_acknowledged_is_there(place: Place) -> None:
    place.publish(LEAVES)
    assert place.compare() == (
        0,
        "12 events acknowledged: 12 in the ledger as sent, 0 otherwise, 0 missing, 0 too young to tell\n",
        "",
    )


def test_an_event_that_was_left_out_is_named(place: Place) -> None:
    place.publish([*LEAVES[:3], *LEAVES[4:]])
    ran = place.compare()
    assert ran.code == 1
    assert "11 in the ledger as sent, 0 otherwise, 1 missing, 0 too young" in ran.out
    named, last = ran.err.splitlines()
    assert named.startswith(f"event {event_id(3)} of agent {AGENT}, tool_call of session s-1: acknowledged 20")
    assert named.endswith("Z: not in the ledger")
    assert last == "pactstream: the ledger lacks 1 acknowledged event, and has 0 otherwise than sent"


def test_an_event_that_says_something_else_is_named(place: Place) -> None:
    place.publish([*LEAVES[:3], changed(LEAVES[3], outcome="error"), *LEAVES[4:]])
    ran = place.compare()
    assert ran.code == 1
    assert "11 in the ledger as sent, 1 otherwise, 0 missing" in ran.out
    assert ran.err.splitlines()[0] == (
        f"dev/ledger/0, leaf 3: event {event_id(3)} of agent {AGENT}, tool_call of session s-1: "
        "not as it was sent"
    )


def test_the_same_event_twice_in_the_ledger_once_otherwise(place: Place) -> None:
    again = leaves_of(*SENT, sent(30))[12]
    place.publish([*LEAVES, changed(again, eventId=event_id(3), tool="other")])
    assert "11 in the ledger as sent, 1 otherwise, 0 missing" in place.compare().out
    # Both are what was sent, if both were: an id that was used again after a day is a new event.
    place.note([sent(30, eventId=event_id(3), tool="other")])
    assert place.compare().code == 0


def test_an_event_of_another_agent_is_another_event(place: Place) -> None:
    other = "0196c9a4-0000-7000-8000-0000000000ff"
    place.publish([*LEAVES[:3], changed(LEAVES[3], agentId=other), *LEAVES[4:]])
    assert "1 missing" in place.compare().out


def test_what_was_acknowledged_just_now_need_not_be_there_yet(place: Place) -> None:
    place.publish(LEAVES)
    place.note([sent(20)], 2 * MINUTE)
    assert "12 in the ledger as sent, 0 otherwise, 0 missing, 1 too young" in place.compare().out
    assert place.compare("--within", "1m").code == 1
    # Sent again, and acknowledged again: it should have been there since the first time.
    place.note([sent(20)], HOUR)
    place.note([sent(20)], 0)
    assert "1 missing, 0 too young" in place.compare().out
    copied = clock.to_iso(clock.now_micros() - HOUR + MINUTE)
    assert "0 missing, 1 too young" in place.compare("--at", copied).out
    assert place.compare("--at", "yesterday").code == 3
    assert place.compare("--at", "2026-05-13T10:00:00").code == 3
    assert place.compare("--within", "soon").code == 3


def test_what_was_noted_twice_is_one_event_and_a_torn_line_is_none(place: Place) -> None:
    place.publish(LEAVES)
    place.note(SENT[:6])
    lines = place.journal.read_bytes()
    place.journal.write_bytes(lines[:-40])
    ran = place.compare()
    assert (ran.code, ran.out.split(":")[0]) == (0, "12 events acknowledged")
    assert ran.err == "1 line of the journals cannot be read, as one that a crash cut off\n"
    # The earlier half is read with it.
    place.journal.replace(earlier(place.journal))
    place.journal.touch()
    assert place.compare().out == ran.out


def test_a_ledger_that_is_not_in_order_is_said_first(place: Place) -> None:
    place.publish(LEAVES[1:])
    bundle = place.files / "ledger/0/tile/entries/000.p/11"
    bundle.write_bytes(bundle.read_bytes()[:-1])
    ran = place.compare()
    assert (ran.code, ran.out) == (1, "")
    assert "the ledger is not in order: 1 faults" in ran.err


def test_leaves_that_nobody_sent_are_listed(place: Place) -> None:
    now = clock.to_iso(clock.now_micros())
    forged, aside, early = leaves_of(*SENT, *(sent(number, sessionId="s-\u202e") for number in (30, 31, 32)))[
        12:
    ]
    aside = changed(aside, type="page_opened", receivedAt=now)
    place.publish([*LEAVES, changed(forged, receivedAt=now), aside, early])
    ran = place.compare("--others")
    assert ran.code == 0
    assert ran.out.splitlines()[:2] == [
        f"dev/ledger/0, leaf 12: event {event_id(30)} of agent {AGENT}, tool_call of session s-\\u202e: "
        "in no journal",
        "leaves of the same agents in no journal: 1",
    ]
    assert "in no journal" not in place.compare().out


def test_no_journal_is_no_proof(place: Place) -> None:
    place.publish(LEAVES)
    place.journal.unlink()
    ran = place.compare()
    assert (ran.code, ran.out) == (3, "")
    assert "sent.jsonl cannot be read: No such file" in ran.err


def test_no_more_is_listed_than_can_be_read(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "MAX_LISTED", 2)
    monkeypatch.setattr("pactstream.cli.verify_sent.MAX_LISTED", 2)
    place.publish([changed(one, outcome="error") for one in LEAVES[:4]])
    ran = place.compare()
    assert "0 in the ledger as sent, 4 otherwise, 8 missing" in ran.out
    assert len(ran.err.splitlines()) == 2 + 2 + 2
    assert "no more than 2 of each are listed" in ran.err


def test_bytes_that_are_no_leaf_are_left_to_the_audit() -> None:
    compared = Comparison()
    compared.leaf("dev/ledger/0", 0, b"\xff")
    assert compared.tally(0) == Tally(0, 0, 0, 0, 0)
    compared.close()
