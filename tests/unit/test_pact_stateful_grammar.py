"""Windows, sequences, escalations and objectives as documents: what is read, what is refused and where."""

from __future__ import annotations

import copy
import json
from decimal import Decimal
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from pactstream import schema_files
from pactstream.pacts import PactError, parse_pact
from pactstream.pacts.model import (
    CalendarDay,
    ErrorRun,
    Escalation,
    Measure,
    Objectives,
    Order,
    Sliding,
    WholeSession,
    Window,
)
from tests.pact_calls import DAY, HOUR, MINUTE, SECOND, document, escalate, sequence, window

FULL = document(
    window(
        tools=["pay", "batch"],
        per={"paramPath": "vendor.id"},
        over={"calendar": {"unit": "day", "timeZone": "Europe/Madrid"}},
        outcomes=["success", "error"],
        limit="1000.50",
        allowedLateness="PT10M",
    ),
    window(aggregate="count", paramPath=None, per="session", over="session", limit=3),
    window(aggregate="distinct", paramPath="to", over={"sliding": 90}, limit=1000),
    sequence(requires={"tool": "pay", "after": "verify", "within": "P1DT1H", "per": "agent"}),
    sequence(forbids={"tool": "send", "after": "read"}),
    sequence(maxConsecutiveErrors=2, tools=["pay"]),
    escalate(**{"from": "major", "times": 3, "within": "PT1H"}),
    objectives={"latencyP95Ms": 800, "allowedModels": ["m-2", "m-1"], "tokensPerSession": 50_000},
)


def faults(*conditions: dict[str, Any], **members: Any) -> list[tuple[str, str]]:
    with pytest.raises(PactError) as caught:
        parse_pact(json.dumps(document(*conditions, **members)).encode())
    return [(detail.path.removeprefix("conditions[0]."), detail.message) for detail in caught.value.details]


def test_every_kind_of_condition_is_read_into_its_model() -> None:
    pact = parse_pact(json.dumps(FULL).encode())
    day = Measure(
        aggregate="sum",
        tools=("batch", "pay"),
        path=("amount",),
        per_session=False,
        per_path=("vendor", "id"),
        span=CalendarDay("Europe/Madrid"),
        outcomes=("error", "success"),
        lateness_micros=10 * MINUTE,
    )
    session = Measure("count", ("pay",), None, True, None, WholeSession(), None, HOUR)
    sliding = Measure("distinct", ("pay",), ("to",), False, None, Sliding(90 * SECOND, "90 s"), None, HOUR)
    verify = {"tool": "pay", "after": "verify", "within": "P1DT1H", "per": "agent"}
    read = {"tool": "send", "after": "read"}
    assert pact.conditions == (
        Window("major", day, Decimal("1000.50"), "1000.50"),
        Window("major", session, Decimal(3), 3),
        Window("major", sliding, Decimal(1000), 1000),
        Order("major", False, "pay", "verify", DAY + HOUR, False, verify),
        Order("major", True, "send", "read", None, True, read),
        ErrorRun("major", 2, ("pay",)),
        Escalation("critical", "major", 3, HOUR, {"from": "major", "times": 3, "within": "PT1H"}),
    )
    assert pact.objectives == Objectives(800, ("m-1", "m-2"), 50_000)
    assert parse_pact(document(window(limit=1))).objectives is None


ONE_OF_OVER = "must have exactly one of sliding, calendar"
DURATION = "must be a duration from PT1S to P366D, such as PT1H30M, or seconds"
NUMBER = 'must be a number, or a plain decimal such as "1000.50"'


