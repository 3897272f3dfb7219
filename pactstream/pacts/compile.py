"""A pact ready to judge calls."""

from __future__ import annotations

from pactstream.pacts import explain, values
from pactstream.pacts.accept import acceptor
from pactstream.pacts.calls import Call, Judgement
from pactstream.pacts.foresight import NOTHING_HELD, Foreseen, Held
from pactstream.pacts.generate import Function, generate
from pactstream.pacts.model import Condition, ErrorRun, Escalation, Order, Pact, ParamBinding
from pactstream.pacts.state import PactState
from pactstream.pacts.stateful import Stateful
from pactstream.pacts.verdict import Severity, Verdict, gravest


class CompiledPact:
    """A pact ready to judge calls; safe to share between threads."""

    __slots__ = ("_any_tool", "_stateful", "_tools", "_unbound", "_valid", "pact", "pact_id", "version")

    def __init__(self, pact: Pact, pact_id: str, version: int) -> None:
        self.pact = pact
        self.pact_id = pact_id
        self.version = version
        everywhere = [condition for condition in pact.conditions if _tools_of(condition) is None]
        named: dict[str, list[Condition]] = {}
        for condition in pact.conditions:
            for tool in _tools_of(condition) or ():
                named.setdefault(tool, []).append(condition)
        self._tools = {tool: _Bound([*group, *everywhere]) for tool, group in named.items()}
        self._any_tool = _Bound(everywhere) if everywhere else None
        self._stateful = Stateful(pact, pact_id)
        self._valid = Verdict(True, True, pact_id, version, pact.hash)
        self._unbound = Verdict(True, False, pact_id, version, pact.hash)

    @property
    def stateful(self) -> bool:
        """Whether a verdict depends on earlier calls too, so that `weigh` may say more than `judge`."""
        return not self._stateful.empty

    def looks_back(self, tool: str) -> bool:
        """Whether the verdict on a call of this tool depends on earlier ones."""
        return self._stateful.concerns(tool)

    def weigh(self, call: Call, state: PactState) -> Judgement:
        """The judgement of a call after those that `state` remembers; nothing is remembered until `record`.

        Never raises on what the call holds.
        """
        verdict = self.judge(call.tool, call.params)
        return (
            Judgement(verdict, verdict) if self._stateful.empty else self._stateful.weigh(call, verdict, state)
        )

    def observe(self, call: Call, state: PactState) -> Judgement:
        """As `weigh`, and the call is remembered."""
        judgement = self.weigh(call, state)
        judgement.record(state)
        return judgement

    def foresee(self, call: Call, state: PactState, held: Held = NOTHING_HELD) -> Foreseen:
        """The verdict on a call that is yet to be made, as of its arrival, and what it would take of budgets.

        `held` is what is held back for other calls. Never raises on what the call holds.
        """
        verdict = self.judge(call.tool, call.params)
        if self._stateful.empty:
            return Foreseen(verdict)
        return self._stateful.foresee(call, verdict, state, held)

    def judge(self, tool: str, params: bytes) -> Verdict:
        """The verdict on a call of `tool` with `params`, the bytes of a JSON object, taken alone.

        Never raises on what the parameters hold: what cannot be judged is a violation that says why.
        """
        bound = self._tools.get(tool, self._any_tool)
        if bound is None:
            return self._unbound
        if bound.accepts(params):
            return self._valid
        return self._judge_exactly(bound, params)

    def _judge_exactly(self, bound: _Bound, params: bytes) -> Verdict:
        if len(params) > values.MAX_PARAMS_BYTES:
            return self._unreadable(bound, f"they have more than {values.MAX_PARAMS_BYTES} bytes")
        try:
            decoded = values.decode(params)
        except ValueError as error:
            return self._unreadable(bound, str(error))
        return self._verdict(bound, decoded)

    def judge_decoded(self, tool: str, params: object) -> Verdict:
        """As `judge`, for parameters that are decoded already: the entry for whoever has decoded them anyway.

        They must be as `values.decode` gives them, exact numbers and no key twice: a float is no number here.
        Who has bytes only calls `judge`, which answers a valid call in less time than decoding and this take.
        """
        bound = self._tools.get(tool, self._any_tool)
        return self._unbound if bound is None else self._verdict(bound, params)

    def _verdict(self, bound: _Bound, params: object) -> Verdict:
        if type(params) is not dict:
            return self._unreadable(bound, f"they are {explain.kind(params)}")
        findings = bound.function(params)
        if findings is None:
            return self._valid
        violations = tuple(findings.violations)
        if findings.unlisted:
            violations = (*violations[:-1], explain.more(findings))
        return Verdict(False, True, self.pact_id, self.version, self.pact.hash, findings.severity, violations)

    def _unreadable(self, bound: _Bound, reason: str) -> Verdict:
        severity = bound.severity
        violations = (explain.unreadable(severity, reason),)
        return Verdict(False, True, self.pact_id, self.version, self.pact.hash, severity, violations)


class _Bound:
    """A tool that a pact names: the rules for its parameters, and the gravest severity of its conditions."""

    __slots__ = ("accepts", "function", "severity")

    def __init__(self, conditions: list[Condition]) -> None:
        bindings = [condition for condition in conditions if isinstance(condition, ParamBinding)]
        self.accepts = acceptor(bindings)
        self.function: Function = generate(bindings)
        self.severity: Severity = gravest([condition.severity for condition in conditions])


def _tools_of(condition: Condition) -> tuple[str, ...] | None:
    """The tools that a condition names; None: every tool."""
    match condition:
        case ParamBinding():
            return (condition.tool,)
        case Order():
            return (condition.tool, condition.after)
        case ErrorRun():
            return condition.tools
        case Escalation():
            return ()
        case _:
            return condition.measure.tools


def compile_pact(pact: Pact, *, pact_id: str, version: int) -> CompiledPact:
    """The pact as functions, to be named `pact_id` and `version` in every verdict."""
    return CompiledPact(pact, pact_id, version)
