"""Escalation, and how all parts of a verdict come together."""

from __future__ import annotations

from typing import Any

import pytest

from pactstream.pacts import Judgement
from tests.pact_calls import HOUR, MINUTE, Agent, escalate, sequence, window


def limited(severity: str, least: int) -> dict[str, Any]:
    """A call whose `n` is at least this is a violation."""
    rules = [{"paramPath": "n", "valueRange": {"max": least - 1}}]
    return {"type": "param_binding", "severity": severity, "parameterBinding": {"tool": "pay", "rules": rules}}


MAJOR = limited("major", 2)
THIRD = escalate("critical", **{"from": "major", "times": 3, "within": "PT1H"})


def severities(*judgements: Judgement) -> list[str | None]:
    return [judgement.verdict.severity for judgement in judgements]


def test_the_third_major_within_an_hour_becomes_critical_and_so_do_further_ones() -> None:
    agent = Agent(MAJOR, THIRD)
    found = [agent.does(at * MINUTE, n=2) for at in (0, 20, 40, 50)]
    assert severities(*found) == ["major", "major", "critical", "critical"]
    first, second = found[2].verdict.violations
    assert (first.rule, first.severity) == ("valueRange", "major")
    assert (second.rule, second.severity, second.value) == ("escalate", "critical", 3)
    assert second.expected == {"from": "major", "times": 3, "within": "PT1H"}
    assert second.message == (
        "At least 3 calls within PT1H were violations of severity major or graver, so this one is critical."
    )


def test_the_window_is_exact_to_the_microsecond() -> None:
    for gap, expected in [(HOUR // 2, "critical"), (HOUR // 2 + 1, "major")]:
        agent = Agent(MAJOR, THIRD)
        assert severities(*[agent.does(at * gap, n=2) for at in range(3)])[-1] == expected


def test_valid_calls_and_lighter_violations_do_not_count_and_graver_ones_do() -> None:
    agent = Agent(MAJOR, limited("minor", 1), limited("critical", 3), THIRD)
    numbers = [0, 1, 2, 0, 3, 1, 1, 2]
    found = severities(*[agent.does(at, n=n) for at, n in enumerate(numbers)])
    assert found == [None, "minor", "major", None, "critical", "minor", "minor", "critical"]


def test_it_counts_for_the_agent_whatever_the_session() -> None:
    agent = Agent(MAJOR, THIRD)
    found = [agent.does(at, n=2, session_id=session) for at, session in enumerate(["a", None, "b"])]
    assert severities(*found)[-1] == "critical"


def test_escalations_build_on_each_other_in_their_order() -> None:
    lift = escalate("major", **{"from": "minor", "times": 2, "within": "PT1H"})
    then = escalate("critical", **{"from": "major", "times": 2, "within": "PT1H"})
    agent = Agent(limited("minor", 1), lift, then)
    assert severities(*[agent.does(at, n=1) for at in range(3)]) == ["minor", "major", "critical"]
    agent = Agent(limited("minor", 1), then, lift)
    assert severities(*[agent.does(at, n=1) for at in range(3)]) == ["minor", "major", "major"]


def test_violations_of_windows_and_sequences_count_too() -> None:
    agent = Agent(
        window(limit=1),
        sequence(forbids={"tool": "pay", "after": "read"}),
        escalate(**{"from": "major", "times": 2, "within": 60}),
    )
    assert severities(agent.does(0, amount=2)) == ["major"]
    assert severities(agent.does(1, "read")) == [None]
    judgement = agent.does(2, amount=0)
    assert [violation.rule for violation in judgement.verdict.violations] == ["forbids", "window", "escalate"]
    assert judgement.verdict.severity == "critical"


@pytest.mark.parametrize("broken", [99, 100, 250])
def test_a_full_list_of_violations_makes_room_for_what_history_adds(broken: int) -> None:
    rule = {"paramPath": "items[*]", "valueRange": {"max": 1}}
    binding = {"tool": "pay", "rules": [rule]}
    items = {"type": "param_binding", "severity": "minor", "parameterBinding": binding}
    agent = Agent(items, window("critical", aggregate="count", paramPath=None, limit=0))
    verdict = agent.does(items=[2] * broken).verdict
    assert verdict.severity == "critical"
    assert len(verdict.violations) == 100
    assert any(violation.rule == "window" for violation in verdict.violations)
    more = [violation for violation in verdict.violations[-1:] if violation.rule == "more"]
    assert bool(more) is (broken > 99)
    listed = sum(violation.rule == "valueRange" for violation in verdict.violations)
    assert listed + sum(violation.value for violation in more) == broken
