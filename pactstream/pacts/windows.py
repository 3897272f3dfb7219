"""Windows: a figure over many calls, and the limits on it."""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from typing import Any, Final, NamedTuple
from uuid import UUID

from pactstream.pacts import buckets, figures
from pactstream.pacts.calls import Call, Crossing, Findings, no_session
from pactstream.pacts.explain import show
from pactstream.pacts.figures import Share, Unmeasurable
from pactstream.pacts.foresight import NOTHING_HELD, SUPPOSED_OUTCOME, Claim, Held, Outlook
from pactstream.pacts.model import CalendarDay, Measure, Sliding, Window
from pactstream.pacts.paths import format_path
from pactstream.pacts.spans import division
from pactstream.pacts.state import ZERO, PactState, Series, identity, key_of
from pactstream.pacts.verdict import Violation, bounded

MAX_VALUES: Final = 1_000
"""So many values of a `per` parameter have their own window at a time; further ones share one."""

MAX_SESSIONS: Final = 4_096
"""So many sessions of an agent are remembered for a condition: the latest."""

_ALL: Final = "all"
_OTHERS: Final = "others"
_ONE: Final = Share(Decimal(1))


class Limit(NamedTuple):
    """A condition on the measure; `condition` is its index in the pact."""

    condition: int
    window: Window


class Meter:
    """One measure of a pact, with all the limits on it: several conditions may name one measure."""

    def __init__(self, pact_id: str, limits: list[Limit]) -> None:
        measure = limits[0].window.measure
        self.tools = measure.tools
        self._measure = measure
        self._limits = limits
        self._capacity = int(limits[0].window.limit) + 1 if measure.aggregate == "distinct" else 0
        self._name = name_of(pact_id, limits[0].window)
        self._path = "" if measure.path is None else format_path(measure.path)
        self._division = division(measure.span, measure.lateness_micros)

    def weigh(self, call: Call, state: PactState, findings: Findings) -> None:
        """Find what the call does to the window, without remembering it yet."""
        measure = self._measure
        if measure.outcomes is not None and call.outcome not in measure.outcomes:
            return
        if measure.per_session and call.session_id is None:
            findings.violations += [no_session(limit.window.severity, "a window") for limit in self._limits]
            return
        try:
            share = self._share(call)
            key = None if share is None else self._key(call, state)
        except Unmeasurable as error:
            findings.violations += [self._unmeasurable(limit, error) for limit in self._limits]
            return
        if share is not None and key is not None:
            self._weigh(call, state, findings, share, key)

    def foresee(self, call: Call, state: PactState, held: Held, outlook: Outlook) -> None:
        """Find what a call to come would do to the window, on top of what is held for others.

        What is held counts wherever its call may fall: in the window as of now, also if that is a new day.
        """
        measure = self._measure
        if measure.per_session and call.session_id is None:
            outlook.violations += [no_session(limit.window.severity, "a window") for limit in self._limits]
            return
        try:
            share = self._share(call)
            key = None if share is None else self._key(call, state, held)
        except Unmeasurable as error:
            outlook.violations += [self._unmeasurable(limit, error) for limit in self._limits]
            return
        if share is None or key is None:
            return
        found = state.find(self._name, key, call.received_at_micros)
        series = found if isinstance(found, Series) else Series(0)
        at = buckets.place(series, self._division, call.received_at_micros)
        if measure.outcomes is not None and SUPPOSED_OUTCOME not in measure.outcomes:
            figure = buckets.stand(series, self._division, at, measure.aggregate, Share(ZERO)).before
        else:
            share_of_all = buckets.together(measure.aggregate, share, held.shares(self._name, key))
            figure = buckets.stand(series, self._division, at, measure.aggregate, share_of_all).after
            outlook.claims.append(Claim(self._name, key, share))
        for limit in self._limits:
            if figure is not None and figure > limit.window.limit:
                outlook.violations.append(self._violation(limit, figure, shared=key == _OTHERS))

    def _weigh(self, call: Call, state: PactState, findings: Findings, share: Share, key: str) -> None:
        now = call.received_at_micros
        found = state.find(self._name, key, now)
        series = found if isinstance(found, Series) else Series(0)
        at = buckets.place(series, self._division, call.at_micros(self._measure.lateness_micros))
        standing = buckets.stand(series, self._division, at, self._measure.aggregate, share)
        for limit in self._limits:
            if standing.after > limit.window.limit:
                self._exceed(limit, standing, series, call, findings, shared=key == _OTHERS)
        findings.effects.append(partial(self._record, key, at, share, call.event_id, now))

    def _exceed(
        self,
        limit: Limit,
        standing: buckets.Standing,
        series: Series,
        call: Call,
        findings: Findings,
        *,
        shared: bool,
    ) -> None:
        violation = self._violation(limit, standing.after, shared=shared)
        findings.violations.append(violation)
        if standing.before is None or standing.before <= limit.window.limit:
            calls, ids = buckets.contributors(series, self._division, standing.end, call.event_id)
            named = tuple(UUID(bytes=one) for one in ids)
            findings.crossings.append(Crossing(limit.condition, violation, calls, named))

    def _record(
        self, key: str, at: int, share: Share, event_id: bytes, now_micros: int, state: PactState
    ) -> None:
        found = state.find(self._name, key, now_micros)
        if found is None and self._measure.per_session:
            make_room(state, self._name, now_micros)
        series = found if isinstance(found, Series) else Series(0)
        buckets.add(series, self._division, at, self._measure.aggregate, share, event_id, self._capacity)
        series.expires_at_micros = self._division.expires(next(reversed(series.buckets)), now_micros)
        state.put(self._name, key, series)

    def _share(self, call: Call) -> Share | None:
        if self._measure.path is None:
            return _ONE
        # Parameters that cannot be read are a violation by themselves, for every tool that a pact names.
        params = call.decoded
        return None if params is None else figures.share(self._measure.aggregate, self._measure.path, params)

    def _key(self, call: Call, state: PactState, held: Held = NOTHING_HELD) -> str | None:
        """The key that the call counts under; None where its parameters cannot be read."""
        parts: list[str] = []
        if self._measure.per_session:
            parts.append(call.session_id or "")
        if self._measure.per_path is not None:
            if call.decoded is None:
                return None
            parts.append(figures.text_at(self._measure.per_path, call.decoded))
        if not parts:
            return _ALL
        key = key_of(*parts)
        now = call.received_at_micros
        if self._measure.per_session or state.find(self._name, key, now) is not None:
            return key
        # Forgetting a value would hand out its budget again. Shared, it can only be counted too high.
        others = held.keys(self._name)
        to_come = sum(one != key and state.find(self._name, one, now) is None for one in others)
        return key if state.has_room(self._name, MAX_VALUES - to_come, now) else _OTHERS

    def _violation(self, limit: Limit, figure: Decimal, *, shared: bool) -> Violation:
        shown = bounded(int(figure) if figure == figure.to_integral_value() else figure)
        per = " together with other values, of which there are too many to keep apart," if shared else ""
        text = f"{self._subject()}{per} is {show(shown)}, above the limit of {limit.window.limit}."
        return Violation(self._path, "window", limit.window.severity, shown, limit.window.expected, text)

    def _subject(self) -> str:
        nouns = {"sum": "sum", "count": "number", "distinct": "number of distinct values", "max": "maximum"}
        of = self._path or f"calls of {', '.join(self.tools)}"
        match self._measure.span:
            case Sliding(shown=shown):
                span = f"over {shown}"
            case CalendarDay(time_zone=zone):
                span = f"in a day of {zone}"
            case _:
                span = "in this session"
        return f"The {nouns[self._measure.aggregate]} of {of} {span}"

    def _unmeasurable(self, limit: Limit, error: Unmeasurable) -> Violation:
        message = f"{error.place} {error}, so a window cannot be kept."
        value: Any = bounded(error.value)
        return Violation(error.place, "window", limit.window.severity, value, limit.window.expected, message)


