"""Windows against a slow evaluator that keeps every call and is written to be obviously right."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pactstream.pacts import Call, CompiledPact, Judgement, PactState
from tests.pact_calls import DAY, HOUR, MINUTE, SECOND, compiled, window

START = 1_778_630_400 * SECOND
DURATION = 100 * SECOND  # a bucket is one second
BUCKET = SECOND


EDGES = [DURATION // 2, DURATION // 2 + 1, DURATION - 1, DURATION, DURATION + BUCKET - 1]


class One(NamedTuple):
    """A call: when it happened and arrived, in microseconds after the start, and what it adds."""

    at: int
    received: int
    amount: int
    target: str
    session: str

    def call(self, event_id: uuid.UUID | None = None) -> Call:
        return Call(
            event_id or uuid.UUID(int=0),
            "pay",
            json.dumps({"amount": self.amount, "to": self.target}).encode(),
            outcome="success",
            session_id=self.session,
            occurred_at_micros=START + self.at,
            received_at_micros=START + self.received,
        )


def histories(longest_gap: int, most_late: int) -> st.SearchStrategy[list[One]]:
    """Calls in order of arrival; each may have happened up to `most_late` before."""
    step = st.tuples(
        st.one_of(st.integers(0, longest_gap), st.sampled_from([0, BUCKET, *EDGES])),
        st.one_of(st.just(0), st.just(0), st.integers(0, most_late)),
        st.integers(0, 5),
        st.sampled_from("abcdefg"),
        st.sampled_from("st"),
    )

    def timed(steps: list[tuple[int, int, int, str, str]]) -> list[One]:
        now, found = 0, []
        for gap, late, amount, target, session in steps:
            now += gap
            found.append(One(now - late, now, amount, target, session))
        return found

    return st.lists(step, min_size=1, max_size=40).map(timed)


SLIDING = histories(30 * SECOND, 60 * SECOND)


def sliding(limit: int, **members: Any) -> CompiledPact:
    settings_ = {"over": {"sliding": 100}, "allowedLateness": 100, "limit": limit} | members
    return compiled(window(**settings_))


def observed(pact: CompiledPact, history: list[One]) -> list[Judgement]:
    state = PactState()
    return [pact.observe(one.call(uuid.UUID(int=n)), state) for n, one in enumerate(history)]


def placed(history: list[One]) -> list[One]:
    """The history with the times that count: never more than a window's length of buckets before the newest."""
    newest, found = 0, []
    for one in history:
        bucket = (START + one.at) // BUCKET
        newest = max(newest, bucket)
        floor = (newest - 100) * BUCKET - START
        found.append(one._replace(at=max(one.at, floor)))
    return found


def highest(history: list[One], width: int) -> int:
    """The highest sum among all windows of a width that hold the last call and end by the newest."""
    last = history[-1]
    # A window is given by where it begins: with a call, or just after one has left.
    begins = {one.at for one in history if one.at <= last.at}
    return max(
        sum(one.amount for one in history if begin <= one.at < begin + width)
        for begin in begins
        if last.at < begin + width
    )


@settings(max_examples=300, deadline=None)
@given(SLIDING, st.integers(0, 60))
def test_a_sliding_sum_is_exact_but_for_calls_up_to_a_hundredth_older(history: list[One], limit: int) -> None:
    judgements = observed(sliding(limit), history)
    known = placed(history)
    for n, judgement in enumerate(judgements):
        least, most = highest(known[: n + 1], DURATION), highest(known[: n + 1], DURATION + BUCKET)
        if least > limit:
            assert not judgement.verdict.valid
        if most <= limit:
            assert judgement.verdict.valid
        for violation in judgement.verdict.violations:
            assert least <= violation.value <= most


@settings(max_examples=200, deadline=None)
@given(SLIDING)
def test_a_crossing_is_reported_once_and_names_calls_that_came_before(history: list[One]) -> None:
    judgements = observed(sliding(10), history)
    for n, judgement in enumerate(judgements):
        for crossing in judgement.crossings:
            named = [one.int for one in crossing.event_ids]
            assert named[-1] == n
            assert len(set(named)) == len(named) == crossing.calls
            assert max(named) == n
            assert sum(history[one].amount for one in named) == crossing.violation.value
            assert crossing.violation.value - history[n].amount <= 10
        if not judgement.verdict.valid and not judgement.crossings:
            (violation,) = judgement.verdict.violations
            assert violation.value - history[n].amount > 10


