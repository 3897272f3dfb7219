"""Holds: what makes them, what ends them, and that no verdict on a call that was made depends on them."""

from __future__ import annotations

import uuid
from decimal import Decimal
from typing import Any

import pytest

from evaluator_worker import holds as holds_module
from evaluator_worker.holds import GRACE_MICROS, Hold, Holds, decode, name_of
from evaluator_worker.task import EvaluatorTask
from pactstream.errors import InvalidInput
from pactstream.kafka import topics
from pactstream.pacts import Claim
from pactstream.pacts.figures import Share
from tests.evaluator_tools import AGENT, HOUR, PACT, Written, call, record, task

RESERVATION = "01920000-0000-7000-8000-000000000001"
END = HOUR + 60_000_000


def hold(**changes: Any) -> Hold:
    fields: dict[str, Any] = {
        "agent_id": AGENT,
        "name": name_of("t", RESERVATION),
        "made_at_micros": HOUR,
        "expires_at_micros": END,
        "question": b"q" * 16,
        "pact_id": PACT,
        "pact_version": 1,
        "pact_hash": "ab" * 32,
        "tool": "transfer_funds",
        "claims": (
            Claim("m", "all", Share(Decimal("10.50"))),
            Claim("d", "k", Share(Decimal(0), frozenset([b"v"]))),
        ),
    }
    return Hold(**(fields | changes))


def figures(of: Holds, measure: str = "m", key: str = "all") -> list[Decimal]:
    return sorted(share.figure for share in of.of(AGENT).shares(measure, key))


def holding(*some: Hold) -> EvaluatorTask:
    worker = task()
    for one in some:
        worker.holds.add(one)
    return worker


def deleted(written: Written) -> list[bytes]:
    return [key for key, value in written.of(topics.HOLDS) if value is None]


def flushed(worker: EvaluatorTask) -> Written:
    written = Written()
    worker.flush(written)
    return written


def test_a_record_is_read_back_as_it_was_written() -> None:
    one = hold()
    assert decode(one.key.encode(), one.encode()) == one


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"\xff", hold().encode()),
        (b"a/b", hold().encode()),
        (b"a/b/c", hold().encode()),
        (hold().key.encode(), b"no hold"),
        (
            hold().key.encode(),
            hold(claims=(Claim("m", "k", Share(Decimal(1))),)).encode().replace(b"\x021", b"\x02x"),
        ),
    ],
)
def test_what_is_no_hold_is_refused(key: bytes, value: bytes) -> None:
    with pytest.raises(InvalidInput):
        Holds().restore(key, value)


def test_what_is_held_is_found_by_window_and_by_name() -> None:
    some = Holds()
    some.add(hold())
    some.add(hold(name="n2", claims=(Claim("m", "all", Share(Decimal(2))),)))
    mine = some.of(AGENT)
    assert (len(some), len(mine), figures(some)) == (2, 2, [Decimal(2), Decimal("10.5")])
    assert (set(mine.keys("m")), set(mine.keys("none"))) == ({"all"}, set())
    assert [share.figure for share in mine.shares("m", "all", but={hold().key})] == [Decimal(2)]
    assert mine.named("n2")[0].name == "n2"
    assert len(some.of("another")) == 0


def test_a_hold_that_is_gone_leaves_nothing_in_memory() -> None:
    some = Holds()
    some.add(hold())
    some.add(hold())
    assert len(some) == 1
    assert some.remove(hold().key)
    assert not some.remove(hold().key)
    assert (len(some), some.of(AGENT).keys("m"), some.drain(), some.drain()) == (0, {}.keys(), [hold().key], [])


