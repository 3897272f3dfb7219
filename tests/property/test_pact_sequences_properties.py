"""Sequences and escalation against a slow evaluator that looks through the whole history."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from pactstream.pacts import SEVERITIES, Call, PactState
from tests.pact_calls import MINUTE, NOON, SECOND, compiled, escalate, sequence

WITHIN = 60 * SECOND
MADE = ["success", "error"]


class One(NamedTuple):
    at: int
    tool: str
    outcome: str
    session: str | None

    def call(self) -> Call:
        return Call(
            uuid.UUID(int=0),
            self.tool,
            b"{}",
            outcome=self.outcome,
            session_id=self.session,
            occurred_at_micros=NOON + self.at,
        )


def _timed(steps: list[tuple[int, str, str, str | None]]) -> list[One]:
    now, found = 0, []
    for gap, tool, outcome, session in steps:
        now += gap
        found.append(One(now, tool, outcome, session))
    return found


HISTORIES = st.lists(
    st.tuples(
        st.sampled_from([0, SECOND, 30 * SECOND, WITHIN, WITHIN + 1, 5 * MINUTE]),
        st.sampled_from("abc"),
        st.sampled_from(["success", "error", "denied", "refused"]),
        st.sampled_from(["s", "t", "s", "t", None, " "]),
    ),
    max_size=30,
).map(_timed)

PACT = compiled(
    sequence("minor", requires={"tool": "a", "after": "b"}),
    sequence("major", requires={"tool": "a", "after": "b", "within": 60, "per": "agent"}),
    sequence("info", forbids={"tool": "c", "after": "a"}),
    sequence("major", forbids={"tool": "c", "after": "c", "within": 60}),
    sequence("info", maxConsecutiveErrors=1),
    sequence("minor", maxConsecutiveErrors=0, tools=["b"]),
    escalate("critical", **{"from": "major", "times": 3, "within": 60}),
)


RULES: list[tuple[str, str, str, Callable[[list[One], One], bool]]] = [
    # rule, severity, the tools it concerns, and whether a call breaks it after those of the same session
    ("requires", "minor", "ab", lambda mine, last: last.tool == "a" and not _called(mine, "b", ["success"])),
    ("forbids", "info", "ac", lambda mine, last: last.tool == "c" and _called(mine, "a", MADE)),
    ("forbids", "major", "c", lambda mine, last: _called(_recent(mine, last), "c", MADE)),
    ("maxConsecutiveErrors", "info", "abc", lambda mine, last: _errors(mine, last, "abc") > 1),
    ("maxConsecutiveErrors", "minor", "b", lambda mine, last: _errors(mine, last, "b") > 0),
]


def expected(history: list[One]) -> list[tuple[str, str]]:
    """What is wrong with the last call of a history, from the text of docs/pacts.md; escalation apart."""
    *earlier, last = history
    mine = [one for one in earlier if one.session == last.session]
    blank = last.session is None or not last.session.strip()
    found = [
        ("session" if blank else rule, severity)
        for rule, severity, tools, breaks in RULES
        if last.tool in tools and (blank or breaks(mine, last))
    ]
    if last.tool == "a" and not _called(_recent(earlier, last), "b", ["success"]):
        found.append(("requires", "major"))
    return found


def _recent(history: list[One], last: One) -> list[One]:
    return [one for one in history if last.at - one.at <= WITHIN]


def _called(history: list[One], tool: str, outcomes: list[str]) -> bool:
    return any(one.tool == tool and one.outcome in outcomes for one in history)


def _errors(mine: list[One], last: One, tools: str) -> int:
    """How many errors in a row end with the last call."""
    made = [one.outcome for one in (*mine, last) if one.tool in tools and one.outcome in MADE]
    if last.outcome != "error":
        return 0
    return next((n for n, outcome in enumerate(reversed(made)) if outcome == "success"), len(made))


@settings(max_examples=500, deadline=None)
@given(HISTORIES, st.sets(st.integers(0, 30)))
def test_sequences_and_escalation_are_what_the_whole_history_says(history: list[One], cuts: set[int]) -> None:
    state = PactState()
    grave: list[int] = []
    for n, one in enumerate(history):
        if n in cuts:
            state = PactState.load(state.dump())
        verdict = PACT.observe(one.call(), state).verdict
        wanted = expected(history[: n + 1])
        severity = min((severity for _, severity in wanted), key=SEVERITIES.index, default=None)
        if severity == "major":
            grave.append(one.at)
            if sum(one.at - at <= WITHIN for at in grave) >= 3:
                wanted.append(("escalate", "critical"))
                severity = "critical"
        assert sorted((found.rule, found.severity) for found in verdict.violations) == sorted(wanted)
        assert verdict.severity == severity
        assert verdict.bound
