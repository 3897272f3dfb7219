"""Windows: what counts, when it counts, what a crossing says."""

from __future__ import annotations

import uuid
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from pactstream.pacts import Judgement, PactState
from tests.pact_calls import DAY, HOUR, MINUTE, NOON, SECOND, Agent, call, compiled, rules, window


def figures(judgement: Judgement) -> list[Any]:
    return [violation.value for violation in judgement.verdict.violations]


def test_the_call_that_crosses_is_a_violation_and_lists_what_led_to_it() -> None:
    agent = Agent(window("critical", limit="1000"))
    ids = [uuid.uuid4() for _ in range(3)]
    assert agent.rules(0, event_id=ids[0], amount=600) == []
    assert agent.rules(MINUTE, event_id=ids[1], amount="400.00") == []
    judgement = agent.does(2 * MINUTE, event_id=ids[2], amount="0.000000000000000000000000000000000000001")
    verdict = judgement.verdict
    assert (verdict.valid, verdict.bound, verdict.severity) == (False, True, "critical")
    (violation,) = verdict.violations
    assert (violation.param_path, violation.rule, violation.expected) == ("amount", "window", "1000")
    assert violation.value == Decimal("1000.000000000000000000000000000000000000001")
    assert violation.message.startswith("The sum of amount over PT1H is 1000.00")
    assert violation.message.endswith(", above the limit of 1000.")
    (crossing,) = judgement.crossings
    assert (crossing.condition, crossing.violation) == (0, violation)
    assert (crossing.calls, crossing.event_ids) == (3, tuple(ids))


def test_every_call_beyond_the_limit_is_a_violation_but_only_the_first_crosses() -> None:
    agent = Agent(window(limit=10))
    found = [agent.does(at, amount=6) for at in range(4)]
    assert [rules(one) for one in found] == [[], ["window"], ["window"], ["window"]]
    assert [len(one.crossings) for one in found] == [0, 1, 0, 0]
    later = agent.does(3 * HOUR, amount=6)
    assert later.verdict.valid
    again = agent.does(3 * HOUR, amount=6)
    assert [one.calls for one in again.crossings] == [2]


def test_a_limit_that_is_reached_exactly_holds() -> None:
    agent = Agent(window(limit="0.3"))
    assert agent.rules(amount="0.1") == []
    assert agent.rules(amount="0.2") == []  # with binary floats 0.30000000000000004
    assert agent.rules(amount="0") == []


@pytest.mark.parametrize(
    ("aggregate", "limit", "calls", "expected"),
    [
        ("sum", 10, [{"amount": 5}, {"amount": 5}, {"amount": 1}], [[], [], [11]]),
        (
            "count",
            2,
            [{"amount": 5}, {"amount": 5}, {}, {"amount": None}, {"amount": 1}],
            [[], [], [], [], [3]],
        ),
        ("max", 9, [{"amount": -5}, {"amount": 9}, {"amount": "9.5"}], [[], [], [Decimal("9.5")]]),
        (
            "distinct",
            2,
            [{"amount": "a"}, {"amount": "b"}, {"amount": "a"}, {"amount": 1.0}, {"amount": "1"}],
            [[], [], [], [3], [3]],
        ),
    ],
)
def test_each_aggregate(aggregate: str, limit: int, calls: list[Any], expected: list[Any]) -> None:
    agent = Agent(window(aggregate=aggregate, limit=limit))
    assert [figures(agent.does(at, **params)) for at, params in enumerate(calls)] == expected


def test_count_without_a_path_counts_calls_of_all_its_tools_and_of_no_other() -> None:
    agent = Agent(window(aggregate="count", paramPath=None, tools=["pay", "batch"], limit=1))
    assert agent.rules(0, "pay") == []
    assert agent.rules(0, "other") == []
    judgement = agent.does(0, "batch")
    assert figures(judgement) == [2]
    assert "number of calls of batch, pay over PT1H is 2" in judgement.verdict.violations[0].message


def test_every_element_of_an_array_counts() -> None:
    agent = Agent(window(paramPath="items[*].price", limit=10))
    assert agent.rules(items=[{"price": 4}, {"price": 6}, {}, {"price": None}]) == []
    assert agent.rules(items=[]) == []
    assert agent.rules(items=[{"price": "0.01"}]) == ["window"]


def test_only_the_outcomes_named_count() -> None:
    agent = Agent(window(aggregate="count", paramPath=None, limit=1, outcomes=["success", "error"]))
    outcomes = ["denied", "success", "refused", None, "error", "denied"]
    assert [agent.rules(outcome=outcome) for outcome in outcomes] == [[], [], [], [], ["window"], []]


