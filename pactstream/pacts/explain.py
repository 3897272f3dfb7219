"""From a failed check to a `Violation` that a person can read. Runs only where something failed."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from json.encoder import encode_basestring
from typing import Any, Final

from pactstream.pacts import values
from pactstream.pacts.model import AllowList, Check, DenyList, MaxAmount, Regex, Rule, ValueRange
from pactstream.pacts.paths import EACH, Path, format_path, lookup
from pactstream.pacts.verdict import (
    MAX_STRING,
    MAX_VIOLATIONS,
    SEVERITIES,
    Severity,
    Violation,
    bounded,
    gravest,
    shortened,
)

MAX_ELEMENTS: Final = 1_000
"""The longest array that `[*]` runs over."""

_ZERO: Final = Decimal(0)
_SHOWN: Final = 62
_SHOWN_NUMBER: Final = 10**63  # below it, digits and a sign are 64 characters at most
_MISMATCH: Final = {
    AllowList: "which is not on the allow-list",
    DenyList: "which is on the deny-list",
    Regex: "which does not match",
}
_NAMES: Final = {
    AllowList: "allowList",
    DenyList: "denyList",
    Regex: "regex",
    ValueRange: "valueRange",
    MaxAmount: "maxAmount",
}


class Site:
    """A rule in force: where the generated function points when something fails."""

    __slots__ = ("fixed", "rule", "severity")

    def __init__(self, rule: Rule, severity: Severity) -> None:
        self.rule = rule
        self.severity = severity
        self.fixed = None if EACH in rule.path else format_path(rule.path)

    def place(self, indices: tuple[int, ...]) -> str:
        """The rule's path with the indices of an element."""
        return self.fixed or format_path(self.rule.path, indices)


@dataclass(slots=True)
class Findings:
    """What one call failed: the first hundred violations, how many more, and the gravest severity of all."""

    violations: list[Violation] = field(default_factory=list)
    unlisted: int = 0
    severity: Severity = SEVERITIES[-1]

    def room(self, severity: Severity) -> bool:
        """Count one violation; whether it is to be listed."""
        if severity != self.severity:
            self.severity = gravest([severity, self.severity])
        if len(self.violations) < MAX_VIOLATIONS:
            return True
        self.unlisted += 1
        return False


class Fault:
    """One check of a rule in force, and what is said of a value that does not pass it.

    Most values that fail are short text or whole numbers: what is said of those is prepared, all but the value.
    """

    __slots__ = ("_above", "_below", "_check", "_expected", "_name", "_not_so", "_site", "severity")

    def __init__(self, site: Site, check: Check) -> None:
        self.severity = site.severity
        self._site = site
        self._check = check
        self._name = _NAMES[type(check)]
        self._expected = check.expected
        self._not_so: str | None = None
        self._below: tuple[Any, str] = (-values.NUMBER_LIMIT, "")
        self._above: tuple[Any, str] = (values.NUMBER_LIMIT, "")
        if isinstance(check, AllowList | DenyList | Regex):
            if not (site.rule.ignore_case or site.rule.nfkc):
                self._not_so = f", {_MISMATCH[type(check)]}{_pattern(check)}."
            return
        least, most = _bounds(check)
        if least is not None:
            self._below = (least, f", below the minimum of {least!s}.")
        if most is not None:
            self._above = (most, f", above the maximum of {most!s}.")

    def violation(self, value: Any, indices: tuple[int, ...], params: Any) -> Violation:
        """What is said of a value that fails."""
        site = self._site
        place = site.fixed or site.place(indices)
        message = self._message(place, value)
        if message is not None:
            return Violation(place, self._name, self.severity, value, self._expected, message)
        check = self._check
        if type(check) is MaxAmount and _amount_passes(check, value):
            value = lookup(params, check.currency_path, indices)
            shown = "missing or null" if value is None else show(value)
            place = format_path(check.currency_path, indices)
            reason = f"is {shown}, but the amount is capped in {show(check.currency)}"
        else:
            reason = _reason(check, site.rule, value)
        return _violation(site, check, place, value, f"{place} {reason}.")

    def _message(self, place: str, value: Any) -> str | None:
        """The sentence, where it is prepared; it is the one that `_reason` would make."""
        if type(value) is str:
            if self._not_so is not None and len(value) <= _SHOWN:
                return f"{place} is {encode_basestring(value)}{self._not_so}"
        elif type(value) is int:
            least, below = self._below
            if value < least:
                return f"{place} is {value}{below}" if below and value > -_SHOWN_NUMBER else None
            most, above = self._above
            if value > most and above and value < _SHOWN_NUMBER:
                return f"{place} is {value}{above}"
        return None


def failed(
    findings: Findings | None, fault: Fault, value: Any, indices: tuple[int, ...], params: Any
) -> Findings:
    """A present value does not pass the check of `fault`."""
    found = findings or Findings()
    if found.room(fault.severity):
        found.violations.append(fault.violation(value, indices, params))
    return found


