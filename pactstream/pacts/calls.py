"""A call as stateful conditions see it, and what they find."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias
from uuid import UUID

from pactstream.pacts import values
from pactstream.pacts.state import PactState
from pactstream.pacts.verdict import Verdict, Violation

_NOT_YET: Final[dict[str, Any]] = {}


class Call:
    """One tool call. Times are microseconds since 1970; without an arrival, a call arrives as it happens."""

    def __init__(
        self,
        event_id: UUID | bytes,
        tool: str,
        params: bytes,
        *,
        outcome: str | None,
        session_id: str | None,
        occurred_at_micros: int,
        received_at_micros: int | None = None,
    ) -> None:
        self.event_id = event_id.bytes if isinstance(event_id, UUID) else event_id
        self.tool = tool
        self.params = params
        self.outcome = outcome
        # A blank id names no session: calls that share it share nothing.
        self.session_id = session_id if session_id and session_id.strip() else None
        self.received_at_micros = occurred_at_micros if received_at_micros is None else received_at_micros
        self._occurred_at_micros = occurred_at_micros
        self._decoded: dict[str, Any] | None = _NOT_YET

    def at_micros(self, lateness_micros: int) -> int:
        """When the call counts: when it happened, but not after its arrival, nor earlier than that allows.

        So nobody steps out of a window by naming a time of his choice; at most by the lateness.
        """
        earliest = self.received_at_micros - lateness_micros
        return min(max(self._occurred_at_micros, earliest), self.received_at_micros)

    @property
    def decoded(self) -> dict[str, Any] | None:
        """The parameters; None where they cannot be read, which is a violation of its own."""
        if self._decoded is _NOT_YET:
            self._decoded = _read(self.params)
        return self._decoded


def _read(params: bytes) -> dict[str, Any] | None:
    if len(params) > values.MAX_PARAMS_BYTES:
        return None
    try:
        decoded = values.decode(params)
    except ValueError:
        return None
    return decoded if isinstance(decoded, dict) else None


class Crossing(NamedTuple):
    """A window that a call took from within its limit to beyond it.

    `condition` is the index in the pact; `event_ids` are the first hundred known of the `calls` that the
    figure is made of, the crossing one included in the count.
    """

    condition: int
    violation: Violation
    calls: int
    event_ids: tuple[UUID, ...]


Effect: TypeAlias = Callable[[PactState], None]


@dataclass(slots=True)
class Findings:
    """What stateful conditions find in one call, and what they will remember of it."""

    violations: list[Violation]
    crossings: list[Crossing]
    effects: list[Effect]


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict with all conditions taken into account. Nothing is remembered until `record`.

    `alone` is the verdict on the call taken alone, as the gateway gives it inline.
    """

    verdict: Verdict
    alone: Verdict
    crossings: tuple[Crossing, ...] = ()
    effects: tuple[Effect, ...] = ()

    def record(self, state: PactState) -> None:
        """Remember the call in the state that it was judged with; once, and before the next is judged."""
        for effect in self.effects:
            effect(state)


def no_session(severity: Any, rule: str) -> Violation:
    """A rule on sessions, and a call without one."""
    message = f"The call names no session, so {rule} cannot be judged."
    return Violation("", "session", severity, None, "a session id", message)
