"""A pact ready to judge calls."""

from __future__ import annotations

from typing import Final

from pactstream.pacts import explain, values
from pactstream.pacts.generate import Function, generate
from pactstream.pacts.model import Pact, ParamBinding
from pactstream.pacts.verdict import Verdict, gravest

MAX_PARAMS_BYTES: Final = 64 * 1024


class CompiledPact:
    """A pact ready to judge calls; safe to share between threads."""

    __slots__ = ("_severities", "_tools", "_unbound", "_valid", "pact", "pact_id", "version")

    def __init__(self, pact: Pact, pact_id: str, version: int) -> None:
        self.pact = pact
        self.pact_id = pact_id
        self.version = version
        bindings: dict[str, list[ParamBinding]] = {}
        for condition in pact.conditions:
            bindings.setdefault(condition.tool, []).append(condition)
        self._tools = {tool: generate(group) for tool, group in bindings.items()}
        self._severities = {
            tool: gravest([binding.severity for binding in group]) for tool, group in bindings.items()
        }
        self._valid = Verdict(True, True, pact_id, version, pact.hash)
        self._unbound = Verdict(True, False, pact_id, version, pact.hash)

    def judge(self, tool: str, params: bytes) -> Verdict:
        """The verdict on a call of `tool` with `params`, the bytes of a JSON object.

        Never raises on what the parameters hold: what cannot be judged is a violation that says why.
        """
        function = self._tools.get(tool)
        if function is None:
            return self._unbound
        if len(params) > MAX_PARAMS_BYTES:
            return self._unreadable(tool, f"they have more than {MAX_PARAMS_BYTES} bytes")
        try:
            decoded = values.decode(params)
        except ValueError as error:
            return self._unreadable(tool, str(error))
        return self._verdict(tool, function, decoded)

    def judge_decoded(self, tool: str, params: object) -> Verdict:
        """As `judge`, for parameters that `values.decode` has decoded: a float in them is no number."""
        function = self._tools.get(tool)
        return self._unbound if function is None else self._verdict(tool, function, params)

    def _verdict(self, tool: str, function: Function, params: object) -> Verdict:
        if type(params) is not dict:
            return self._unreadable(tool, f"they are {explain.kind(params)}")
        findings = function(params)
        if findings is None:
            return self._valid
        violations = tuple(findings.violations)
        if findings.unlisted:
            violations = (*violations[:-1], explain.more(findings))
        return Verdict(False, True, self.pact_id, self.version, self.pact.hash, findings.severity, violations)

    def _unreadable(self, tool: str, reason: str) -> Verdict:
        severity = self._severities[tool]
        violations = (explain.unreadable(severity, reason),)
        return Verdict(False, True, self.pact_id, self.version, self.pact.hash, severity, violations)


def compile_pact(pact: Pact, *, pact_id: str, version: int) -> CompiledPact:
    """The pact as functions, to be named `pact_id` and `version` in every verdict."""
    return CompiledPact(pact, pact_id, version)