def absent(findings: Findings | None, site: Site, indices: tuple[int, ...]) -> Findings:
    """A required value is missing or null."""
    found = findings or Findings()
    if found.room(site.severity):
        place = site.place(indices)
        message = f"{place} is required, and it is missing or null."
        found.violations.append(_violation(site, None, place, None, message))
    return found


def stuck(findings: Findings | None, site: Site, value: Any, indices: tuple[int, ...], depth: int) -> Findings:
    """The path cannot be followed beyond its first `depth` segments: every check of the rule has failed."""
    found = findings or Findings()
    place = site.place(indices)
    reason = f"{format_path(site.rule.path[:depth], indices)} is {kind(value)}"
    if isinstance(value, list) and len(value) > MAX_ELEMENTS:
        reason += f" of more than {MAX_ELEMENTS} elements"
    required: list[Check | None] = [None] if site.rule.required else []
    for check in (*required, *site.rule.checks):
        if found.room(site.severity):
            message = f"{reason}, so {place} cannot be judged."
            found.violations.append(_violation(site, check, place, value, message))
    return found


def unknown(
    findings: Findings | None, severity: Severity, place: Path, value: Any, known: list[str]
) -> Findings:
    """A parameter that no rule names, where the pact forbids that."""
    found = findings or Findings()
    if found.room(severity):
        name = format_path(place)
        message = f"{name} is not a parameter that the pact knows."
        found.violations.append(
            Violation(name, "unknownParams", severity, bounded(value), bounded(sorted(known)), message)
        )
    return found


def unreadable(severity: Severity, reason: str) -> Violation:
    """The parameters as a whole cannot be judged."""
    message = f"The parameters cannot be judged: {reason}."
    return Violation("", "params", severity, None, "a JSON object", message)


def more(findings: Findings) -> Violation:
    """The last entry of a list that was cut: it takes the place of the hundredth and counts it too."""
    unlisted = findings.unlisted + 1
    message = f"{unlisted} more violations are not listed."
    return Violation("", "more", findings.severity, unlisted, None, message)


def kind(value: object) -> str:
    """What a JSON value is, in words."""
    names = {dict: "an object", list: "an array", str: "a string", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _violation(site: Site, check: Check | None, place: str, value: Any, message: str) -> Violation:
    if type(value) is not str or len(value) > MAX_STRING:
        value = bounded(value)
    if check is None:
        return Violation(place, "required", site.severity, value, True, message)
    return Violation(place, _NAMES[type(check)], site.severity, value, check.expected, message)


def _amount_passes(check: MaxAmount, value: object) -> bool:
    """Whether the amount itself is within its maximum, so that the currency is what failed."""
    amount = values.number(value)
    least = -values.NUMBER_LIMIT if check.allow_negative else 0
    return amount is not None and least <= amount <= check.amount


def _bounds(check: ValueRange | MaxAmount) -> tuple[Decimal | None, Decimal | None]:
    if isinstance(check, ValueRange):
        return check.least, check.most
    return None if check.allow_negative else _ZERO, check.amount


def _pattern(check: Check) -> str:
    return f" /{shortened(check.pattern, 64)}/" if isinstance(check, Regex) else ""


def _reason(check: Check, rule: Rule, value: Any) -> str:
    if isinstance(check, ValueRange | MaxAmount):
        return _number_reason(value, *_bounds(check))
    return _text_reason(check, rule, value)


def _text_reason(check: AllowList | DenyList | Regex, rule: Rule, value: Any) -> str:
    if type(value) is not str or rule.ignore_case or rule.nfkc:
        prepared = values.prepared_text(value, ignore_case=rule.ignore_case, nfkc=rule.nfkc)
    else:
        prepared = value
    if prepared is None:
        plain = values.text(value)
        return f"is {kind(value)} without a text to compare" if plain is None else _TOO_LONG
    if isinstance(check, Regex) and len(prepared) > values.MAX_TEXT:
        return _TOO_LONG
    return f"is {show(value)}, {_MISMATCH[type(check)]}{_pattern(check)}"


_TOO_LONG: Final = f"is longer than the {values.MAX_TEXT} characters that are judged"


def _number_reason(value: Any, least: Decimal | None, most: Decimal | None) -> str:
    amount = values.number(value)
    if amount is None:
        return f"is {show(value)}, which is not a number in plain decimal notation"
    if not -values.NUMBER_LIMIT <= amount <= values.NUMBER_LIMIT:
        return f"has more than the {values.MAX_DIGITS} digits that are judged"
    if least is not None and amount < least:
        return f"is {show(value)}, below the minimum of {least!s}"
    return f"is {show(value)}, above the maximum of {most!s}"


def show(value: Any) -> str:
    """A value inside a sentence: JSON, at most 64 characters; an array or object by its kind only."""
    if type(value) is str:
        return encode_basestring(value if len(value) <= _SHOWN else shortened(value, _SHOWN))
    if isinstance(value, (dict, list)):
        return kind(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return shortened(str(value), 64)
