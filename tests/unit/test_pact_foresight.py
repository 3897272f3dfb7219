"""The verdict on a call to come: as of now, and on top of what is held for others."""

from __future__ import annotations

import pytest

from pactstream.pacts import Foreseen
from tests.pact_calls import DAY, HOUR, MINUTE, escalate, sequence, window
from tests.pact_seer import Seer

REQUIRES = {"tool": "pay", "after": "verify"}


def test_a_call_to_come_is_judged_after_those_that_were_made_and_changes_nothing() -> None:
    agent = Seer(window(limit=100))
    assert agent.finds(amount=100) == []
    agent.does(amount=60)
    before = agent.state.dump()
    (violation,) = agent.asks(MINUTE, amount=41).verdict.violations
    assert (violation.rule, violation.value, violation.expected) == ("window", 101, 100)
    assert agent.finds(MINUTE, amount=40) == []
    assert agent.finds(2 * HOUR, amount=100) == []
    assert agent.state.dump() == before


@pytest.mark.parametrize("aggregate", ["sum", "count", "distinct"])
def test_what_is_held_counts(aggregate: str) -> None:
    agent = Seer(window(aggregate=aggregate, limit=3))
    amounts = [1, 1, 1, 1] if aggregate == "sum" else [5, 6, 7, 8]
    agent.does(amount=amounts[0])
    assert [agent.holds(amount=amount) for amount in amounts[1:]] == [True, True, False]


def test_a_value_that_is_held_is_distinct_only_once() -> None:
    agent = Seer(window(aggregate="distinct", limit=1))
    assert [agent.holds(amount=5), agent.holds(amount=5), agent.holds(amount=6)] == [True, True, False]


def test_what_is_held_for_another_session_or_value_is_no_matter() -> None:
    by_value, by_session = (
        Seer(window(limit=10, per={"paramPath": "to"})),
        Seer(window(limit=10, per="session")),
    )
    for agent in (by_value, by_session):
        assert agent.holds(amount=10, to="a", session_id="s-1")
        assert agent.finds(amount=1, to="a", session_id="s-1") == ["window"]
    assert by_value.finds(amount=10, to="b", session_id="s-1") == []
    assert by_session.finds(amount=10, to="a", session_id="s-2") == []


def test_what_is_held_before_midnight_counts_after_it() -> None:
    agent = Seer(window(limit=10, over={"calendar": {"unit": "day", "timeZone": "UTC"}}))
    assert agent.holds(12 * HOUR - MINUTE, amount=10)
    assert agent.finds(12 * HOUR + MINUTE, amount=1) == ["window"]
    agent.held.claims.clear()
    assert agent.finds(DAY, amount=10) == []


def test_values_that_are_held_take_up_room_among_those_kept_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pactstream.pacts.windows.MAX_VALUES", 2)
    agent = Seer(window(limit=10, per={"paramPath": "to"}))
    agent.does(amount=1, to="a")
    assert agent.holds(amount=9, to="a")
    assert agent.holds(amount=10, to="b")
    assert agent.holds(amount=10, to="c")  # shared with all that follow
    assert agent.finds(amount=1, to="d") == ["window"]


def test_a_window_over_other_outcomes_refuses_only_beyond_its_limit() -> None:
    agent = Seer(window(aggregate="count", paramPath=None, limit=1, outcomes=["error"]))
    agent.does(outcome="error")
    assert agent.asks(MINUTE) == Foreseen(agent.asks(MINUTE).verdict)
    assert agent.finds(MINUTE) == []
    agent.does(MINUTE, outcome="error")
    assert agent.finds(2 * MINUTE) == ["window"]


def test_order_and_errors_as_of_now() -> None:
    agent = Seer(sequence(requires=REQUIRES), sequence(maxConsecutiveErrors=1))
    assert agent.finds() == ["requires"]
    assert agent.finds(session_id=None) == ["session", "session"]
    agent.does(tool="verify")
    assert agent.finds() == []
    agent.does(outcome="error")
    assert agent.finds() == []  # it may yet succeed
    agent.does(outcome="error")
    (violation,) = agent.asks().verdict.violations
    assert violation.message == "The last 2 calls in this session were errors, and at most 1 may be."


def test_what_is_forbidden_and_what_is_repeated() -> None:
    agent = Seer(
        sequence("minor", forbids={"tool": "pay", "after": "freeze"}),
        escalate(**{"from": "minor", "times": 2, "within": "PT1H"}),
    )
    assert agent.finds() == []
    agent.does(tool="freeze", outcome="error")
    assert agent.asks().verdict.severity == "minor"
    agent.does()
    foreseen = agent.asks()
    assert ([one.rule for one in foreseen.verdict.violations], foreseen.verdict.severity) == (
        ["forbids", "escalate"],
        "critical",
    )


def test_without_a_session_or_a_number_nothing_is_claimed() -> None:
    agent = Seer(window(limit=10, over="session"))
    assert agent.finds(amount=1, session_id=" ") == ["session"]
    foreseen = agent.asks(amount="much")
    assert ([one.rule for one in foreseen.verdict.violations], foreseen.claims) == (["window"], ())
    assert agent.asks(other=1) == Foreseen(agent.asks(other=1).verdict)
    assert agent.finds(params=b"[") == ["params"]
