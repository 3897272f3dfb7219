"""A pact taken apart into demands that can be compared one by one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pactstream import clock
from pactstream.pacts import Pact, Severity
from pactstream.pacts.model import (
    AllowList,
    CalendarDay,
    Check,
    DenyList,
    ErrorRun,
    Escalation,
    MaxAmount,
    Order,
    ParamBinding,
    Regex,
    Rule,
    Sliding,
    ValueRange,
    Window,
)
from pactstream.pacts.paths import format_path
from pactstream.pacts.unknown import known_names
from pactstream.review.terms import (
    Amount,
    Between,
    Bounds,
    Direction,
    Listed,
    Matches,
    Names,
    Terms,
    number,
)

__all__ = ["Demand", "Terms", "demands", "objectives"]


@dataclass(frozen=True, slots=True)
class Demand:
    """One thing a pact asks of calls of `tool`, at `place`; `presence`: what having it at all means."""

    tool: str
    place: str
    rule: str
    severity: Severity | None
    terms: Terms | None = None
    presence: Direction | None = "stricter"

    def described(self) -> str:
        """In words."""
        parts = [
            str(self.terms) if self.terms is not None else "",
            f"({self.severity})" if self.severity else "",
        ]
        return " ".join(part for part in parts if part)


def demands(pact: Pact) -> list[Demand]:
    """Everything that the pact asks of calls; the order of conditions means nothing."""
    found: list[Demand] = []
    bindings: dict[str, list[ParamBinding]] = {}
    for condition in pact.conditions:
        match condition:
            case ParamBinding():
                bindings.setdefault(condition.tool, []).append(condition)
            case Window():
                found.append(_window(condition))
            case Order():
                found.append(_order(condition))
            case ErrorRun():
                found.append(_error_run(condition))
            case Escalation():
                found.append(_escalation(condition))
    for tool, group in bindings.items():
        found += _of_tool(tool, group)
    return found


def objectives(pact: Pact) -> Iterator[Demand]:
    """The goals and evaluators of a pact, which change no verdict."""
    for one in pact.evaluators:
        sees = "the parameters" if one.sees_params else "the leaf"
        of = "all tools" if one.tools is None else ", ".join(one.tools)
        yield Demand("", "evaluators", one.issuer, None, _Plain(f"sees {sees} of {of}"), presence=None)
    goals = pact.objectives
    if goals is None:
        return
    models = None if goals.allowed_models is None else ", ".join(sorted(goals.allowed_models))
    for name, value in (
        ("latencyP95Ms", goals.latency_p95_ms),
        ("allowedModels", models),
        ("tokensPerSession", goals.tokens_per_session),
    ):
        if value is not None:
            yield Demand("", "objectives", name, None, _Plain(str(value)), presence=None)


@dataclass(frozen=True, slots=True)
class _Plain(Terms):
    """What changes no verdict."""

    shown: str

    def __str__(self) -> str:
        return self.shown

    def compare(self, new: Terms) -> None:
        """Neither way."""


def _of_tool(tool: str, bindings: list[ParamBinding]) -> Iterator[Demand]:
    yield Demand(tool, "", "named", None, _Plain("its calls are judged"), presence=None)
    for binding in bindings:
        for rule in binding.rules:
            place = format_path(rule.path)
            if rule.required:
                yield Demand(tool, place, "required", binding.severity)
            for check in rule.checks:
                name, terms = _check(check, rule)
                yield Demand(tool, place, name, binding.severity, terms)
    rules = [rule for binding in bindings for rule in binding.rules]
    names = Names(known_names(rules), tuple(sorted({format_path(rule.path) for rule in rules})))
    for binding in bindings:
        if binding.forbid_unknown:
            yield Demand(tool, "", "unknownParams", binding.severity, names)


def _check(check: Check, rule: Rule) -> tuple[str, Terms]:
    match check:
        case AllowList():
            return "allowList", Listed(True, check.entries, rule.ignore_case, rule.nfkc)
        case DenyList():
            return "denyList", Listed(False, check.entries, rule.ignore_case, rule.nfkc)
        case Regex():
            return "regex", Matches(check.pattern, rule.ignore_case, rule.nfkc)
        case ValueRange():
            return "valueRange", Between(check.least, check.most)
        case MaxAmount():
            path = format_path(check.currency_path)
            return "maxAmount", Amount(check.amount, check.currency, path, check.allow_negative)


def _window(window: Window) -> Demand:
    measure = window.measure
    span = measure.span
    match span:
        case Sliding():
            over = f"in {_duration(span.duration_micros)}"
        case CalendarDay():
            over = f"a day ({span.time_zone})"
        case _:
            over = "in a session"
    per = "each session" if measure.per_session else "the agent"
    if measure.per_path is not None:
        per = f"each {format_path(measure.per_path)}"
    outcomes = "" if measure.outcomes is None else f", outcome {' or '.join(measure.outcomes)}"
    shown = f"at most {number(window.limit)} {over}, for {per}{outcomes}"
    terms = Bounds(((window.limit, "up"),), (measure,), shown)
    place = "calls" if measure.path is None else format_path(measure.path)
    return Demand(", ".join(measure.tools), place, f"window {measure.aggregate}", window.severity, terms)


def _order(order: Order) -> Demand:
    within = "at any time" if order.within_micros is None else f"within {_duration(order.within_micros)}"
    shown = f"{within}, in one session" if order.per_session else within
    # A longer time lets more calls pass that need the other, and fewer that must not follow it.
    terms = Bounds(((order.within_micros, "down" if order.forbids else "up"),), (order.per_session,), shown)
    rule = f"{'never' if order.forbids else 'only'} after {order.after}"
    return Demand(order.tool, "", rule, order.severity, terms)


def _error_run(run: ErrorRun) -> Demand:
    tools = "any tool" if run.tools is None else ", ".join(run.tools)
    terms = Bounds(((run.limit, "up"),), (), f"at most {run.limit} in a row in a session")
    return Demand(tools, "", "maxConsecutiveErrors", run.severity, terms)


def _escalation(escalation: Escalation) -> Demand:
    shown = f"from the {escalation.times}. within {_duration(escalation.within_micros)}"
    terms = Bounds(((escalation.times, "up"), (escalation.within_micros, "down")), (), shown)
    return Demand("", f"{escalation.lightest} or graver", "escalate", escalation.severity, terms)


def _duration(micros: int) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if micros % (length * clock.MICROS_PER_SECOND) == 0:
            return f"{micros // (length * clock.MICROS_PER_SECOND)} {unit}"
    return f"{micros / clock.MICROS_PER_SECOND:g} s"
