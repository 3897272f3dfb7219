"""All conditions of a pact that look at more than one call, put together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pactstream.pacts.calls import Call, Effect, Findings, Judgement
from pactstream.pacts.escalation import EscalationRule
from pactstream.pacts.foresight import Foreseen, Held, Outlook
from pactstream.pacts.model import ErrorRun, Escalation, Order, Pact, Window
from pactstream.pacts.sequences import ErrorRunRule, OrderRule
from pactstream.pacts.state import PactState
from pactstream.pacts.verdict import MAX_VIOLATIONS, Severity, Verdict, Violation, gravest
from pactstream.pacts.windows import Limit, meters


class _Rule(Protocol):
    """One condition, or several that share their state."""

    @property
    def tools(self) -> Sequence[str] | None: ...

    def weigh(self, call: Call, state: PactState, findings: Findings) -> None: ...

    def foresee(self, call: Call, state: PactState, held: Held, outlook: Outlook) -> None: ...


class Stateful:
    """Judges calls by what went before them. It keeps nothing itself: the state is handed in."""

    def __init__(self, pact: Pact, pact_id: str) -> None:
        rules: list[_Rule] = []
        limits: list[Limit] = []
        self._escalations: list[EscalationRule] = []
        for index, condition in enumerate(pact.conditions):
            match condition:
                case Window():
                    limits.append(Limit(index, condition))
                case Order():
                    rules.append(OrderRule(pact_id, condition))
                case ErrorRun():
                    rules.append(ErrorRunRule(pact_id, condition))
                case Escalation():
                    self._escalations.append(EscalationRule(pact_id, condition))
                case _:  # of one call alone
                    pass
        rules += meters(pact_id, limits)
        tools = {tool for rule in rules for tool in rule.tools or ()}
        self._any_tool = [rule for rule in rules if rule.tools is None]
        self._by_tool = {
            tool: [rule for rule in rules if rule.tools is None or tool in rule.tools] for tool in tools
        }
        self.empty = not rules and not self._escalations

    def concerns(self, tool: str) -> bool:
        """Whether any condition looks at calls of this tool."""
        return bool(self._escalations or self._by_tool.get(tool, self._any_tool))

    def weigh(self, call: Call, alone: Verdict, state: PactState) -> Judgement:
        """The judgement of a call that, taken alone, has this verdict."""
        findings, verdict = Findings([], [], []), alone
        for rule in self._by_tool.get(call.tool, self._any_tool):
            rule.weigh(call, state, findings)
        if findings.violations:
            verdict = joined(verdict, findings.violations)
        verdict = self._escalated(call, verdict, state, findings.effects)
        return Judgement(verdict, alone, tuple(findings.crossings), tuple(findings.effects))

    def foresee(self, call: Call, verdict: Verdict, state: PactState, held: Held) -> Foreseen:
        """What can be said of a call to come that, taken alone, has this verdict."""
        outlook = Outlook()
        for rule in self._by_tool.get(call.tool, self._any_tool):
            rule.foresee(call, state, held, outlook)
        if outlook.violations:
            verdict = joined(verdict, outlook.violations)
        return Foreseen(self._escalated(call, verdict, state, []), tuple(outlook.claims))

    def _escalated(self, call: Call, verdict: Verdict, state: PactState, effects: list[Effect]) -> Verdict:
        """Escalations apply in their order in the pact, each to what the one before made of the verdict."""
        for escalation in self._escalations:
            if verdict.severity is None:
                break
            violation, effect = escalation.weigh(call, verdict.severity, state)
            if effect is not None:
                effects.append(effect)
            if violation is not None:
                verdict = joined(verdict, [violation])
        return verdict


def joined(verdict: Verdict, violations: list[Violation]) -> Verdict:
    """The verdict with more violations; of more than a hundred, the last one listed counts the rest."""
    severities: list[Severity] = [violation.severity for violation in violations]
    severity = gravest([*severities, verdict.severity] if verdict.severity else severities)
    listed, unlisted = list(verdict.violations), 0
    if listed and listed[-1].rule == "more":
        unlisted = listed.pop().value
    room = MAX_VIOLATIONS - len(violations)
    if unlisted or len(listed) > room:
        unlisted += len(listed) - (room - 1)
        message = f"{unlisted} more violations are not listed."
        rest = Violation("", "more", severity, unlisted, None, message)
        violations = [*violations, rest]
        listed = listed[: room - 1]
    return Verdict(
        False,
        True,
        verdict.pact_id,
        verdict.pact_version,
        verdict.pact_hash,
        severity,
        (*listed, *violations),
    )