def test_two_limits_on_one_measure_are_one_measure() -> None:
    agent = Agent(window("minor", limit=5), window("critical", limit=10))
    found = [agent.does(at, amount=4) for at in range(3)]
    assert [[one.severity for one in judgement.verdict.violations] for judgement in found] == [
        [],
        ["minor"],
        ["minor", "critical"],
    ]
    assert [[one.condition for one in judgement.crossings] for judgement in found] == [[], [0], [1]]
    assert len(agent.state) == 1


@pytest.mark.parametrize(
    ("amount", "message"),
    [
        ("1e3", 'amount is "1e3", which is not a number in plain decimal notation'),
        (True, "amount is true, which is not a number"),
        ([1], "amount is an array, which is not a number"),
        (-1, "amount is -1, and a negative amount cannot be added up"),
        ("-0.01", "a negative amount cannot be added up"),
        (10**100, "amount has more than the 100 digits"),
        ("0." + "0" * 100 + "1", "amount has more than the 100 digits"),
    ],
)
def test_what_cannot_be_measured_is_a_violation_and_does_not_count(amount: Any, message: str) -> None:
    agent = Agent(window(limit=10))
    (violation,) = agent.does(amount=amount).verdict.violations
    assert (violation.param_path, violation.rule) == ("amount", "window")
    assert message in violation.message
    assert violation.message.endswith(", so a window cannot be kept.")
    assert agent.rules(amount=10) == []


def test_a_path_that_cannot_be_followed_is_a_violation() -> None:
    agent = Agent(window(paramPath="a.b[*]", limit=10))
    assert agent.rules(a={"b": [1]}) == []
    (violation,) = agent.does(a=7).verdict.violations
    assert violation.message == ("a.b[*] cannot be reached, because a is a number, so a window cannot be kept.")
    (violation,) = agent.does(a={"b": [1] * 1001}).verdict.violations
    assert "a.b is an array of more than 1000 elements" in violation.message


@pytest.mark.parametrize(
    "params", [b"[]", b"{", b'{"amount": 1, "amount": 2}', b'{"amount": NaN}', b'{"amount": 1}' + b" " * 65_536]
)
def test_parameters_that_cannot_be_read_are_one_violation_and_do_not_count(params: bytes) -> None:
    agent = Agent(window(limit=10), window(limit=10, per={"paramPath": "to"}))
    assert agent.rules(params=params) == ["params"]
    assert len(agent.state) == 0


def test_a_number_of_any_magnitude_within_bounds_is_summed_exactly() -> None:
    huge, tiny = "9" * 99, "0." + "0" * 98 + "1"
    agent = Agent(window(limit=huge))
    assert agent.rules(amount=huge) == []
    assert agent.rules(amount=tiny) == ["window"]


# --- per what ---


def test_sessions_have_windows_of_their_own() -> None:
    agent = Agent(window(limit=10, per="session"))
    assert [agent.rules(session_id=one, amount=6) for one in ("a", "b", "a", "c")] == [[], [], ["window"], []]


@pytest.mark.parametrize("blank", [None, "", " ", "\t\n"])
@pytest.mark.parametrize("members", [{"per": "session"}, {"over": "session"}])
def test_a_call_without_a_session_is_a_violation_of_its_own_and_shares_nothing(
    blank: str | None, members: dict[str, Any]
) -> None:
    agent = Agent(window("minor", limit=10, **members))
    for _ in range(3):
        (violation,) = agent.does(session_id=blank, amount=1).verdict.violations
        assert (violation.rule, violation.severity) == ("session", "minor")
    assert len(agent.state) == 0


def test_values_of_a_parameter_have_windows_of_their_own() -> None:
    agent = Agent(window(limit=10, per={"paramPath": "to"}))
    targets = ["a", "b", "a", 1, "1", "b"]
    assert [agent.rules(to=one, amount=6) for one in targets] == [
        [],
        [],
        ["window"],
        [],
        ["window"],
        ["window"],
    ]


@pytest.mark.parametrize(("to", "reason"), [(None, "is missing or null"), ([1], "is an array without a text")])
def test_a_call_that_names_no_value_is_a_violation(to: Any, reason: str) -> None:
    (violation,) = Agent(window(limit=10, per={"paramPath": "to"})).does(to=to, amount=1).verdict.violations
    assert (violation.param_path, violation.rule) == ("to", "window")
    assert reason in violation.message


