"""A pact loosened for exactly one rule, so that what violated it passes; everything else stays as it is.

The answer to a page that was right by the pact and wrong by the facts. Works on documents, because that is what
people read, compare and approve.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NamedTuple

from pactstream.errors import InvalidInput
from pactstream.pacts import values
from pactstream.pacts.parse import parse_pact
from pactstream.pacts.paths import EACH, Path, PathError, parse_path
from pactstream.pacts.values import prepared_text

CHECKS: Final = ("allowList", "denyList", "regex", "valueRange", "maxAmount", "required")
ORDERS: Final = ("requires", "forbids")
RULES: Final = (*CHECKS, *ORDERS, "unknownParams", "window", "maxConsecutiveErrors")
"""The rules that can be loosened, by their names in violations."""

_ELLIPSIS: Final = "…"
_SPECIAL = re.compile(r"([\\.+*?()|\[\]{}^$#&~\-/ ])")

Document = dict[str, Any]


class NotLoosened(InvalidInput):
    """A rule that cannot be loosened for a value by changing it alone; the message says why."""


class _Site(NamedTuple):
    """The object that holds a rule, and the rule's name in it."""

    holder: Document
    name: str


def loosened(
    document: Mapping[str, Any], *, param_path: str, rule: str, value: object, tool: str | None = None
) -> Document:
    """A new pact document in which `value` at `param_path` no longer violates `rule`.

    `param_path`, `rule` and `value` as a violation has them; `tool` narrows it to the conditions on one tool.
    Lists gain or lose the value, bounds move to it, a regular expression gains it as an alternative, what is
    required becomes optional, and an order of calls is dropped. Raises `NotLoosened`.
    """
    made: Document = json.loads(json.dumps(document))
    if rule == "unknownParams":
        _name(made, param_path, tool)
    elif rule in ORDERS:
        _drop_order(made, rule, tool)
    else:
        sites = list(_sites(made, param_path, rule, tool))
        if not sites or rule not in RULES:
            raise NotLoosened(f"the pact has no rule {rule} at {param_path or 'the call'} to be loosened")
        for site in sites:
            _loosen(site, value)
    try:
        parse_pact(made)
    except InvalidInput as error:
        raise NotLoosened(f"loosened for this value, it would be no pact: {error}") from None
    return made


def same_but_for(
    old: Mapping[str, Any], new: Mapping[str, Any], *, param_path: str, rule: str, tool: str | None = None
) -> bool:
    """Whether two documents differ in this rule at most: that one may be loosened so far, or by hand."""
    return _without(old, param_path, rule, tool) == _without(new, param_path, rule, tool)


def demanded(document: Mapping[str, Any], *, param_path: str, rule: str, tool: str | None = None) -> Any:
    """What a pact demands there, as it is written; None where that is not one thing that can be shown."""
    if rule in ORDERS:
        orders = [one["sequence"][rule] for one in document["conditions"] if _is_order(one, rule, tool)]
        return orders[0] if len(orders) == 1 else None
    found = [holder[name] for holder, name in _sites(dict(document), param_path, rule, tool)]
    return found[0] if found else None


def _without(document: Mapping[str, Any], param_path: str, rule: str, tool: str | None) -> Document:
    made: Document = copy.deepcopy(dict(document))
    if rule in ORDERS:
        made["conditions"] = [one for one in made["conditions"] if not _is_order(one, rule, tool)]
    elif rule == "unknownParams":
        for binding in _bindings(made, tool):
            binding["rules"] = [one for one in binding["rules"] if not _only_names(one, param_path)]
    else:
        for holder, name in list(_sites(made, param_path, rule, tool)):
            holder.pop(name, None)
    return made


# Where rules stand.


def _sites(document: Document, param_path: str, rule: str, tool: str | None) -> Iterator[_Site]:
    if rule == "window":
        for condition in document["conditions"]:
            window = condition.get("window")
            if window is not None and _is_of(window["tools"], tool) and _matches(window, param_path):
                yield _Site(window, "limit")
    elif rule == "maxConsecutiveErrors":
        for condition in document["conditions"]:
            run = condition.get("sequence", {})
            if rule in run and _is_of(run.get("tools"), tool):
                yield _Site(run, rule)
    elif rule in CHECKS:
        for binding in _bindings(document, tool):
            yield from (
                _Site(one, rule) for one in binding["rules"] if rule in one and _matches(one, param_path)
            )


def _bindings(document: Document, tool: str | None) -> Iterator[Document]:
    for condition in document["conditions"]:
        binding = condition.get("parameterBinding")
        if binding is not None and _is_of([binding["tool"]], tool):
            yield binding


