"""Source text of generated functions, and the expressions for a rule's checks that they share.

Every value of a pact (names, lists, bounds, expressions) enters as a constant in the function's namespace and
never through source text, so that no pact, however hostile, can inject code.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any

from pactstream.pacts import values
from pactstream.pacts.model import AllowList, Check, DenyList, MaxAmount, Regex, Rule, ValueRange
from pactstream.pacts.regex import compile_regex

TEXT_CHECKS = (AllowList, DenyList, Regex)


class Source:
    """Lines of a function and the constants that they name."""

    def __init__(self, signature: str, **known: Any) -> None:
        self._signature = signature
        self._lines: list[str] = []
        self._namespace: dict[str, Any] = {"number": values.number, "text": values.text, **known}

    def line(self, indent: int, code: str) -> None:
        """Add a line; nothing of the pact may stand in it, only names made here and integers."""
        self._lines.append(" " * indent + code)

    def constant(self, value: object) -> str:
        """A name for a value."""
        name = f"c{len(self._namespace)}"
        self._namespace[name] = value
        return name

    def function(self) -> Callable[..., Any]:
        """The compiled function."""
        source = "\n".join([f"def generated({self._signature}):", *self._lines])
        exec(compile(source, "<pact>", "exec"), self._namespace)  # noqa: S102 - see the module's first lines
        function: Callable[..., Any] = self._namespace["generated"]
        return function

    def readings(self, indent: int, rule: Rule, value: str) -> None:
        """Lines that read the value as `t`, its text, and as `n`, its number, where checks need them."""
        if any(isinstance(check, TEXT_CHECKS) for check in rule.checks):
            self.line(indent, f"t = {self._text(rule, value)}")
        if any(isinstance(check, ValueRange | MaxAmount) for check in rule.checks):
            self.line(indent, f"n = {value} if type({value}) is int else number({value})")

    def _text(self, rule: Rule, value: str) -> str:
        if rule.ignore_case or rule.nfkc:
            prepare = partial(values.prepared_text, ignore_case=rule.ignore_case, nfkc=rule.nfkc)
            return f"{self.constant(prepare)}({value})"
        return f"{value} if type({value}) is str else text({value})"

    def fails(self, rule: Rule, check: Check, currency: str = "", *, is_text: bool = False) -> str:
        """An expression that is true where `t` or `n` does not pass.

        `currency` is an expression for the call's own; with `is_text`, `t` is known to be one.
        """
        none = "" if is_text else "t is None or "
        match check:
            case AllowList():
                return f"t not in {self.constant(check.entries)}"
            case DenyList():
                return f"{none}t in {self.constant(check.entries)}"
            case Regex():
                matches = self.constant(compile_regex(check.pattern, ignore_case=rule.ignore_case).matches)
                return f"{none}len(t) > {values.MAX_TEXT} or not {matches}(t)"
            case ValueRange():
                return self._outside(check.least, check.most)
            case MaxAmount():
                outside = self._outside(None if check.allow_negative else Decimal(0), check.amount)
                return f"{outside} or {currency} != {self.constant(check.currency)}"

    def _outside(self, least: Decimal | None, most: Decimal | None) -> str:
        """An open end is still bounded by what is judged at all."""
        low = self.constant(-values.NUMBER_LIMIT if least is None else _narrow(least))
        high = self.constant(values.NUMBER_LIMIT if most is None else _narrow(most))
        return f"n is None or not {low} <= n <= {high}"


def _narrow(bound: Decimal) -> int | Decimal:
    """A whole number as `int`, which most calls compare faster with."""
    return int(bound) if bound == bound.to_integral_value() else bound