def make_room(state: PactState, name: str, now_micros: int) -> None:
    """Forget the session that was judged longest ago, where there are too many.

    An agent that opens sessions to be forgotten gains nothing that a new session would not give it.
    """
    if not state.has_room(name, MAX_SESSIONS, now_micros):
        state.drop_oldest(name, now_micros)


def meters(pact_id: str, windows: list[Limit]) -> list[Meter]:
    """One meter for each measure."""
    groups: dict[str, list[Limit]] = {}
    for limit in windows:
        groups.setdefault(name_of(pact_id, limit.window), []).append(limit)
    return [Meter(pact_id, limits) for limits in groups.values()]


def name_of(pact_id: str, window: Window) -> str:
    """The name of what a window remembers: all of it but limit and severity.

    A `distinct` window remembers no more values than its limit needs, so there the limit belongs to it.
    """
    measure = window.measure
    return identity(
        pact_id,
        "window",
        measure.aggregate,
        list(measure.tools),
        None if measure.path is None else format_path(measure.path),
        measure.per_session,
        None if measure.per_path is None else format_path(measure.per_path),
        _span_name(measure),
        None if measure.outcomes is None else list(measure.outcomes),
        str(measure.lateness_micros),
        str(window.limit.normalize()) if measure.aggregate == "distinct" else None,
    )


def _span_name(measure: Measure) -> list[str]:
    match measure.span:
        case Sliding(duration_micros=micros):
            return ["sliding", str(micros)]
        case CalendarDay(time_zone=zone):
            return ["day", zone]
        case _:
            return ["session"]
