"""Sequences: what must, or must not, have gone before a call, in order of arrival, as in the ledger."""

from __future__ import annotations

from functools import partial

from pactstream.pacts.calls import Call, Findings, no_session
from pactstream.pacts.foresight import Held, Outlook
from pactstream.pacts.model import ErrorRun, Order
from pactstream.pacts.read_stateful import DEFAULT_LATENESS_MICROS
from pactstream.pacts.spans import SESSION_IDLE_MICROS
from pactstream.pacts.state import Moments, PactState, identity, key_of
from pactstream.pacts.verdict import Violation
from pactstream.pacts.windows import make_room

_DONE = frozenset({"success", "error"})
_ALL = "all"


class OrderRule:
    """`requires` or `forbids`: remembers when the earlier tool was last called."""

    def __init__(self, pact_id: str, order: Order) -> None:
        self.tools = (order.tool, order.after)
        self._order = order
        self._name = identity(
            pact_id,
            "forbids" if order.forbids else "requires",
            order.tool,
            order.after,
            str(order.within_micros),
            order.per_session,
        )

    def weigh(self, call: Call, state: PactState, findings: Findings) -> None:
        """Find what the order of calls says of this one, without remembering it yet."""
        order = self._order
        if order.per_session and call.session_id is None:
            findings.violations.append(no_session(order.severity, "the order of calls"))
            return
        key = key_of(call.session_id or "") if order.per_session else _ALL
        now = call.received_at_micros
        found = state.find(self._name, key, now)
        last = found.values[0] if isinstance(found, Moments) else None
        at = call.at_micros(DEFAULT_LATENESS_MICROS)
        if call.tool == order.tool and self._in_effect(last, at) is order.forbids:
            findings.violations.append(self._violation())
        if call.tool == order.after and self._counts(call):
            findings.effects.append(partial(self._record, key, max(at, last or at), now))
        elif last is not None and order.within_micros is None:
            # A session that goes on is not forgotten.
            findings.effects.append(partial(self._record, key, last, now))

    def foresee(self, call: Call, state: PactState, held: Held, outlook: Outlook) -> None:
        """Find what the order of calls says of one to come. Held calls have not been made: they are no part."""
        order = self._order
        if order.per_session and call.session_id is None:
            outlook.violations.append(no_session(order.severity, "the order of calls"))
        elif call.tool == order.tool:
            key = key_of(call.session_id or "") if order.per_session else _ALL
            found = state.find(self._name, key, call.received_at_micros)
            last = found.values[0] if isinstance(found, Moments) else None
            if self._in_effect(last, call.received_at_micros) is order.forbids:
                outlook.violations.append(self._violation())

    def _counts(self, call: Call) -> bool:
        """A `requires` is met by a success only; a `forbids` is set off by anything that may have happened."""
        return call.outcome in _DONE if self._order.forbids else call.outcome == "success"

    def _in_effect(self, last_micros: int | None, at_micros: int) -> bool:
        within = self._order.within_micros
        return last_micros is not None and (within is None or at_micros - last_micros <= within)

    def _record(self, key: str, at_micros: int, now_micros: int, state: PactState) -> None:
        within = self._order.within_micros
        expires = now_micros + SESSION_IDLE_MICROS
        if within is not None:
            expires = at_micros + within + 1 + DEFAULT_LATENESS_MICROS
        if self._order.per_session and state.find(self._name, key, now_micros) is None:
            make_room(state, self._name, now_micros)
        state.put(self._name, key, Moments(expires, [at_micros]))

    def _violation(self) -> Violation:
        order = self._order
        where = "in this session" if order.per_session else "by this agent"
        within = f" within {order.expected['within']}" if "within" in order.expected else ""
        if order.forbids:
            message = f"{order.tool} is called after {order.after} was{within} {where}, which is forbidden."
            return Violation("", "forbids", order.severity, None, order.expected, message)
        message = f"{order.tool} is called although {order.after} has not succeeded{within} {where}."
        return Violation("", "requires", order.severity, None, order.expected, message)


class ErrorRunRule:
    """`maxConsecutiveErrors`: counts the errors of a session since its last success."""

    def __init__(self, pact_id: str, run: ErrorRun) -> None:
        self.tools = run.tools
        self._run = run
        self._name = identity(pact_id, "errors", None if run.tools is None else list(run.tools))

    def weigh(self, call: Call, state: PactState, findings: Findings) -> None:
        """Find whether the call is one error too many, without remembering it yet."""
        run = self._run
        if call.session_id is None:
            findings.violations.append(no_session(run.severity, "the number of errors in a row"))
            return
        # A call that was denied or refused was not made: it neither fails nor succeeds.
        if call.outcome not in _DONE:
            return
        key = key_of(call.session_id)
        found = state.find(self._name, key, call.received_at_micros)
        errors = found.values[0] if isinstance(found, Moments) else 0
        after = errors + 1 if call.outcome == "error" else 0
        if after > run.limit:
            message = f"This is error number {after} in a row in this session, and at most {run.limit} may be."
            findings.violations.append(self._violation(after, message))
        if after != errors:
            findings.effects.append(partial(self._record, key, after, call.received_at_micros))

    def foresee(self, call: Call, state: PactState, held: Held, outlook: Outlook) -> None:
        """Whether the session is beyond the limit as of now. That this call would fail is not supposed."""
        run = self._run
        if call.session_id is None:
            outlook.violations.append(no_session(run.severity, "the number of errors in a row"))
            return
        found = state.find(self._name, key_of(call.session_id), call.received_at_micros)
        errors = found.values[0] if isinstance(found, Moments) else 0
        if errors > run.limit:
            message = f"The last {errors} calls in this session were errors, and at most {run.limit} may be."
            outlook.violations.append(self._violation(errors, message))

    def _violation(self, errors: int, message: str) -> Violation:
        run = self._run
        return Violation("", "maxConsecutiveErrors", run.severity, errors, run.limit, message)

    def _record(self, key: str, errors: int, now_micros: int, state: PactState) -> None:
        if state.find(self._name, key, now_micros) is None:
            make_room(state, self._name, now_micros)
        state.put(self._name, key, Moments(now_micros + SESSION_IDLE_MICROS, [errors]))
