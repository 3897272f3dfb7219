"""One generated Python function per pact and tool.

The source of a function depends on the *shape* of the pact only: how many rules, of which kinds, how deep the
paths go. What comes out for

    {"paramPath": "items[*].price", "required": true, "valueRange": {"min": 0}}

is, with `v<depth>` for the values along the path, `i<depth>` for indices and `c<n>` for constants:

    v1 = v0.get(c9)
    if type(v1) is list:
        if len(v1) > 1000:
            out = stuck(out, c8, v1, (), 1)
        else:
            for i1, v2 in enumerate(v1):
                if type(v2) is dict:
                    v3 = v2.get(c10)
                    if v3 is None:
                        out = absent(out, c8, (i1,))
                    else:
                        n = v3 if type(v3) is int else number(v3)
                        if n is None or not c11 <= n <= c12:
                            out = failed(out, c13, v3, (i1,), v0)
                elif v2 is not None:
                    out = stuck(out, c8, v2, (i1,), 2)
                else:
                    out = absent(out, c8, (i1,))
            if not v1:
                out = absent(out, c8, ())
    ...
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from pactstream.pacts import explain
from pactstream.pacts.explain import MAX_ELEMENTS, Fault, Findings, Site
from pactstream.pacts.model import MaxAmount, ParamBinding, Rule
from pactstream.pacts.paths import EACH, Path, lookup
from pactstream.pacts.source import Source
from pactstream.pacts.unknown import Known, known_names, unknown_params
from pactstream.pacts.verdict import Severity, gravest

Function: TypeAlias = Callable[[dict[str, Any]], Findings | None]


def generate(bindings: list[ParamBinding]) -> Function:
    """The function that judges the parameters of one tool: None where all pass."""
    source = Source(
        "v0",
        absent=explain.absent,
        failed=explain.failed,
        lookup=lookup,
        stuck=explain.stuck,
        unknown_params=unknown_params,
    )
    source.line(1, "out = None")
    for binding in bindings:
        for rule in binding.rules:
            if rule.required or rule.checks:
                _RuleSource(source, rule, Site(rule, binding.severity)).follow(0, (), 1)
    forbidding = [binding.severity for binding in bindings if binding.forbid_unknown]
    if forbidding:
        known = known_names(rule for binding in bindings for rule in binding.rules)
        _unknown(source, gravest(forbidding), known)
    source.line(1, "return out")
    return source.function()


def _unknown(source: Source, severity: Severity, known: Known) -> None:
    arguments = f"out, {source.constant(severity)}, v0, {source.constant(known)}, ()"
    if any(known.values()):
        source.line(1, f"out = unknown_params({arguments})")
    else:
        source.line(1, f"if not {source.constant(frozenset(known))}.issuperset(v0):")
        source.line(2, f"out = unknown_params({arguments})")


class _RuleSource:
    """The lines for one rule: follow its path, then check the value at its end."""

    def __init__(self, source: Source, rule: Rule, site: Site) -> None:
        self._source = source
        self._rule = rule
        self._where = site
        self._site = source.constant(site)
        self._line = source.line
        self._constant = source.constant

    def follow(self, depth: int, loops: tuple[str, ...], indent: int) -> None:
        """Lines for the path from segment `depth` on, inside the loops over `loops`."""
        if depth == len(self._rule.path):
            self._checks(depth, loops, indent)
            return
        value = f"v{depth}"
        segment = self._rule.path[depth]
        if depth > 0:
            container = "dict" if isinstance(segment, str) else "list"
            self._line(indent, f"if type({value}) is {container}:")
            indent += 1
        if isinstance(segment, str):
            self._line(indent, f"v{depth + 1} = {value}.get({self._constant(segment)})")
            self.follow(depth + 1, loops, indent)
        elif segment is EACH:
            self._each(depth, loops, indent)
        else:
            self._line(indent, f"v{depth + 1} = {value}[{segment}] if len({value}) > {segment} else None")
            self.follow(depth + 1, loops, indent)
        if depth > 0:
            self._otherwise(depth, loops, indent - 1)

    def _each(self, depth: int, loops: tuple[str, ...], indent: int) -> None:
        value, index = f"v{depth}", f"i{depth}"
        self._line(indent, f"if len({value}) > {MAX_ELEMENTS}:")
        self._stuck(depth, loops, indent + 1)
        self._line(indent, "else:")
        self._line(indent + 1, f"for {index}, v{depth + 1} in enumerate({value}):")
        self.follow(depth + 1, (*loops, index), indent + 2)
        if self._rule.required:
            self._line(indent + 1, f"if not {value}:")
            self._absent(loops, indent + 2)

    def _otherwise(self, depth: int, loops: tuple[str, ...], indent: int) -> None:
        self._line(indent, f"elif v{depth} is not None:")
        self._stuck(depth, loops, indent + 1)
        if self._rule.required:
            self._line(indent, "else:")
            self._absent(loops, indent + 1)

    def _stuck(self, depth: int, loops: tuple[str, ...], indent: int) -> None:
        self._line(indent, f"out = stuck(out, {self._site}, v{depth}, {_tuple(loops)}, {depth})")

    def _absent(self, loops: tuple[str, ...], indent: int) -> None:
        self._line(indent, f"out = absent(out, {self._site}, {_tuple(loops)})")

    def _checks(self, depth: int, loops: tuple[str, ...], indent: int) -> None:
        value = f"v{depth}"
        if self._rule.required:
            self._line(indent, f"if {value} is None:")
            self._absent(loops, indent + 1)
        if not self._rule.checks:
            return
        self._line(indent, "else:" if self._rule.required else f"if {value} is not None:")
        self._source.readings(indent + 1, self._rule, value)
        for check in self._rule.checks:
            currency = self._currency(check.currency_path, loops) if isinstance(check, MaxAmount) else ""
            self._line(indent + 1, f"if {self._source.fails(self._rule, check, currency)}:")
            fault = self._constant(Fault(self._where, check))
            arguments = f"out, {fault}, {value}, {_tuple(loops)}, v0"
            self._line(indent + 2, f"out = failed({arguments})")

    def _currency(self, path: Path, loops: tuple[str, ...]) -> str:
        if len(path) == 1:
            return f"v0.get({self._constant(path[0])})"
        return f"lookup(v0, {self._constant(path)}, {_tuple(loops)})"


def _tuple(names: Iterable[str]) -> str:
    return f"({''.join(f'{name}, ' for name in names)})"