def _is_of(tools: list[str] | None, tool: str | None) -> bool:
    return tool is None or tools is None or tool in tools


def _matches(holder: Document, concrete: str) -> bool:
    """Whether a rule's path, which may have `[*]`, is that of a violation."""
    written = holder.get("paramPath", "")
    if not written or not concrete:
        return bool(written == concrete)
    ours, theirs = _path(written), _path(concrete)
    return len(ours) == len(theirs) and all(
        a == b or (a is EACH and isinstance(b, int)) for a, b in zip(ours, theirs, strict=True)
    )


def _path(text: str) -> Path:
    try:
        return parse_path(text)
    except PathError as error:
        raise NotLoosened(f"{text!r} is no path: {error}") from None


def _only_names(rule: Document, param_path: str) -> bool:
    return rule.keys() <= {"paramPath", "description"} and rule["paramPath"] == param_path


def _is_order(condition: Document, rule: str, tool: str | None) -> bool:
    order = condition.get("sequence", {}).get(rule)
    return order is not None and _is_of([order["tool"]], tool)


# How each is loosened.


def _loosen(site: _Site, value: object) -> None:
    holder, name = site
    match name:
        case "required":
            del holder[name]
        case "allowList":
            text = _text(value)
            if text not in map(_text, holder[name]):
                holder[name] = [*holder[name], text]
        case "denyList":
            _allow_again(holder, value)
        case "regex":
            escaped = _SPECIAL.sub(r"\\\1", _text(value))
            holder[name] = f"(?:{holder[name]})|^(?:{escaped})$"
        case "valueRange":
            _widen(holder[name], _number(value))
        case "maxAmount":
            _raise_amount(holder[name], _number(value))
        case _:  # the limit of a window, errors in a row
            holder[name] = _written(max(_number(value), _number(holder[name])))


def _allow_again(holder: Document, value: object) -> None:
    ignore_case, nfkc = holder.get("caseInsensitive", False), "normalize" in holder

    def prepared(one: object) -> object:
        text = _text(one)
        return prepared_text(text, ignore_case=ignore_case, nfkc=nfkc) if ignore_case or nfkc else text

    left = [one for one in holder["denyList"] if prepared(one) != prepared(value)]
    if left:
        holder["denyList"] = left
    else:
        del holder["denyList"]


def _widen(bounds: Document, number: Decimal) -> None:
    if "min" in bounds and number < _number(bounds["min"]):
        bounds["min"] = _written(number)
    if "max" in bounds and number > _number(bounds["max"]):
        bounds["max"] = _written(number)


def _raise_amount(most: Document, number: Decimal) -> None:
    if number < 0:
        most["allowNegative"] = True
    elif number > _number(most["amount"]):
        most["amount"] = _written(number)
    else:
        raise NotLoosened("the amount is within the limit: its currency is at fault, which stays as it is")


def _name(document: Document, param_path: str, tool: str | None) -> None:
    forbidding = [one for one in _bindings(document, tool) if one.get("unknownParams") == "forbid"]
    if not forbidding:
        raise NotLoosened("the pact forbids no unknown parameters")
    _path(param_path)
    for binding in forbidding:
        if not any(one["paramPath"] == param_path for one in binding["rules"]):
            binding["rules"].append({"paramPath": param_path})


def _drop_order(document: Document, rule: str, tool: str | None) -> None:
    orders = [one for one in document["conditions"] if _is_order(one, rule, tool)]
    if len(orders) != 1:
        raise NotLoosened(f"{len(orders)} conditions say {rule} here: which one is meant cannot be told")
    document["conditions"] = [one for one in document["conditions"] if one is not orders[0]]


def _text(value: object) -> str:
    exact = Decimal(repr(value)) if isinstance(value, float) else value
    text = values.text(exact)
    if text is None or (isinstance(value, str) and value.endswith(_ELLIPSIS)):
        raise NotLoosened("the failing value is not known in full: write the new version by hand")
    return text


def _number(value: object) -> Decimal:
    try:
        if isinstance(value, bool):
            raise ValueError
        number = Decimal(str(value))
        if not number.is_finite():
            raise ValueError
    except (InvalidOperation, ValueError):
        raise NotLoosened("the failing value is no number: no bound admits it") from None
    return number


def _written(number: Decimal) -> int | float | str:
    """As a document may hold it: a number where binary floating point holds it, else plain decimal text."""
    if number == number.to_integral_value() and abs(number) <= 2**53:
        return int(number)
    return float(number) if Decimal(repr(float(number))) == number else format(number, "f")
