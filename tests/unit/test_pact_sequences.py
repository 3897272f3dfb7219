"""Sequences: requires, forbids, errors in a row."""

from __future__ import annotations

from typing import Any

import pytest

from tests.pact_calls import DAY, HOUR, MINUTE, Agent, sequence

REQUIRES = {"tool": "pay", "after": "verify"}
FORBIDS = {"tool": "send", "after": "read"}


def test_a_tool_may_be_required_to_succeed_first_in_the_same_session() -> None:
    agent = Agent(sequence("critical", requires=REQUIRES))
    (violation,) = agent.does(0, "pay").verdict.violations
    assert (violation.rule, violation.severity, violation.expected) == ("requires", "critical", REQUIRES)
    assert violation.message == "pay is called although verify has not succeeded in this session."
    for outcome in ("error", "denied", "refused", None):
        agent.does(1, "verify", outcome=outcome)
        assert agent.rules(2, "pay") == ["requires"]
    assert agent.rules(3, "verify") == []
    assert agent.rules(4, "pay") == []
    assert agent.rules(5, "pay") == []
    assert agent.rules(6, "pay", session_id="another") == ["requires"]


def test_a_requirement_may_lapse() -> None:
    agent = Agent(sequence(requires=REQUIRES | {"within": "PT10M"}))
    agent.does(0, "verify")
    assert agent.rules(10 * MINUTE, "pay") == []
    (violation,) = agent.does(10 * MINUTE + 1, "pay").verdict.violations
    assert violation.message == "pay is called although verify has not succeeded within PT10M in this session."
    agent.does(11 * MINUTE, "verify")
    assert agent.rules(12 * MINUTE, "pay") == []


def test_a_rule_for_the_agent_reaches_over_its_sessions() -> None:
    agent = Agent(sequence(requires=REQUIRES | {"within": "PT10M", "per": "agent"}))
    agent.does(0, "verify", session_id="a")
    assert agent.rules(MINUTE, "pay", session_id="b") == []
    assert agent.rules(MINUTE, "pay", session_id=None) == []


def test_a_tool_may_be_forbidden_after_another() -> None:
    agent = Agent(sequence(forbids=FORBIDS))
    assert agent.rules(0, "send") == []
    agent.does(1, "read", outcome="denied")
    assert agent.rules(2, "send") == []
    agent.does(3, "read", outcome="error")  # it may have read before it failed
    (violation,) = agent.does(4, "send").verdict.violations
    assert violation.message == "send is called after read was in this session, which is forbidden."
    assert (violation.rule, violation.value) == ("forbids", None)
    assert agent.rules(5, "send", session_id="another") == []


def test_a_tool_forbidden_after_itself_may_be_called_once() -> None:
    agent = Agent(sequence(forbids={"tool": "close", "after": "close"}))
    assert [agent.rules(at, "close") for at in range(3)] == [[], ["forbids"], ["forbids"]]


def test_a_session_that_goes_on_is_not_forgotten() -> None:
    agent = Agent(sequence(forbids=FORBIDS))
    agent.does(0, "read")
    for days in range(6, 60, 6):
        assert agent.rules(days * DAY, "send") == ["forbids"]


def test_order_is_the_order_of_arrival() -> None:
    agent = Agent(sequence(requires=REQUIRES))
    assert agent.rules(10, "pay", received=20) == ["requires"]
    agent.does(0, "verify", received=30)
    assert agent.rules(15, "pay", received=40) == []


def test_a_time_in_the_past_does_not_revive_a_requirement() -> None:
    agent = Agent(sequence(requires=REQUIRES | {"within": "PT10M"}))
    agent.does(0, "verify")
    assert agent.rules(5 * MINUTE, "pay", received=3 * HOUR) == ["requires"]


@pytest.mark.parametrize("blank", [None, "", "  "])
@pytest.mark.parametrize(
    ("condition", "tool"),
    [
        (sequence(requires=REQUIRES), "pay"),
        (sequence(requires=REQUIRES), "verify"),
        (sequence(forbids=FORBIDS), "send"),
        (sequence(forbids=FORBIDS), "read"),
        (sequence(maxConsecutiveErrors=9), "anything"),
    ],
)
def test_a_call_without_a_session_is_a_violation_of_its_own_and_shares_nothing(
    condition: dict[str, Any], tool: str, blank: str | None
) -> None:
    agent = Agent(condition)
    for _ in range(2):
        assert agent.rules(0, tool, session_id=blank, outcome="error") == ["session"]
    assert len(agent.state) == 0


def test_errors_in_a_row_are_counted_until_a_success() -> None:
    agent = Agent(sequence("minor", maxConsecutiveErrors=2))
    outcomes = ["error", "error", "denied", "error", "error", "refused", "success", "error", "error", "error"]
    found = [agent.does(at, f"tool-{at}", outcome=outcome) for at, outcome in enumerate(outcomes)]
    values = [[violation.value for violation in one.verdict.violations] for one in found]
    assert values == [[], [], [], [3], [4], [], [], [], [], [3]]
    violation = found[3].verdict.violations[0]
    assert (violation.rule, violation.severity, violation.expected) == ("maxConsecutiveErrors", "minor", 2)
    assert violation.message == "This is error number 3 in a row in this session, and at most 2 may be."


def test_errors_of_other_sessions_and_other_tools_do_not_count() -> None:
    agent = Agent(sequence(maxConsecutiveErrors=1, tools=["a", "b"]))
    calls = [("a", "s"), ("b", "t"), ("c", "s"), ("b", "s"), ("a", "t")]
    found = [agent.rules(0, tool, session_id=session, outcome="error") for tool, session in calls]
    assert found == [[], [], [], ["maxConsecutiveErrors"], ["maxConsecutiveErrors"]]


def test_none_at_all_may_be_allowed() -> None:
    assert Agent(sequence(maxConsecutiveErrors=0)).rules(0, outcome="error") == ["maxConsecutiveErrors"]


def test_a_rule_on_every_tool_binds_every_tool() -> None:
    agent = Agent(sequence(maxConsecutiveErrors=1))
    assert agent.does(0, "anything").verdict.bound
    assert agent.pact.judge("anything", b"{}").bound
    assert agent.rules(0, "anything", params=b"[]") == ["params"]
    named = Agent(sequence(forbids=FORBIDS))
    assert named.pact.judge("send", b"{}").bound
    assert named.pact.judge("read", b"{}").bound
    assert not named.pact.judge("other", b"{}").bound
