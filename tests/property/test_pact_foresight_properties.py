"""Whoever has each call held before making it never breaks a window, in whatever order things happen."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.pact_calls import HOUR, MINUTE, window
from tests.pact_seer import Seer

CONDITIONS = [
    window(limit=20, over={"sliding": "PT1H"}),
    window(limit=25, over={"calendar": {"unit": "day", "timeZone": "Europe/Madrid"}}),
    window(limit=15, per="session"),
    window(limit=12, per={"paramPath": "to"}),
    window(aggregate="count", paramPath=None, limit=4, over={"sliding": "PT10M"}),
    window(aggregate="distinct", paramPath="to", limit=2),
]
ASKED = st.tuples(st.integers(0, 9), st.sampled_from("abc"), st.sampled_from(["s-1", "s-2"]))
USED = st.integers(0, 5)
STEPS = st.lists(st.tuples(st.sampled_from([0, MINUTE, 9 * MINUTE, HOUR]), ASKED | USED), max_size=40)


@given(STEPS)
def test_a_call_that_was_held_is_valid_when_it_is_made(steps: list[tuple[int, object]]) -> None:
    agent, now = Seer(*CONDITIONS), 0
    waiting: list[tuple[dict[str, Any], int]] = []
    for pause, step in steps:
        now += pause
        if isinstance(step, tuple):
            amount, to, session = step
            settings: dict[str, Any] = {"amount": amount, "to": to, "session_id": session}
            before = len(agent.held.claims)
            if agent.holds(now, **settings):
                waiting.append((settings, len(agent.held.claims) - before))
        elif isinstance(step, int) and step < len(waiting):
            settings, claims = waiting.pop(step)
            first = sum(count for _, count in waiting[:step])
            del agent.held.claims[first : first + claims]
            assert agent.rules(now, **settings) == []
