"""Properties of judging, checked against a slow evaluator that is written to be obviously right."""

from __future__ import annotations

import json
import re
import timeit
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pactstream.pacts import SEVERITIES, PactError, compile_pact, parse_pact, values
from pactstream.pacts.paths import EACH, Path, format_path, parse_path
from pactstream.pacts.regex import compile_regex

# --- the slow evaluator ---

MISSING = object()
EXPRESSIONS = {
    "^[a-c]+$": r"\A[a-c]+\Z",
    "b": "b",
    r"^\d+$": r"\A[0-9]+\Z",
    "": "",
    "^(a|bc)*$": r"\A(a|bc)*\Z",
}


def reference(document: dict[str, Any], tool: str, params: bytes) -> list[tuple[str, str, str]]:
    """Every violation as (paramPath, rule, severity), straight from the text of docs/pacts.md."""
    bindings = [(c["severity"], c["parameterBinding"]) for c in document["conditions"]]
    bindings = [(severity, binding) for severity, binding in bindings if binding["tool"] == tool]
    gravest = min((severity for severity, _ in bindings), key=SEVERITIES.index)
    try:
        decoded = json.loads(params, parse_float=Decimal, parse_constant=_refuse, object_pairs_hook=_unique)
        json.dumps(decoded, default=str, ensure_ascii=False).encode()  # fails on a lone surrogate
    except ValueError:
        return [("", "params", gravest)]
    if not isinstance(decoded, dict):
        return [("", "params", gravest)]
    return [
        (place, name, severity)
        for severity, binding in bindings
        for rule in binding["rules"]
        for place, name in _rule_violations(rule, decoded)
    ]


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) < len(pairs):
        raise ValueError("duplicate key")
    return dict(pairs)


def _rule_violations(rule: dict[str, Any], params: dict[str, Any]) -> Iterator[tuple[str, str]]:
    checks = [name for name in ("allowList", "denyList", "regex", "valueRange", "maxAmount") if name in rule]
    required = ["required"] if rule.get("required") else []
    for path, value in _resolve(parse_path(rule["paramPath"]), params, ()):
        if value is MISSING:
            yield from ((_shown(path), name) for name in required)
        elif isinstance(value, Stuck):
            yield from ((_shown(path), name) for name in (*required, *checks))
        else:
            for name in checks:
                yield from _check(name, rule, path, value, params)


class Stuck:
    """The path cannot be followed."""


def _resolve(path: Path, value: Any, done: Path) -> Iterator[tuple[Path, Any]]:
    if value is None or value is MISSING:
        yield (*done, *path), MISSING
    elif not path:
        yield done, value
    elif isinstance(path[0], str) and isinstance(value, dict):
        yield from _resolve(path[1:], value.get(path[0], MISSING), (*done, path[0]))
    elif isinstance(path[0], int) and isinstance(value, list):
        element = value[path[0]] if len(value) > path[0] else MISSING
        yield from _resolve(path[1:], element, (*done, path[0]))
    elif path[0] is EACH and isinstance(value, list):
        if not value:
            yield (*done, *path), MISSING
        for index, element in enumerate(value):
            yield from _resolve(path[1:], element, (*done, index))
    else:
        yield (*done, *path), Stuck()


def _shown(path: Path) -> str:
    return format_path(path)


def _check(name: str, rule: dict[str, Any], path: Path, value: Any, params: Any) -> Iterator[tuple[str, str]]:
    text, amount = _text(value), _number(value)
    listed = {_text(entry) for entry in rule.get(name, ())} if name in ("allowList", "denyList") else set()
    passes = {
        "allowList": lambda: text is not None and text in listed,
        "denyList": lambda: text is not None and text not in listed,
        "regex": lambda: text is not None and re.search(EXPRESSIONS[rule["regex"]], text) is not None,
        "valueRange": lambda: _within(amount, rule["valueRange"].get("min"), rule["valueRange"].get("max")),
        "maxAmount": lambda: _within(amount, 0, rule["maxAmount"]["amount"]),
    }
    if not passes[name]():
        yield _shown(path), name
    elif name == "maxAmount":
        last_key = max(at for at, step in enumerate(path) if isinstance(step, str))
        currency_path: Path = (*path[:last_key], "currency")
        ((_, currency),) = _resolve(currency_path, params, ())
        if currency != rule["maxAmount"]["currency"]:
            yield _shown(currency_path), name


def _within(amount: Fraction | None, least: Any, most: Any) -> bool:
    if amount is None or abs(amount) >= 10**100:
        return False
    return (least is None or amount >= Fraction(str(least))) and (most is None or amount <= Fraction(str(most)))


def _number(value: Any) -> Fraction | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        return Fraction(value) if re.fullmatch(r"-?(0|[1-9][0-9]*)([.][0-9]+)?", value) else None
    return Fraction(value) if isinstance(value, (int, Decimal)) else None