@settings(max_examples=200, deadline=None)
@given(SLIDING, st.integers(0, 4))
def test_a_sliding_maximum_is_that_of_the_calls_around(history: list[One], limit: int) -> None:
    judgements = observed(sliding(limit, aggregate="max"), history)
    known = placed(history)
    for n, judgement in enumerate(judgements):
        at = known[n].at
        near = [one.amount for one in known[: n + 1] if abs(one.at - at) < DURATION]
        wider = [one.amount for one in known[: n + 1] if abs(one.at - at) < DURATION + 2 * BUCKET]
        assert max(near) <= limit or not judgement.verdict.valid
        assert max(wider) > limit or judgement.verdict.valid


LIMITS = range(5)
DISTINCT = compiled(
    *(
        window(aggregate="distinct", paramPath="to", over={"sliding": 100}, allowedLateness=100, limit=limit)
        for limit in LIMITS
    )
)
"""The number of its conditions that a call violates is the number of values, up to five."""


@settings(max_examples=400, deadline=None)
@given(histories(50 * SECOND, 0))
def test_distinct_values_are_exact_but_for_those_of_calls_up_to_a_hundredth_older(history: list[One]) -> None:
    for n, judgement in enumerate(observed(DISTINCT, history)):
        now, known = history[n].at, history[: n + 1]
        exact = len({one.target for one in known if now - one.at < DURATION})
        wider = len({one.target for one in known if now - one.at < DURATION + BUCKET})
        assert min(exact, 5) <= len(judgement.verdict.violations) <= min(wider, 5)


@settings(max_examples=300, deadline=None)
@given(histories(50 * SECOND, 60 * SECOND))
def test_late_calls_join_the_distinct_values_of_the_window_that_ends_with_the_newest(
    history: list[One],
) -> None:
    known = placed(history)
    for n, judgement in enumerate(observed(DISTINCT, history)):
        newest = max(one.at for one in known[: n + 1])
        exact = len({one.target for one in known[: n + 1] if newest - one.at < DURATION})
        wider = len({one.target for one in known[: n + 1] if newest - one.at < DURATION + 2 * BUCKET})
        assert min(exact, 5) <= len(judgement.verdict.violations) <= min(wider, 5)


ZONES = ["UTC", "Europe/Madrid", "America/New_York", "Asia/Kathmandu", "Pacific/Apia", "Australia/Lord_Howe"]
CHANGES = [
    datetime(2026, 3, 8, tzinfo=UTC),
    datetime(2026, 3, 29, tzinfo=UTC),
    datetime(2026, 10, 25, tzinfo=UTC),
]


@settings(max_examples=300, deadline=None)
@given(
    histories(9 * HOUR, 3 * HOUR),
    st.sampled_from(ZONES),
    st.sampled_from(CHANGES),
    st.sampled_from(["sum", "distinct"]),
)
def test_calendar_days_are_exact_in_every_zone_also_when_clocks_change(
    history: list[One], zone: str, change: datetime, aggregate: str
) -> None:
    begin = int((change - timedelta(days=1)).timestamp()) * SECOND - START
    history = [one._replace(at=one.at + begin, received=one.received + begin) for one in history]
    over = {"calendar": {"unit": "day", "timeZone": zone}}
    limit = 8 if aggregate == "sum" else 2
    path = "amount" if aggregate == "sum" else "to"
    pact = compiled(window(aggregate=aggregate, paramPath=path, over=over, allowedLateness="PT4H", limit=limit))
    for n, judgement in enumerate(observed(pact, history)):
        days = [_day(one, zone) for one in history[: n + 1]]
        same = [one for one, day in zip(history, days, strict=False) if day == days[n]]
        exact = sum(one.amount for one in same) if aggregate == "sum" else len({one.target for one in same})
        assert judgement.verdict.valid is (exact <= limit)


def _day(one: One, zone: str) -> str:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=START + one.at)
    return moment.astimezone(ZoneInfo(zone)).strftime("%Y-%m-%d")


@settings(max_examples=200, deadline=None)
@given(histories(HOUR, HOUR), st.sampled_from(["agent", "session", "to"]))
def test_each_key_has_its_own_exact_session_or_span(history: list[One], per: str) -> None:
    members: dict[str, Any] = {"per": {"paramPath": "to"}} if per == "to" else {"per": per}
    pact = compiled(window(limit=8, over={"sliding": "P30D"}, allowedLateness="P30D", **members))
    keys: dict[str, Callable[[One], str]] = {
        "agent": lambda one: "",
        "session": lambda one: one.session,
        "to": lambda one: one.target,
    }
    for n, judgement in enumerate(observed(pact, history)):
        key = keys[per]
        exact = sum(one.amount for one in history[: n + 1] if key(one) == key(history[n]))
        assert judgement.verdict.valid is (exact <= 8)


