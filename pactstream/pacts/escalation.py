"""Escalation: repeated violations become graver."""

from __future__ import annotations

from functools import partial

from pactstream.pacts.calls import Call, Effect
from pactstream.pacts.model import Escalation
from pactstream.pacts.read_stateful import DEFAULT_LATENESS_MICROS
from pactstream.pacts.state import Moments, PactState, identity
from pactstream.pacts.verdict import SEVERITIES, Severity, Violation

_ALL = "all"


class EscalationRule:
    """Remembers the times of an agent's latest violating calls, as many as the condition needs: exactly."""

    def __init__(self, pact_id: str, escalation: Escalation) -> None:
        self._escalation = escalation
        self._name = identity(
            pact_id, "escalate", escalation.lightest, escalation.times, str(escalation.within_micros)
        )

    def weigh(self, call: Call, severity: Severity, state: PactState) -> tuple[Violation | None, Effect | None]:
        """What a verdict of this severity becomes, without remembering it yet."""
        escalation = self._escalation
        if SEVERITIES.index(severity) > SEVERITIES.index(escalation.lightest):
            return None, None
        found = state.find(self._name, _ALL, call.received_at_micros)
        at = call.at_micros(DEFAULT_LATENESS_MICROS)
        before = found.values if isinstance(found, Moments) else []
        near = sum(abs(at - one) <= escalation.within_micros for one in before) + 1
        effect = partial(self._record, sorted([*before, at])[1 - escalation.times :])
        if near < escalation.times or SEVERITIES.index(severity) <= SEVERITIES.index(escalation.severity):
            return None, effect
        message = (
            f"At least {near} calls within {escalation.expected['within']} were violations of severity "
            f"{escalation.lightest} or graver, so this one is {escalation.severity}."
        )
        return Violation("", "escalate", escalation.severity, near, escalation.expected, message), effect

    def _record(self, moments: list[int], state: PactState) -> None:
        expires = moments[-1] + self._escalation.within_micros + 1 + DEFAULT_LATENESS_MICROS
        state.put(self._name, _ALL, Moments(expires, moments))