def _text(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float, Decimal)):
        plain = f"{Decimal(str(value)):f}"
        plain = plain.rstrip("0").rstrip(".") if "." in plain else plain
        return "0" if plain == "-0" else plain
    return value if isinstance(value, str) else None


# --- what is generated: few names and values, so that pacts and calls meet often ---

KEYS = ("a", "b", "c.d")
NUMBERS = st.sampled_from(
    ["0", "-1", "1", "2", "1000", "0.3", "1e3", "2.50", "-0.0", "9007199254740993", "0.30000001"]
)
SCALARS = st.one_of(
    NUMBERS,
    st.sampled_from(["null", "true", "false"]),
    st.sampled_from(["a", "b", "abc", "bca", "1", "2.50", "1e3", "EUR", "USD", "a\n", "é", "", "true"]).map(
        json.dumps
    ),
)


def _containers(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    members = st.dictionaries(st.sampled_from((*KEYS, "currency")), inner, max_size=4)
    return st.one_of(
        st.lists(inner, max_size=3).map(lambda elements: f"[{', '.join(elements)}]"),
        members.map(lambda items: f"{{{', '.join(f'{json.dumps(k)}: {v}' for k, v in items.items())}}}"),
    )


JSON_TEXTS = st.recursive(SCALARS, _containers, max_leaves=12)
PARAMS = st.dictionaries(st.sampled_from((*KEYS, "currency")), JSON_TEXTS, max_size=4).map(
    lambda items: "{" + ", ".join(f"{json.dumps(key)}: {value}" for key, value in items.items()) + "}"
)
PATHS = st.builds(
    lambda first, rest: format_path((first, *rest)),
    st.sampled_from(KEYS),
    st.lists(st.sampled_from([*KEYS, EACH, EACH, 0, 1]), max_size=3),
)
AMOUNTS = st.sampled_from(["0", "1", "2.5", "1000", 0, 1, 0.5, 1000])
ENTRIES = st.lists(
    st.sampled_from(["a", "b", "abc", "1000", "true", "é", 1, 2.5, False]), min_size=1, max_size=4
)
RANGES = st.one_of(
    st.fixed_dictionaries({"min": AMOUNTS}),
    st.fixed_dictionaries({"max": AMOUNTS}),
    st.fixed_dictionaries({"min": st.sampled_from([-1, "0"]), "max": AMOUNTS}),
)
RULES = st.fixed_dictionaries(
    {"paramPath": PATHS},
    optional={
        "required": st.booleans(),
        "allowList": ENTRIES,
        "denyList": ENTRIES,
        "regex": st.sampled_from(list(EXPRESSIONS)),
        "valueRange": RANGES,
        "maxAmount": st.fixed_dictionaries({"amount": AMOUNTS, "currency": st.sampled_from(["EUR", "USD"])}),
    },
)
CONDITIONS = st.builds(
    lambda severity, rules: {
        "type": "param_binding",
        "severity": severity,
        "parameterBinding": {"tool": "pay", "rules": rules},
    },
    st.sampled_from(SEVERITIES),
    st.lists(RULES, max_size=4),
)
PACTS = st.lists(CONDITIONS, min_size=1, max_size=3).map(lambda found: {"name": "P", "conditions": found})


@settings(max_examples=400, deadline=None)
@given(PACTS, PARAMS)
def test_judging_agrees_with_the_slow_evaluator(document: dict[str, Any], params: str) -> None:
    verdict = compile_pact(parse_pact(document), pact_id="p", version=1).judge("pay", params.encode())
    expected = reference(document, "pay", params.encode())
    found = [(v.param_path, v.rule, v.severity) for v in verdict.violations]
    assert sorted(found) == sorted(expected)
    assert verdict.valid is (not expected)
    severities = [severity for _, _, severity in expected]
    assert verdict.severity == min(severities, key=SEVERITIES.index, default=None)


@settings(max_examples=300, deadline=None)
@given(
    PACTS,
    st.one_of(
        st.binary(max_size=64),
        JSON_TEXTS.map(str.encode),
        st.text(max_size=64).map(lambda t: t.encode("utf-8", "surrogatepass")),
    ),
)
@example(
    {
        "name": "P",
        "conditions": [
            {"type": "param_binding", "severity": "info", "parameterBinding": {"tool": "pay", "rules": []}}
        ],
    },
    b"7",
)
def test_no_bytes_make_judging_raise_and_what_is_no_object_is_never_valid(
    document: dict[str, Any], params: bytes
) -> None:
    verdict = compile_pact(parse_pact(document), pact_id="p", version=1).judge("pay", params)
    try:
        decoded = json.loads(params)
    except ValueError:
        decoded = None
    if not isinstance(decoded, dict):
        assert [violation.rule for violation in verdict.violations] == ["params"]


@settings(max_examples=200, deadline=None)
@given(PACTS, PARAMS)
def test_a_verdict_is_a_function_of_pact_and_bytes(document: dict[str, Any], params: str) -> None:
    first, second = (compile_pact(parse_pact(document), pact_id="p", version=1) for _ in range(2))
    verdict = first.judge("pay", params.encode())
    assert verdict == first.judge("pay", params.encode()) == second.judge("pay", params.encode())
    respelt = json.dumps(document, sort_keys=True, indent=1).encode()
    assert parse_pact(respelt).hash == verdict.pact_hash


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=80), JSON_TEXTS.map(str.encode)))
def test_no_bytes_make_parsing_raise_anything_but_a_pact_error(document: bytes) -> None:
    with pytest.raises(PactError) as caught:
        parse_pact(document)
    assert caught.value.details


