"""A pact tried on calls from a file: what each would be told, and whether that was expected."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple
from uuid import UUID

import msgspec

from pactstream import clock
from pactstream.errors import Fatal
from pactstream.events import ToolCall
from pactstream.events.model import Moment, SessionId, ToolName
from pactstream.events.parse import Rejected, fault_detail, params_faults, parse_events, strict_fault
from pactstream.pacts import Call, CompiledPact, PactState, Severity, Verdict

MAX_FILE_BYTES = 256 * 1024 * 1024


class ExpectedViolation(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A violation that the verdict must have."""

    param_path: str
    rule: str


class Expected(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """What a verdict must be; what is left out may be anything. The list of violations is the whole list."""

    valid: bool | None = None
    bound: bool | None = None
    severity: Severity | None = None
    violations: list[ExpectedViolation] | None = None


Expectation = Expected | Literal["valid", "violated", "unbound", "critical", "major", "minor", "info"]


class _Bare(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A call without the rest of its event."""

    tool: ToolName
    params: msgspec.Raw
    session_id: SessionId = "test"
    outcome: Literal["success", "error", "denied", "refused"] = "success"
    attempted_at: Moment | None = None


class TriedCall(NamedTuple):
    """One call of the file; `agent` keeps windows of several agents apart."""

    place: str
    agent: str
    call: Call
    expectation: Expectation | None


@dataclass(frozen=True, slots=True)
class Trial:
    """What became of one call; `surprises` say in which respects it was expected otherwise."""

    tried: TriedCall
    verdict: Verdict
    surprises: tuple[str, ...]

    @property
    def in_order(self) -> bool:
        """As expected; without an expectation, not violated."""
        return not self.surprises if self.tried.expectation is not None else self.verdict.valid


def read_calls(data: bytes, *, now_micros: int) -> tuple[list[TriedCall], int]:
    """The calls of a file, and how many of its events are no calls.

    The file is a JSON array, or has one JSON object a line: a wire event, or `{"tool": …, "params": {…}}`.
    Either may have `expect`.

    Raises:
        Fatal: an entry is neither; the message says which and why.
    """
    calls, others = [], 0
    for number, (place, raw) in enumerate(_entries(data)):
        found = _entry(place, raw, number, now_micros)
        if found is None:
            others += 1
        else:
            calls.append(found)
    if not calls:
        raise Fatal("there is no tool call in it")
    return calls, others


def run(compiled: CompiledPact, calls: list[TriedCall]) -> Iterator[Trial]:
    """Judge the calls in their order, windows and sequences included; these begin empty."""
    states: dict[str, PactState] = {}
    for tried in calls:
        verdict = compiled.observe(tried.call, states.setdefault(tried.agent, PactState())).verdict
        yield Trial(tried, verdict, tuple(_surprises(tried.expectation, verdict)))


def outcome(verdict: Verdict) -> str:
    """A verdict in one word: `valid`, `unbound`, or its severity."""
    if verdict.valid:
        return "valid" if verdict.bound else "unbound"
    return verdict.severity or "violated"


def _entries(data: bytes) -> Iterator[tuple[str, bytes]]:
    if data.lstrip().startswith(b"["):
        try:
            array = msgspec.json.decode(data, type=list[msgspec.Raw])
        except msgspec.DecodeError as error:
            raise Fatal(f"not a JSON array: {error}") from None
        yield from ((f"entry {number}", bytes(raw)) for number, raw in enumerate(array, 1))
        return
    for number, line in enumerate(data.splitlines(), 1):
        if line.strip():
            yield f"line {number}", line


def _entry(place: str, raw: bytes, number: int, now_micros: int) -> TriedCall | None:
    if fault := strict_fault(raw):
        raise Fatal(f"{place}: not JSON: {fault}")
    try:
        members = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
        expect = members.pop("expect", None)
        expectation = None if expect is None else _decode_expectation(bytes(expect))
    except msgspec.DecodeError as error:
        raise Fatal(f"{place}: {fault_detail('', _as_validation(error)).message}") from None
    rest = msgspec.json.encode(members)
    read = _event if "type" in members else _bare
    found = read(place, rest, number, now_micros)
    return None if found is None else TriedCall(place, found[0], found[1], expectation)


def _event(place: str, raw: bytes, number: int, now_micros: int) -> tuple[str, Call] | None:
    (parsed,) = parse_events(b'{"events":[' + raw + b"]}", received_at_micros=now_micros)
    if isinstance(parsed, Rejected):
        first = parsed.details[0]
        raise Fatal(
            f"{place}: {first.path.removeprefix('events[0]').lstrip('.') or 'the event'}: {first.message}"
        )
    event = parsed.event
    if not isinstance(event, ToolCall):
        return None
    call = Call(
        event.event_id or UUID(int=number),
        event.tool,
        bytes(event.params),
        outcome=event.outcome,
        session_id=event.session_id,
        occurred_at_micros=parsed.occurred_at_micros,
    )
    return str(event.agent_id), call


def _bare(place: str, raw: bytes, number: int, now_micros: int) -> tuple[str, Call]:
    try:
        bare = _decode_bare(raw)
    except msgspec.ValidationError as error:
        path, message = fault_detail("", error)
        raise Fatal(f"{place}: {path + ': ' if path else ''}{message}") from None
    for fault in params_faults(bytes(bare.params), "params"):
        raise Fatal(f"{place}: {fault.path}: {fault.message}")
    call = Call(
        UUID(int=number),
        bare.tool,
        bytes(bare.params),
        outcome=bare.outcome,
        session_id=bare.session_id,
        occurred_at_micros=_micros(bare.attempted_at, now_micros),
    )
    return "", call


def _micros(moment: datetime | None, otherwise: int) -> int:
    return otherwise if moment is None else clock.to_micros(moment)


def _as_validation(error: msgspec.DecodeError) -> msgspec.ValidationError:
    return error if isinstance(error, msgspec.ValidationError) else msgspec.ValidationError(str(error))


_decode_bare = msgspec.json.Decoder(_Bare).decode
_decode_expectation: Any = msgspec.json.Decoder(Expectation).decode


def _surprises(expectation: Expectation | None, verdict: Verdict) -> Iterator[str]:
    if expectation is None:
        return
    if not isinstance(expectation, Expected):
        if outcome(verdict) != expectation and not (expectation == "violated" and not verdict.valid):
            yield f"expected {expectation}"
        return
    for name, wanted, found in (
        ("valid", expectation.valid, verdict.valid),
        ("bound", expectation.bound, verdict.bound),
        ("severity", expectation.severity, verdict.severity),
    ):
        if wanted is not None and wanted != found:
            yield f"expected {name} {_word(wanted)}, found {_word(found)}"
    yield from _other_violations(expectation, verdict)


def _other_violations(expectation: Expected, verdict: Verdict) -> Iterator[str]:
    if expectation.violations is None:
        return
    wanted = {(one.param_path, one.rule) for one in expectation.violations}
    found = {(one.param_path, one.rule) for one in verdict.violations}
    for path, rule in sorted(wanted - found):
        yield f"expected {path} ({rule}), which passed"
    for path, rule in sorted(found - wanted):
        yield f"did not expect {path} ({rule})"


def _word(value: object) -> str:
    return str(value).lower() if value is not None else "none"
