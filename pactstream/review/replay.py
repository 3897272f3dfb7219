"""Recorded calls judged again under a new version: what would have been different."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
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
    return _Replay(new, stamped, choice).run(batches)


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
        self._found = Comparison(pact_id=choice.pact_id)

    def run(self, batches: Iterable[bytes | None]) -> Comparison:
        for value in batches:
            for agent_id, received_at, event in self._chosen(value):
                self._take(agent_id, received_at, event)
        return self._found

    def _chosen(self, value: bytes | None) -> Iterator[tuple[str, int, dict[str, Any]]]:
        try:
            batch = avro.decode_as("TelemetryBatch", value)
        except InvalidInput:
            return
        agent_id = batch["agent_id"]
        if self._choice.agent_id not in (None, agent_id):
            return
        for event in batch["events"]:
            if event["type"] == "tool_call" and event["pact_id"] and self._is_ours(event["pact_id"]):
                yield agent_id, batch["received_at_micros"], event

    def _is_ours(self, pact_id: str) -> bool:
        if self._found.pact_id is None:
            self._found.pact_id = pact_id
        if self._choice.pact_id is None and pact_id != self._found.pact_id:
            both = f"{self._found.pact_id} and {pact_id}"
            raise Fatal(f"the calls are under several pacts, {both}: say which with --pact-id")
        return pact_id == self._found.pact_id

    def _take(self, agent_id: str, received_at: int, event: dict[str, Any]) -> None:
        try:
            event_id = UUID(event["event_id"])
        except ValueError:
            return
        agent = self._agents.setdefault(agent_id, _Agent())
        if not agent.is_new(event_id.bytes):
            return
        call = Call(
            event_id,
            event["tool"] or "",
            event["params"] or b"",
            outcome=event["outcome"],
            session_id=event["session_id"],
            occurred_at_micros=event["occurred_at_micros"],
            received_at_micros=received_at,
        )
        version = event["pact_version"]
        old = None if version is None else self._stamped(event["pact_id"], version)
        before = None if old is None else old.observe(call, agent.before).verdict
        after = self._new.observe(call, agent.after).verdict
        if received_at >= self._choice.since_micros:
            self._found.versions.add(version or 0)
            self._count(agent_id, event, before, after)

    def _count(self, agent_id: str, event: dict[str, Any], before: Verdict | None, after: Verdict) -> None:
        labels = UNKNOWN if before is None else outcome(before), outcome(after)
        self._found.verdicts[labels] += 1
        tool = event["tool"] or ""
        rules = [_rules(tool, before), _rules(tool, after)]
        for side, counted in enumerate(rules):
            for rule, number in counted.items():
                self._found.rules.setdefault(rule, [0, 0])[side] += number
        if before is not None and (labels[0] != labels[1] or rules[0].keys() != rules[1].keys()):
            self._list(agent_id, event, labels, rules[0].keys() ^ rules[1].keys())

    def _list(
        self, agent_id: str, event: dict[str, Any], labels: tuple[str, str], rules: Iterable[Rule]
    ) -> None:
        if len(self._found.changed) < _MAX_LISTED:
            named = tuple(sorted(f"{path} ({rule})" if path else rule for _, path, rule in rules))
            at = event["occurred_at_micros"]
            self._found.changed.append(
                Changed(event["event_id"], agent_id, event["tool"] or "", at, *labels, named)
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