# --- determinism ---

EVERYTHING = [
    window(limit=8, over={"sliding": 100}, allowedLateness=100),
    window(limit=2, aggregate="distinct", paramPath="to", over={"sliding": 100}),
    window(limit=2, aggregate="distinct", paramPath="to", over="session"),
    window(limit=8, per={"paramPath": "to"}, over={"calendar": {"unit": "day", "timeZone": "Asia/Tokyo"}}),
    window(limit=4, aggregate="max", per="session", over={"sliding": 30}),
    {"type": "sequence", "severity": "minor", "sequence": {"forbids": {"tool": "pay", "after": "pay"}}},
    {"type": "escalate", "severity": "critical", "escalate": {"from": "major", "times": 3, "within": 60}},
]


@settings(max_examples=150, deadline=None)
@given(histories(2 * MINUTE, 2 * MINUTE), st.sets(st.integers(0, 40)), st.booleans())
def test_cutting_anywhere_and_restoring_changes_nothing(
    history: list[One], cuts: set[int], whole: bool
) -> None:
    pact = compiled(*EVERYTHING)
    undisturbed, state = PactState(), PactState()
    changelog: dict[str, bytes | None] = {}
    for n, one in enumerate(history):
        call = one.call(uuid.UUID(int=n))
        expected = pact.observe(call, undisturbed).verdict
        assert pact.weigh(call, state).verdict == expected
        assert pact.observe(call, state).verdict == expected
        if n in cuts:
            for name, record in state.drain(START + one.received):
                changelog.pop(name, None)  # as a compacted topic keeps it: the last record, in its place
                changelog[name] = record
            state = PactState.load(state.dump()) if whole else PactState()
            if not whole:
                for name, record in changelog.items():
                    state.restore(name, record)
    end = START + history[-1].received
    changelog |= dict(state.drain(end))
    expected_records = dict(undisturbed.drain(end))
    assert _present(changelog) == _present(expected_records)


def _present(records: dict[str, bytes | None]) -> dict[str, bytes]:
    return {name: record for name, record in records.items() if record is not None}


@settings(max_examples=100, deadline=None)
@given(histories(2 * MINUTE, 2 * MINUTE))
def test_a_dump_is_the_state_exactly(history: list[One]) -> None:
    pact, state = compiled(*EVERYTHING), PactState()
    for n, one in enumerate(history):
        pact.observe(one.call(uuid.UUID(int=n)), state)
    again = PactState.load(state.dump())
    assert again.dump() == state.dump()
    last = history[-1]._replace(at=history[-1].at + 1, received=history[-1].received + 1)
    assert pact.observe(last.call(), again).verdict == pact.observe(last.call(), state).verdict
    assert again.dump() == state.dump()


# --- bounds ---


@pytest.mark.parametrize("aggregate", ["sum", "max", "distinct"])
@pytest.mark.parametrize(
    "over", [{"sliding": "P1D"}, {"calendar": {"unit": "day", "timeZone": "UTC"}}, "session"]
)
def test_state_stays_below_64_kib_however_many_calls(aggregate: str, over: Any) -> None:
    """Twenty thousand calls fill all that is ever kept; a million (in the bench) take no more."""
    limit = "1000" if aggregate == "distinct" else "1" * 60
    pact, state = compiled(window(aggregate=aggregate, over=over, limit=limit)), PactState()
    sizes = []
    for n in range(20_000):
        at = n * 3 * DAY // 20_000
        amount = f"{n}{'7' * 40}.{n:05}"
        call = Call(
            uuid.UUID(int=n),
            "pay",
            json.dumps({"amount": amount}).encode(),
            outcome=None,
            session_id="s",
            occurred_at_micros=START + at,
        )
        pact.observe(call, state)
        if n % 2_000 == 1_999:
            sizes.append(len(state.dump()))
    assert max(sizes) < 64 * 1024
    assert len(state) == 1


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.decimals(0, 10**30, places=20, allow_nan=False, allow_infinity=False), min_size=1, max_size=30)
)
def test_sums_are_exact(amounts: list[Decimal]) -> None:
    state, pact = PactState(), compiled(window(limit=0))
    total = Fraction(0)
    for n, amount in enumerate(amounts):
        total += Fraction(amount)
        params = json.dumps({"amount": format(amount, "f")}).encode()
        call = Call(
            uuid.UUID(int=n),
            "pay",
            params,
            outcome=None,
            session_id=None,
            occurred_at_micros=START + n * SECOND,
        )
        violations = pact.observe(call, state).verdict.violations
        assert [Fraction(one.value) for one in violations] == ([total] if total else [])