def test_beyond_a_thousand_values_further_ones_share_a_window_and_say_so() -> None:
    agent = Agent(window(limit=10, per={"paramPath": "to"}))
    assert not any(agent.rules(n, to=f"v{n}", amount=6) for n in range(1_000))
    assert agent.rules(1_000, to="x", amount=6) == []
    judgement = agent.does(1_001, to="y", amount=6)
    assert "too many to keep apart" in judgement.verdict.violations[0].message
    assert agent.rules(1_002, to="v0", amount=6) == ["window"]
    assert len(agent.state) == 1_001
    # Once the first values have expired, a new one has its own again.
    assert agent.rules(3 * HOUR, to="y", amount=6) == []
    assert agent.rules(3 * HOUR, to="z", amount=6) == []


def test_the_sessions_judged_longest_ago_are_forgotten() -> None:
    agent = Agent(window(limit=10, over="session"))
    for n in range(4_097):
        assert agent.rules(n, session_id=f"s{n}", amount=6) == []
    assert len(agent.state) == 4_096
    assert agent.rules(5_000, session_id="s4096", amount=6) == ["window"]
    assert agent.rules(5_000, session_id="s0", amount=6) == []


# --- over what ---


def test_a_sliding_window_forgets_at_its_length_or_at_most_a_hundredth_later() -> None:
    for later, expected in [(HOUR - 1, ["window"]), (HOUR + HOUR // 100, [])]:
        agent = Agent(window(limit=10))
        agent.does(0, amount=10)
        assert agent.rules(later, amount=1) == expected


def test_a_session_window_lasts_as_long_as_the_session() -> None:
    agent = Agent(window(limit=10, over="session"))
    assert agent.rules(0, amount=6) == []
    assert agent.rules(6 * DAY, amount=1) == []
    assert agent.rules(12 * DAY, amount=4) == ["window"]
    assert agent.rules(20 * DAY, amount=6) == []  # forgotten after a week of silence


CALENDAR = {"calendar": {"unit": "day", "timeZone": "Europe/Madrid"}}


def test_a_calendar_day_is_that_of_its_time_zone() -> None:
    # NOON is 12:00 UTC, 14:00 in Madrid: its day ends ten hours later.
    agent = Agent(window(limit=10, over=CALENDAR))
    assert agent.rules(0, amount=10) == []
    assert agent.rules(10 * HOUR - 1, amount=1) == ["window"]
    assert agent.rules(10 * HOUR, amount=10) == []
    # A late call still counts in its own day.
    judgement = agent.does(10 * HOUR - 1, amount=1, received=10 * HOUR + 5 * MINUTE)
    assert figures(judgement) == [12]
    assert "in a day of Europe/Madrid" in judgement.verdict.violations[0].message


@pytest.mark.parametrize(
    ("midnight", "hours"),
    [
        ("2026-03-29", 23),  # clocks go forward
        ("2026-10-25", 25),  # and back
        ("2026-05-13", 24),
    ],
)
def test_days_on_which_clocks_change_are_shorter_or_longer(midnight: str, hours: int) -> None:
    start = int(datetime.fromisoformat(midnight).replace(tzinfo=ZoneInfo("Europe/Madrid")).timestamp())
    begin = start * SECOND - NOON
    for at, expected in [(hours * HOUR - 1, ["window"]), (hours * HOUR, [])]:
        agent = Agent(window(limit=10, over=CALENDAR))
        agent.does(begin, amount=10)
        assert agent.rules(begin + at, amount=1) == expected
    agent = Agent(window(limit=10, over=CALENDAR))
    agent.does(begin - 1, amount=10)
    assert agent.rules(begin, amount=1) == []


# --- lateness ---


def test_a_call_cannot_be_dated_out_of_its_window() -> None:
    agent = Agent(window(limit=10))
    agent.does(0, amount=10)
    for named in (-365 * DAY, -2 * HOUR, 365 * DAY):
        assert agent.rules(named, received=MINUTE, amount=1) == ["window"]


def test_lateness_is_allowed_as_far_as_the_window_says() -> None:
    for lateness, expected in [("PT10M", ["window"]), ("PT40M", [])]:
        agent = Agent(window(limit=10, over=CALENDAR, allowedLateness=lateness))
        agent.does(10 * HOUR, amount=10)  # just after midnight in Madrid
        late = agent.rules(10 * HOUR - MINUTE, received=10 * HOUR + 30 * MINUTE, amount=1)
        assert late == expected  # in the new day, or in the one that it names


def test_a_call_further_out_of_order_than_a_window_is_long_counts_at_its_far_end() -> None:
    agent = Agent(window(limit=10, allowedLateness="PT3H"))
    agent.does(3 * HOUR, amount=10)
    assert agent.rules(HOUR, received=3 * HOUR, amount=1) == ["window"]
    assert agent.rules(4 * HOUR + 36 * SECOND, amount=10) == []


def test_a_late_call_counts_in_every_window_that_it_belongs_to() -> None:
    agent = Agent(window(limit=10, allowedLateness="PT2H"))
    agent.does(0, amount=9)
    agent.does(80 * MINUTE, amount=9)
    # In the hour after 30 minutes stand 9 and 2, and so they do in the hour before.
    judgement = agent.does(30 * MINUTE, amount=2, received=81 * MINUTE)
    assert figures(judgement) == [11]
    assert [one.calls for one in judgement.crossings] == [2]
    # What is judged late is remembered in its place.
    assert figures(agent.does(85 * MINUTE, amount=2)) == [13]
    assert agent.rules(95 * MINUTE, amount="0.5") == ["window"]


def test_calls_that_arrive_after_an_outage_in_their_order_count_at_their_own_times() -> None:
    agent = Agent(window(aggregate="count", paramPath=None, over={"sliding": 60}, limit=10))
    assert not any(agent.rules(n * 10 * SECOND, received=20 * MINUTE) for n in range(60))


def test_a_late_value_is_forgotten_in_its_turn() -> None:
    agent = Agent(window(aggregate="distinct", limit=2, over={"sliding": 100}))
    assert agent.rules(60 * SECOND, amount="a") == []
    assert agent.rules(20 * SECOND, received=61 * SECOND, amount="b") == []
    assert agent.rules(125 * SECOND, amount="c") == []
    assert agent.rules(126 * SECOND, amount="d") == ["window"]


# --- looking without recording, and remembering ---


def test_weighing_remembers_nothing() -> None:
    pact, state = compiled(window(limit=10)), PactState()
    pact.observe(call(0, amount=9), state)
    before = state.dump()
    for _ in range(2):
        assert rules(pact.weigh(call(1, amount=2), state)) == ["window"]
        assert rules(pact.weigh(call(1, amount=1), state)) == []
    assert state.dump() == before


def test_an_unrelated_edit_or_another_limit_does_not_reset_a_budget() -> None:
    state = PactState()
    compiled(window(limit=10), version=1).observe(call(0, amount=9), state)
    edited = {"type": "param_binding", "severity": "info", "parameterBinding": {"tool": "pay", "rules": []}}
    second = compiled(edited, window("critical", limit=5), version=2)
    assert rules(second.observe(call(1, amount=1), state)) == ["window"]
    other_tool = compiled(window(limit=5, tools=["pay", "batch"]), version=3)
    assert rules(other_tool.observe(call(2, amount=1), state)) == []


def test_pacts_do_not_share_a_budget() -> None:
    state = PactState()
    compiled(window(limit=10), pact_id="one").observe(call(0, amount=9), state)
    assert rules(compiled(window(limit=10), pact_id="two").observe(call(1, amount=9), state)) == []


def test_a_distinct_window_with_another_limit_begins_anew() -> None:
    """It remembers no more values than its limit needs, so the lower limit's memory would count too low."""
    state = PactState()
    for n in range(5):
        compiled(window(aggregate="distinct", limit=2)).observe(call(n, amount=n), state)
    judgement = compiled(window(aggregate="distinct", limit=3)).observe(call(9, amount=9), state)
    assert judgement.verdict.valid


def test_a_crossing_lists_a_hundred_calls_and_counts_all() -> None:
    agent = Agent(window(limit=1_000))
    ids = [uuid.uuid4() for _ in range(1_001)]
    found = [agent.does(n, event_id=one, amount=1) for n, one in enumerate(ids)]
    (crossing,) = found[-1].crossings
    assert crossing.calls == 1_001
    assert crossing.event_ids == (*ids[:99], ids[-1])
    assert not any(one.crossings for one in found[:-1])


def test_a_pact_without_memory_says_so() -> None:
    rule = {"type": "param_binding", "severity": "major", "parameterBinding": {"tool": "pay", "rules": []}}
    pact = compiled(rule)
    assert not pact.stateful
    assert compiled(window(limit=1)).stateful
    judgement = pact.observe(call(), PactState())
    assert judgement.verdict == pact.judge("pay", b"{}")


def test_the_names_of_what_is_remembered_never_change() -> None:
    """They are keys in every changelog: a change would reset every budget at an upgrade."""
    agent = Agent(window(limit=10, per={"paramPath": "to"}))
    agent.does(to="x", amount=1)
    assert [name for name, _ in agent.state.drain(NOON)] == [
        "3f9fb3240dd882b75fce9ca6cd20cab2/eaff949259ee4725d2eef37d575fcb37"
    ]
