"""Reads the conditions that look at more than one call, and what changes no verdict."""

from __future__ import annotations

import zoneinfo
from decimal import Decimal
from functools import cache
from typing import Any, Final

from pactstream.pacts.model import (
    CalendarDay,
    ErrorRun,
    Escalation,
    Evaluator,
    Measure,
    Objectives,
    Order,
    Sliding,
    Span,
    WholeSession,
    Window,
)
from pactstream.pacts.paths import EACH, Path
from pactstream.pacts.reading import UNKNOWN_PATH, Reader, shown
from pactstream.pacts.verdict import SEVERITIES

MAX_DISTINCT: Final = 1_000
"""The highest limit of a `distinct` window: so many values and one more are remembered, exactly."""

DEFAULT_LATENESS_MICROS: Final = 3_600_000_000


def read_window(reader: Reader, condition: Any, path: str) -> Window:
    """A condition of type `window`."""
    window, at = condition["window"], f"{path}.window"
    per = window.get("per", "agent")
    measure = Measure(
        aggregate=window["aggregate"],
        tools=_names(window["tools"]),
        path=_parameter(reader, window["paramPath"], f"{at}.paramPath") if "paramPath" in window else None,
        per_session=per == "session" or window["over"] == "session",
        per_path=_key_path(reader, per["paramPath"], f"{at}.per.paramPath") if isinstance(per, dict) else None,
        span=_span(reader, window["over"], f"{at}.over"),
        outcomes=_names(window["outcomes"]) if "outcomes" in window else None,
        lateness_micros=_lateness(reader, window, f"{at}.allowedLateness"),
    )
    if isinstance(per, dict) and window["over"] == "session":
        reader.fault(f"{at}.per", "must not name a parameter where over is session")
    limit = reader.number(window["limit"], f"{at}.limit")
    fault = _limit_fault(measure, limit)
    if fault:
        reader.fault(f"{at}.limit", fault)
    return Window(condition["severity"], measure, limit, expected=shown(window["limit"]))


def read_sequence(reader: Reader, condition: Any, path: str) -> Order | ErrorRun:
    """A condition of type `sequence`."""
    sequence, at = condition["sequence"], f"{path}.sequence"
    severity = condition["severity"]
    if "maxConsecutiveErrors" in sequence:
        tools = _names(sequence["tools"]) if "tools" in sequence else None
        return ErrorRun(severity, int(sequence["maxConsecutiveErrors"]), tools)
    forbids = "forbids" in sequence
    name = "forbids" if forbids else "requires"
    order, at = sequence[name], f"{at}.{name}"
    per_session = order.get("per", "session") == "session"
    if not per_session and "within" not in order:
        reader.fault(f"{at}.within", "is missing: it is due where per is agent")
    if not forbids and order["tool"] == order["after"]:
        reader.fault(f"{at}.after", "is the tool itself, which could then never be called")
    return Order(
        severity=severity,
        forbids=forbids,
        tool=order["tool"],
        after=order["after"],
        within_micros=reader.duration_micros(order["within"], f"{at}.within") if "within" in order else None,
        per_session=per_session,
        expected=shown(order),
    )


def read_escalation(reader: Reader, condition: Any, path: str) -> Escalation:
    """A condition of type `escalate`."""
    escalate, at = condition["escalate"], f"{path}.escalate"
    if SEVERITIES.index(condition["severity"]) >= SEVERITIES.index(escalate["from"]):
        reader.fault(f"{path}.severity", f"must be graver than {escalate['from']}, which it replaces")
    return Escalation(
        severity=condition["severity"],
        lightest=escalate["from"],
        times=int(escalate["times"]),
        within_micros=reader.duration_micros(escalate["within"], f"{at}.within"),
        expected=shown(escalate),
    )


def read_objectives(objectives: Any) -> Objectives:
    """The member `objectives` of a pact."""
    latency, tokens = objectives.get("latencyP95Ms"), objectives.get("tokensPerSession")
    models = objectives.get("allowedModels")
    return Objectives(
        latency_p95_ms=None if latency is None else int(latency),
        allowed_models=None if models is None else _names(models),
        tokens_per_session=None if tokens is None else int(tokens),
    )


def read_evaluators(reader: Reader, listed: Any) -> tuple[Evaluator, ...]:
    """The member `evaluators` of a pact: each issuer once."""
    found: dict[str, Evaluator] = {}
    for at, one in enumerate(listed):
        if one["issuer"] in found:
            reader.fault(f"evaluators[{at}].issuer", "is listed twice")
        tools = None if "tools" not in one else _names(one["tools"])
        found[one["issuer"]] = Evaluator(one["issuer"], one.get("sees") == "params", tools)
    return tuple(found.values())


def _names(listed: list[str]) -> tuple[str, ...]:
    return tuple(sorted(set(listed)))


def _parameter(reader: Reader, text: str, path: str) -> Path:
    return reader.path(text, path) or UNKNOWN_PATH


def _key_path(reader: Reader, text: str, path: str) -> Path:
    read = _parameter(reader, text, path)
    if EACH in read:
        reader.fault(path, "must name one value, without [*]")
    return read


def _span(reader: Reader, over: Any, path: str) -> Span:
    if over == "session":
        return WholeSession()
    if "sliding" in over:
        sliding = over["sliding"]
        micros = reader.duration_micros(sliding, f"{path}.sliding")
        return Sliding(micros, sliding if isinstance(sliding, str) else f"{sliding} s")
    zone = over["calendar"]["timeZone"]
    if zone not in _time_zones():
        reader.fault(f"{path}.calendar.timeZone", "is not an IANA time zone such as Europe/Madrid, or UTC")
        zone = "UTC"
    return CalendarDay(zone)


@cache
def _time_zones() -> frozenset[str]:
    """Names that mean the same on every machine: no abbreviations, and not `localtime`."""
    return frozenset({"UTC"} | {name for name in zoneinfo.available_timezones() if "/" in name})


def _lateness(reader: Reader, window: Any, path: str) -> int:
    if "allowedLateness" not in window:
        return DEFAULT_LATENESS_MICROS
    return reader.duration_micros(window["allowedLateness"], path)


def _limit_fault(measure: Measure, limit: Decimal) -> str | None:
    if measure.aggregate == "max":
        return None
    if limit < 0:
        return "must not be negative"
    if measure.aggregate == "sum":
        return None
    if limit != limit.to_integral_value():
        return f"must be a whole number for {measure.aggregate}"
    if measure.aggregate == "distinct" and limit > MAX_DISTINCT:
        return f"may be {MAX_DISTINCT} at most for distinct"
    return None