@pytest.mark.parametrize(
    ("condition", "path", "message"),
    [
        (window(), "window.limit", "is missing"),
        (window(limit=1, paramPath=None), "window.paramPath", "is missing"),
        (
            window(limit=1, paramPath="a["),
            "window.paramPath",
            "expected a key, [*] or an index such as [0] at position 1",
        ),
        (window(limit="1e3"), "window.limit", NUMBER),
        (window(limit=-1), "window.limit", "must not be negative"),
        (window(limit="1.5", aggregate="count"), "window.limit", "must be a whole number for count"),
        (window(limit=1001, aggregate="distinct"), "window.limit", "may be 1000 at most for distinct"),
        (window(limit=1, aggregate="mean"), "window.aggregate", "must be one of sum, count, distinct, max"),
        (window(limit=1, tools=[]), "window.tools", "must not be empty"),
        (window(limit=1, tools="pay"), "window.tools", "must be of type array"),
        (
            window(limit=1, outcomes=["ok"]),
            "window.outcomes[0]",
            "must be one of success, error, denied, refused",
        ),
        (window(limit=1, per="user"), "window.per", "must be one of agent, session"),
        (window(limit=1, per={}), "window.per.paramPath", "is missing"),
        (
            window(limit=1, per={"paramPath": "a[*]"}),
            "window.per.paramPath",
            "must name one value, without [*]",
        ),
        (window(limit=1, over="day"), "window.over", "must be one of session"),
        (window(limit=1, over={}), "window.over", ONE_OF_OVER),
        (
            window(limit=1, over={"sliding": 60, "calendar": {"unit": "day", "timeZone": "UTC"}}),
            "window.over",
            ONE_OF_OVER,
        ),
        (window(limit=1, over={"sliding": "1h"}), "window.over.sliding", DURATION),
        (window(limit=1, over={"sliding": "P1M"}), "window.over.sliding", DURATION),
        (window(limit=1, over={"sliding": "PT0.5S"}), "window.over.sliding", DURATION),
        (window(limit=1, over={"sliding": "P99999999999999D"}), "window.over.sliding", DURATION),
        (window(limit=1, over={"sliding": 0}), "window.over.sliding", DURATION),
        (window(limit=1, over={"sliding": 31_622_401}), "window.over.sliding", DURATION),
        (window(limit=1, allowedLateness="-PT1H"), "window.allowedLateness", DURATION),
        (
            window(limit=1, over="session", per={"paramPath": "to"}),
            "window.per",
            "must not name a parameter where over is session",
        ),
        (
            window(limit=1) | {"sequence": {"maxConsecutiveErrors": 1}},
            "sequence",
            "does not belong to a condition of this type",
        ),
        ({"type": "window", "severity": "major"}, "window", "is missing"),
        (sequence(), "sequence", "must have exactly one of requires, forbids, maxConsecutiveErrors"),
        (
            sequence(maxConsecutiveErrors=1, forbids={"tool": "a", "after": "b"}),
            "sequence",
            "must have exactly one of requires, forbids, maxConsecutiveErrors",
        ),
        (
            sequence(forbids={"tool": "a", "after": "b"}, tools=["a"]),
            "sequence",
            "tools may stand only beside maxConsecutiveErrors",
        ),
        (sequence(maxConsecutiveErrors=-1), "sequence.maxConsecutiveErrors", "must be 0 at least"),
        (sequence(requires={"tool": "a"}), "sequence.requires.after", "is missing"),
        (
            sequence(requires={"tool": "a", "after": "a"}),
            "sequence.requires.after",
            "is the tool itself, which could then never be called",
        ),
        (
            sequence(forbids={"tool": "a", "after": "b", "per": "agent"}),
            "sequence.forbids.within",
            "is missing: it is due where per is agent",
        ),
        (escalate(times=2, within=60), "escalate.from", "is missing"),
        (
            escalate(**{"from": "critical", "times": 2, "within": 60}),
            "escalate.from",
            "must be one of major, minor, info",
        ),
        (escalate(**{"from": "minor", "times": 1, "within": 60}), "escalate.times", "must be 2 at least"),
        (escalate(**{"from": "minor", "times": 101, "within": 60}), "escalate.times", "must be 100 at most"),
        (
            escalate("minor", **{"from": "minor", "times": 2, "within": 60}),
            "severity",
            "must be graver than minor, which it replaces",
        ),
    ],
)
def test_a_fault_is_named_by_its_path(condition: dict[str, Any], path: str, message: str) -> None:
    assert faults(condition) == [(path, message)]


@pytest.mark.parametrize(
    "zone", ["Mars/Olympus", "CEST", "localtime", "../../etc/passwd", "/etc/localtime", ""]
)
def test_a_time_zone_is_an_iana_name(zone: str) -> None:
    over = {"calendar": {"unit": "day", "timeZone": zone}}
    message = "is not an IANA time zone such as Europe/Madrid, or UTC"
    assert faults(window(limit=1, over=over)) == [("window.over.calendar.timeZone", message)]


@pytest.mark.parametrize(
    ("objectives", "path", "message"),
    [
        ({}, "objectives", "must not be empty"),
        ({"latencyP95Ms": 0}, "objectives.latencyP95Ms", "must be 1 at least"),
        ({"allowedModels": []}, "objectives.allowedModels", "must not be empty"),
        ({"tokensPerSession": "many"}, "objectives.tokensPerSession", "must be of type integer"),
        ({"latency": 5}, "objectives.latency", "is not a known member"),
    ],
)
def test_a_fault_in_objectives_is_named_by_its_path(objectives: Any, path: str, message: str) -> None:
    assert faults(window(limit=1), objectives=objectives) == [(path, message)]


def test_faults_of_meaning_are_reported_beside_those_of_structure() -> None:
    found = faults(
        window(limit=-1), window(limit=1, aggregate="mean"), sequence(requires={"tool": "a", "after": "a"})
    )
    assert [path for path, _ in found] == [
        "conditions[1].window.aggregate",
        "window.limit",
        "conditions[2].sequence.requires.after",
    ]


def test_more_faults_than_are_listed_do_not_hide_what_is_broken() -> None:
    broken = [{"type": "window", "severity": "x", "window": {"a": 1, "b": 2}} for _ in range(60)]
    found = faults(*broken, {"type": "sequence"}, {"type": "window"})
    assert len(found) == 100


def test_schema_and_parser_refuse_the_same_documents() -> None:
    validator = Draft202012Validator(json.loads(schema_files.read_text("pact.schema.json")))
    assert validator.is_valid(FULL)
    spoilt = list(_each_member_spoilt(FULL))
    assert len(spoilt) > 80
    for one in spoilt:
        assert not validator.is_valid(one), one
        with pytest.raises(PactError):
            parse_pact(json.dumps(one).encode())


def _each_member_spoilt(whole: dict[str, Any]) -> list[dict[str, Any]]:
    """Copies of the document with null in one place each, and with one more member in each object."""
    copies: list[dict[str, Any]] = []

    def visit(value: Any, steps: tuple[Any, ...]) -> None:
        if steps:
            spoilt = copy.deepcopy(whole)
            _at(spoilt, steps[:-1])[steps[-1]] = None
            copies.append(spoilt)
        if isinstance(value, dict):
            extended = copy.deepcopy(whole)
            _at(extended, steps)["extra"] = 1
            copies.append(extended)
        inner = (
            value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        )
        for key, one in inner:
            visit(one, (*steps, key))

    visit(whole, ())
    return copies


def _at(value: Any, steps: tuple[Any, ...]) -> Any:
    for step in steps:
        value = value[step]
    return value
