"""Recorded calls judged again under a new version: what would have been different."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, NamedTuple
from uuid import UUID

from pactstream import avro
from pactstream.errors import Fatal, InvalidInput
from pactstream.pacts import Call, CompiledPact, Pact, PactState, Verdict
from pactstream.pacts.model import CalendarDay, Escalation, Order, Sliding, Window
from pactstream.review.trial import outcome

# As many event ids of an agent as the evaluator remembers by default: a repeat counts once here too.
_REMEMBERED: Final = 10_000
_MAX_LISTED: Final = 20
_DAY_MICROS: Final = 86_400_000_000
_INDEX = re.compile(r"\[[0-9]+\]")

UNKNOWN: Final = "unknown version"

Stamped = Callable[[str, int], CompiledPact | None]
Rule = tuple[str, str, str]


class Recorded(NamedTuple):
    """A recorded call under a pact; times in microseconds since 1970."""

    agent_id: str
    event_id: str
    tool: str
    params: bytes
    outcome: str | None
    session_id: str
    occurred_at_micros: int
    received_at_micros: int
    pact_id: str
    pact_version: int | None


class Changed(NamedTuple):
    """A call that is judged otherwise; rules without values, which are private."""

    event_id: str
    agent_id: str
    tool: str
    occurred_at_micros: int
    before: str
    after: str
    rules: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """Which calls: of one agent, under one pact, received from a time on; None: any."""

    agent_id: str | None
    pact_id: str | None
    since_micros: int


@dataclass(slots=True)
class Comparison:
    """What the new version says of the chosen calls beside what the stamped versions say."""

    verdicts: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Calls by (before, after), each `valid`, `unbound` or a severity; before may be `UNKNOWN`."""
    rules: dict[Rule, list[int]] = field(default_factory=dict)
    """Violations by (tool, path, rule): [before, after]."""
    changed: list[Changed] = field(default_factory=list)
    """The first calls that are judged otherwise."""
    versions: set[int] = field(default_factory=set)
    pact_id: str | None = None

    @property
    def calls(self) -> int:
        """How many were judged."""
        return self.verdicts.total()

    def count(self, *, was_valid: bool, is_valid: bool) -> int:
        """Calls that were (in)valid and now are (in)valid; those of unknown versions apart."""
        return sum(
            number
            for (before, after), number in self.verdicts.items()
            if before != UNKNOWN and (_passes(before), _passes(after)) == (was_valid, is_valid)
        )


def lead_micros(pact: Pact) -> int:
    """How far back calls may still bear on a verdict of this pact; a day where that depends on sessions."""
    spans = [_span(condition) for condition in pact.conditions]
    return max(spans, default=0)


def compare(batches: Iterable[bytes | None], new: CompiledPact, stamped: Stamped, choice: Choice) -> Comparison:
    """Judge the recorded calls in `batches` (values of `telemetry.batches`, in order for each agent) both ways.

    Calls before `choice.since_micros` fill the windows and are not counted. What is no batch is left out, as
    the evaluator does.

    Raises:
        Fatal: the calls are under several pacts.
    """
    return compare_calls(_recorded(batches, choice), new, stamped, choice)


def compare_calls(calls: Iterable[Recorded], new: CompiledPact, stamped: Stamped, choice: Choice) -> Comparison:
    """As `compare`, of calls from elsewhere: in order for each agent. Raises `Fatal` as it does."""
    replay = _Replay(new, stamped, choice)
    for call in calls:
        replay.take(call)
    return replay.found


def _recorded(batches: Iterable[bytes | None], choice: Choice) -> Iterator[Recorded]:
    for value in batches:
        try:
            batch = avro.decode_as("TelemetryBatch", value)
        except InvalidInput:
            continue
        if choice.agent_id in (None, batch["agent_id"]):
            yield from map(partial(_call, batch), filter(_is_bound, batch["events"]))


def _is_bound(event: dict[str, Any]) -> bool:
    return bool(event["type"] == "tool_call" and event["pact_id"])


