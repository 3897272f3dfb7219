"""One generated Python function per pact and tool.

The source of a function depends on the *shape* of the pact only: how many rules, of which kinds, how deep the
paths go. Every value of the pact (names, lists, bounds, expressions) enters as a constant in the function's
namespace and never through source text, so that no pact, however hostile, can inject code. What comes out for

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
                            out = failed(out, c8, c13, v3, (i1,), v0)
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
from decimal import Decimal
from functools import partial
from typing import Any, TypeAlias

from pactstream.pacts import explain, values
from pactstream.pacts.explain import MAX_ELEMENTS, Findings, Site
from pactstream.pacts.model import AllowList, Check, DenyList, MaxAmount, ParamBinding, Regex, Rule, ValueRange
from pactstream.pacts.paths import EACH, Path, lookup
from pactstream.pacts.regex import compile_regex
from pactstream.pacts.unknown import Known, known_names, unknown_params
from pactstream.pacts.verdict import Severity, gravest

Function: TypeAlias = Callable[[dict[str, Any]], Findings | None]


def generate(bindings: list[ParamBinding]) -> Function:
    """The function that judges the parameters of one tool: None where all pass."""
    source = _Source()
    for binding in bindings:
        for rule in binding.rules:
            source.rule(rule, binding.severity)
    forbidding = [binding.severity for binding in bindings if binding.forbid_unknown]
    if forbidding:
        known = known_names(rule for binding in bindings for rule in binding.rules)
        source.unknown(gravest(forbidding), known)
    return source.function()


class _Source:
    """Lines of a function and the constants that they name."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._namespace: dict[str, Any] = {
            "absent": explain.absent,
            "failed": explain.failed,
            "lookup": lookup,
            "number": values.number,
            "stuck": explain.stuck,
            "text": values.text,
            "unknown_params": unknown_params,
        }

    def function(self) -> Function:
        source = "\n".join(["def judge(v0):", " out = None", *self._lines, " return out"])
        # The text holds names made here and integers, nothing from the pact (see the module's first lines).
        exec(compile(source, "<pact>", "exec"), self._namespace)  # noqa: S102
        function: Function = self._namespace["judge"]
        return function

    def rule(self, rule: Rule, severity: Severity) -> None:
        if rule.required or rule.checks:
            site = self.constant(Site(rule, severity))
            _RuleSource(self, rule, site).follow(0, (), 1)

    def unknown(self, severity: Severity, known: Known) -> None:
        arguments = f"out, {self.constant(severity)}, v0, {self.constant(known)}, ()"
        if any(known.values()):
            self.line(1, f"out = unknown_params({arguments})")
        else:
            self.line(1, f"if not {self.constant(frozenset(known))}.issuperset(v0):")
            self.line(2, f"out = unknown_params({arguments})")

    def line(self, indent: int, code: str) -> None:
        self._lines.append(" " * indent + code)

    def constant(self, value: object) -> str:
        name = f"c{len(self._namespace)}"
        self._namespace[name] = value
        return name


class _RuleSource:
    """The lines for one rule: follow its path, then check the value at its end."""

    def __init__(self, source: _Source, rule: Rule, site: str) -> None:
        self._rule = rule
        self._site = site
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
        kinds = {type(check) for check in self._rule.checks}
        if kinds & {AllowList, DenyList, Regex}:
            self._line(indent + 1, f"t = {self._text(value)}")
        if kinds & {ValueRange, MaxAmount}:
            self._line(indent + 1, f"n = {value} if type({value}) is int else number({value})")
        for check in self._rule.checks:
            self._line(indent + 1, f"if {self._fails(check, loops)}:")
            arguments = f"out, {self._site}, {self._constant(check)}, {value}, {_tuple(loops)}, v0"
            self._line(indent + 2, f"out = failed({arguments})")

    def _text(self, value: str) -> str:
        if self._rule.ignore_case or self._rule.nfkc:
            prepare = partial(values.prepared_text, ignore_case=self._rule.ignore_case, nfkc=self._rule.nfkc)
            return f"{self._constant(prepare)}({value})"
        return f"{value} if type({value}) is str else text({value})"

    def _fails(self, check: Check, loops: tuple[str, ...]) -> str:
        match check:
            case AllowList():
                return f"t not in {self._constant(check.entries)}"
            case DenyList():
                return f"t is None or t in {self._constant(check.entries)}"
            case Regex():
                expression = compile_regex(check.pattern, ignore_case=self._rule.ignore_case)
                return f"not {self._constant(expression.matches)}(t)"
            case ValueRange():
                return self._outside(check.least, check.most)
            case MaxAmount():
                outside = self._outside(None if check.allow_negative else Decimal(0), check.amount)
                currency = self._currency(check.currency_path, loops)
                return f"{outside} or {currency} != {self._constant(check.currency)}"

    def _outside(self, least: Decimal | None, most: Decimal | None) -> str:
        """An open end is still bounded by what is judged at all."""
        low = self._constant(-values.NUMBER_LIMIT if least is None else _narrow(least))
        high = self._constant(values.NUMBER_LIMIT if most is None else _narrow(most))
        return f"n is None or not {low} <= n <= {high}"

    def _currency(self, path: Path, loops: tuple[str, ...]) -> str:
        if len(path) == 1:
            return f"v0.get({self._constant(path[0])})"
        return f"lookup(v0, {self._constant(path)}, {_tuple(loops)})"


def _tuple(names: Iterable[str]) -> str:
    return f"({''.join(f'{name}, ' for name in names)})"


def _narrow(bound: Decimal) -> int | Decimal:
    """A whole number as `int`, which most calls compare faster with."""
    return int(bound) if bound == bound.to_integral_value() else bound