def test_the_call_itself_releases_in_the_transaction_that_counts_it() -> None:
    worker = holding(hold())
    worker.process(record(call(reservation_id=RESERVATION)), Written())
    assert figures(worker.holds) == []
    assert deleted(flushed(worker)) == [hold().key.encode()]
    assert deleted(flushed(worker)) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"tool": "another"},
        {"pact_id": None},
        {"reservation_id": str(uuid.uuid4())},
        {"reservation_id": "'; DROP TABLE holds; --\x00"},
        {"reservation_id": None},
        {"type": "response", "tool": None, "params": None},
    ],
)
def test_other_events_release_nothing(changes: dict[str, Any]) -> None:
    worker = holding(hold())
    worker.process(record(call(**{"reservation_id": RESERVATION} | changes)), Written())
    assert len(worker.holds) == 1


def test_a_tenant_does_not_release_what_another_holds() -> None:
    worker = holding(hold(name=name_of("another", RESERVATION)))
    worker.process(record(call(reservation_id=RESERVATION)), Written())
    assert len(worker.holds) == 1


def test_a_refused_call_still_releases_and_a_repeated_event_does_not() -> None:
    worker = holding(hold())
    event = call(reservation_id=RESERVATION, outcome="denied")
    worker.process(record(event), Written())
    assert len(worker.holds) == 0
    worker.holds.add(hold(made_at_micros=HOUR + 1))
    worker.process(record(event, offset=1), Written())
    assert len(worker.holds) == 1


def test_of_two_under_one_name_the_call_takes_the_earlier() -> None:
    later = hold(made_at_micros=HOUR + 1)
    worker = holding(later, hold())
    worker.process(record(call(reservation_id=RESERVATION)), Written())
    assert worker.holds.of(AGENT).named(hold().name) == [later]


def test_a_verdict_does_not_depend_on_what_is_held() -> None:
    event = call(amount=1_000)
    bare, held = Written(), Written()
    task().process(record(event), bare)
    holding(*(hold(name=f"n{number}") for number in range(50))).process(record(event), held)
    assert [leaf.verdict for leaf in bare.leaves()] == [leaf.verdict for leaf in held.leaves()]


def test_a_hold_lapses_only_when_what_arrived_before_its_end_is_judged() -> None:
    worker = holding(hold())
    worker.process(record(call(), received=END + GRACE_MICROS), Written())
    assert deleted(flushed(worker)) == []
    worker.process(record(call(), received=END + GRACE_MICROS + 1, offset=1), Written())
    assert deleted(flushed(worker)) == [hold().key.encode()]
    assert len(worker.holds) == 0


def test_a_call_that_arrived_in_time_finds_its_hold_however_late_it_is_judged() -> None:
    worker = holding(hold())
    worker.process(record(call(reservation_id=RESERVATION), received=END), Written())
    assert deleted(flushed(worker)) == [hold().key.encode()]


def test_restored_are_those_that_are_still_there() -> None:
    some = Holds()
    kept, gone = hold(), hold(name="n2")
    for one in (kept, gone):
        some.restore(one.key.encode(), one.encode())
    some.restore(gone.key.encode(), None)
    some.restore(b"x/y/1", None)
    some.restore(kept.key.encode(), kept.encode())
    assert (len(some), some.of(AGENT).named(kept.name), some.drain()) == (1, [kept], [])


def test_holds_stand_in_a_topic_that_outlives_them() -> None:
    assert topics.HOLDS_MS * 1_000 >= 2 * 3_600_000_000 > GRACE_MICROS
    assert holds_module.name_of("t", "r") != holds_module.name_of("tr", "")


def test_rotating_an_agents_keys_drops_its_reservations_with_that_tenant_only() -> None:
    mine, others = hold(), hold(name=name_of("u", RESERVATION), pact_id=str(uuid.uuid4()))
    elsewhere = hold(agent_id=str(uuid.uuid4()))
    worker = holding(mine, others, elsewhere)
    rotated = call(type="page", tool=None, params=None, outcome="rotated", pact_id=None, pact_version=None)
    worker.process(record(rotated | {"outcome": "blocked", "event_id": str(uuid.uuid4())}), Written())
    assert len(worker.holds) == 3
    worker.process(record(rotated, offset=1), Written())
    assert deleted(flushed(worker)) == [mine.key.encode()]
    assert len(worker.holds) == 2