def _call(batch: dict[str, Any], event: dict[str, Any]) -> Recorded:
    return Recorded(
        batch["agent_id"],
        event["event_id"],
        event["tool"] or "",
        event["params"] or b"",
        event["outcome"],
        event["session_id"],
        event["occurred_at_micros"],
        batch["received_at_micros"],
        event["pact_id"],
        event["pact_version"],
    )


class _Agent:
    """What one agent's calls have left behind, under the versions that were in force and under the new one."""

    __slots__ = ("after", "before", "seen")

    def __init__(self) -> None:
        self.before = PactState()
        self.after = PactState()
        self.seen: dict[bytes, None] = {}

    def is_new(self, event_id: bytes) -> bool:
        if event_id in self.seen:
            return False
        self.seen[event_id] = None
        if len(self.seen) > _REMEMBERED:
            del self.seen[next(iter(self.seen))]
        return True


class _Replay:
    def __init__(self, new: CompiledPact, stamped: Stamped, choice: Choice) -> None:
        self._new = new
        self._stamped = stamped
        self._choice = choice
        self._agents: dict[str, _Agent] = {}
        self.found = Comparison(pact_id=choice.pact_id)

    def take(self, one: Recorded) -> None:
        """Judge one call both ways, unless it is under another pact or a repeat."""
        if not self._is_ours(one.pact_id):
            return
        try:
            event_id = UUID(one.event_id)
        except ValueError:
            return
        agent = self._agents.setdefault(one.agent_id, _Agent())
        if not agent.is_new(event_id.bytes):
            return
        call = Call(
            event_id,
            one.tool,
            one.params,
            outcome=one.outcome,
            session_id=one.session_id,
            occurred_at_micros=one.occurred_at_micros,
            received_at_micros=one.received_at_micros,
        )
        old = None if one.pact_version is None else self._stamped(one.pact_id, one.pact_version)
        before = None if old is None else old.observe(call, agent.before).verdict
        after = self._new.observe(call, agent.after).verdict
        if one.received_at_micros >= self._choice.since_micros:
            self.found.versions.add(one.pact_version or 0)
            self._count(one, before, after)

    def _is_ours(self, pact_id: str) -> bool:
        if self.found.pact_id is None:
            self.found.pact_id = pact_id
        if self._choice.pact_id is None and pact_id != self.found.pact_id:
            both = f"{self.found.pact_id} and {pact_id}"
            raise Fatal(f"the calls are under several pacts, {both}: say which with --pact-id")
        return pact_id == self.found.pact_id

    def _count(self, one: Recorded, before: Verdict | None, after: Verdict) -> None:
        labels = UNKNOWN if before is None else outcome(before), outcome(after)
        self.found.verdicts[labels] += 1
        rules = [_rules(one.tool, before), _rules(one.tool, after)]
        for side, counted in enumerate(rules):
            for rule, number in counted.items():
                self.found.rules.setdefault(rule, [0, 0])[side] += number
        if before is not None and (labels[0] != labels[1] or rules[0].keys() != rules[1].keys()):
            self._list(one, labels, rules[0].keys() ^ rules[1].keys())

    def _list(self, one: Recorded, labels: tuple[str, str], rules: Iterable[Rule]) -> None:
        if len(self.found.changed) < _MAX_LISTED:
            named = tuple(sorted(f"{path} ({rule})" if path else rule for _, path, rule in rules))
            self.found.changed.append(
                Changed(one.event_id, one.agent_id, one.tool, one.occurred_at_micros, *labels, named)
            )


def _rules(tool: str, verdict: Verdict | None) -> Counter[Rule]:
    violations = () if verdict is None else verdict.violations
    return Counter((tool, _INDEX.sub("[*]", one.param_path), one.rule) for one in violations)


def _passes(label: str) -> bool:
    return label in ("valid", "unbound")


def _span(condition: object) -> int:
    match condition:
        case Window(measure=measure):
            match measure.span:
                case Sliding(duration_micros=duration):
                    return duration
                case CalendarDay():
                    return 2 * _DAY_MICROS
            return _DAY_MICROS
        case Order(within_micros=int(within)) | Escalation(within_micros=int(within)):
            return within
        case Order():
            return _DAY_MICROS
    return 0