@settings(max_examples=300, deadline=None)
@given(PACTS, st.data())
def test_a_pact_with_one_value_replaced_parses_or_names_a_fault(
    document: dict[str, Any], data: st.DataObject
) -> None:
    replaced = json.loads(json.dumps(document))
    target: Any = replaced
    while True:
        keys = list(target) if isinstance(target, dict) else list(range(len(target)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(target[key], (dict, list)) or not target[key] or data.draw(st.booleans()):
            break
        target = target[key]
    junk = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=8), st.just([]), st.just({}))
    target[key] = data.draw(junk)
    try:
        compile_pact(parse_pact(replaced), pact_id="p", version=1).judge("pay", b"{}")
    except PactError as error:
        faults = error.details
    else:
        faults = ()
    assert all(fault.path and fault.message for fault in faults)


@given(st.lists(st.one_of(st.text(), st.integers(0, 9999), st.just(EACH)), max_size=8), st.text())
def test_the_canonical_form_of_any_path_reads_back(rest: list[Any], first: str) -> None:
    path = (first, *rest)
    if path.count(EACH) <= 4:
        assert parse_path(format_path(path)) == path


@given(st.decimals(allow_nan=False, allow_infinity=False, places=20, min_value=-(10**50), max_value=10**50))
def test_the_text_of_a_number_is_plain_unique_and_exact(number: Decimal) -> None:
    text = values.text(number)
    assert text is not None
    assert re.fullmatch(r"-?(0|[1-9][0-9]*)([.][0-9]*[1-9])?", text)
    assert text != "-0"
    read = values.number(text)
    assert read is not None
    assert Fraction(read) == Fraction(number)


# --- regular expressions against Python's own, where both mean the same ---

ATOMS = st.sampled_from(
    [
        "a",
        "b",
        "0",
        "_",
        r"\d",
        r"\w",
        r"\s",
        r"\D",
        r"\W",
        r"\S",
        "[ab]",
        r"[^a\d]",
        r"[\w-]",
        "[a-c0]",
        r"\.",
        r"\x61",
        "é",
    ]
)
ANCHORS = st.sampled_from(["^", "$", r"\b", r"\B"])
QUANTIFIERS = st.sampled_from(["", "", "*", "+", "?", "*?", "{2}", "{0,2}", "{1,}"])


def _composed(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    group = st.builds("(?:{}){}".format, inner, QUANTIFIERS)
    return st.one_of(
        st.lists(st.one_of(inner, group), min_size=1, max_size=3).map("".join),
        st.builds("(?:{}|{})".format, inner, inner),
    )


PATTERNS = st.recursive(
    st.one_of(st.builds("{}{}".format, ATOMS, QUANTIFIERS), ANCHORS), _composed, max_leaves=6
)


@settings(max_examples=500, deadline=None)
@given(PATTERNS, st.text("ab0_-. \né", max_size=8))
@example("^a$", "a\n")
def test_an_expression_finds_what_python_finds(pattern: str, text: str) -> None:
    # Python's `$` lets a newline pass, and its `\B` does not match the empty text (until 3.14).
    python = re.compile(re.sub(r"(?<!\\)\$", r"\\Z", pattern).replace(r"\B", r"(?!\b)"), re.ASCII)
    assert compile_regex(pattern).matches(text) is (python.search(text) is not None)


@pytest.mark.parametrize(
    ("pattern", "unit", "end"),
    [
        ("^(a+)+$", "a", "!"),
        ("^(a|a)*$", "a", "!"),
        ("^(a|aa)+$", "a", "!"),
        ("(.*)*(.*)*(.*)*x$", "a", ""),
        (r"^(\w+\s?)*$", "a ", "!"),
        ("(?:a?){500}a{500}$", "a", "!"),
    ],
)
def test_time_grows_no_faster_than_the_text(pattern: str, unit: str, end: str) -> None:
    matches = compile_regex(pattern).matches

    def best_seconds(length: int) -> float:
        text = unit * (length // len(unit) - 1) + end
        return min(timeit.repeat(lambda: matches(text), number=20, repeat=7))

    # Eight times the text: linear is 8, quadratic 64, and backtracking would not return.
    assert best_seconds(4096) < 30 * best_seconds(512)
