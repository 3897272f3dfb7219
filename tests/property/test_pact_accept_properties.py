"""The quick way to a yes is never wrong: what it accepts, the strict decoder and the exact function accept."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pactstream.pacts import parse_pact, values
from pactstream.pacts.accept import acceptor
from pactstream.pacts.generate import generate
from pactstream.pacts.model import ParamBinding

RULES: list[dict[str, Any]] = [
    {"paramPath": "a", "required": True},
    {"paramPath": "a", "allowList": ["x", "y:z", "é"]},
    {"paramPath": "a", "allowList": ["x", "1000", "true"]},
    {"paramPath": "a", "allowList": ["x", "y"], "denyList": ["y"]},
    {"paramPath": "a", "denyList": ["x"], "regex": "^[a-z]*$"},
    {"paramPath": "a", "allowList": ["X"], "caseInsensitive": True, "normalize": "nfkc"},
    {"paramPath": "a", "valueRange": {"min": 0, "max": "9007199254740992"}},
    {"paramPath": "a", "maxAmount": {"amount": "500.5", "currency": "EUR", "currencyPath": "c"}},
    {"paramPath": "a", "allowList": ["1"], "valueRange": {"max": 5}},
    {"paramPath": "b"},
    {"paramPath": "b.a", "valueRange": {"max": 500}},
    {"paramPath": "b.a", "required": True, "regex": "x"},
    {"paramPath": "b.a", "maxAmount": {"amount": "500", "currency": "EUR"}},
    {"paramPath": "b.c.a", "required": True},
    {"paramPath": "c", "denyList": ["USD"]},
    {"paramPath": "d[*]", "required": True, "valueRange": {"min": -5}},
    {"paramPath": "d[*]", "regex": "^x"},
    {"paramPath": "d[*].a", "maxAmount": {"amount": "9", "currency": "EUR"}},
    {"paramPath": "d[*].a", "required": True},
    {"paramPath": "d[*][*]", "allowList": ["x"]},
    {"paramPath": "d[0]", "allowList": ["x"]},
    {"paramPath": '"a\\"b"', "required": True},
]
BINDINGS = st.builds(
    lambda rules, unknown: bindings(rules, unknown),
    st.lists(st.sampled_from(RULES), max_size=4),
    st.sampled_from(["allow", "forbid"]),
)

# Spelt as text, so that everything a parser may be asked can be written: keys twice, half surrogates, NaN.
NUMBERS = [
    "0",
    "-0",
    "-0.0",
    "1",
    "5",
    "1e3",
    "500.5",
    "500.50000000000000001",
    "9007199254740993",
    "-1",
    "01",
    "1.",
]
HOSTILE = [
    "NaN",
    "Infinity",
    "-Infinity",
    "1e9999999",
    "1e-9999999",
    "1e99999999999999999999",
    "9" * 400,
    "9" * 4300,
    "-" + "9" * 4300,
    "9" * 4301,
    "0." + "9" * 400,
    "[" * 150 + "]" * 150,
    "[" * 201 + "]" * 201,
    '{"a":' * 201 + "1" + "}" * 201,
    '"\\ud800"',
    '"\\udc00\\ud800"',
    '"\ud800"',
    '"a\nb"',
    '"\\u0078"',
    '"x\\u0000"',
    "tru",
    "",
]
STRINGS = [
    "x",
    "y",
    "y:z",
    "xy",
    "X",
    "é",
    "ｘ",
    "EUR",
    "USD",
    "1",
    "1000",
    "true",
    "",
    ":",
    "http://x/",
    "x" * 4097,
]
KEYS = ['"a"', '"b"', '"c"', '"d"', '"\\u0061"', '"a:"', '"currency"', '"a\\"b"', '"é"']
SCALARS = st.one_of(
    st.sampled_from(NUMBERS),
    st.sampled_from(STRINGS).map(lambda text: json.dumps(text, ensure_ascii=False)),
    st.sampled_from(["null", "true", "false"]),
    st.sampled_from(HOSTILE),
)
SPACE = st.sampled_from(["", "", "", " ", "\n", "\u00a0"])


def _nested(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    member = st.builds("{}{}:{}{}".format, st.sampled_from(KEYS), SPACE, SPACE, inner)
    return st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{','.join(items)}]"),
        st.lists(member, max_size=4).map(lambda items: f"{{{','.join(items)}}}"),
    )


VALUES = st.recursive(SCALARS, _nested, max_leaves=8)
OBJECTS = st.lists(st.builds("{}:{}".format, st.sampled_from(KEYS), VALUES), max_size=5).map(
    lambda members: "{" + ", ".join(members) + "}"
)
ENDS = st.sampled_from(["", "", "", "", " ", "\n", "\x00", "x", "{}", "\ufeff"])
TEXTS = st.builds("{}{}{}".format, ENDS, st.one_of(OBJECTS, OBJECTS, OBJECTS, VALUES), ENDS).map(
    lambda text: text.encode("utf-8", "surrogatepass")
)


def bindings(rules: list[dict[str, Any]], unknown: str = "allow") -> list[ParamBinding]:
    binding = {"tool": "pay", "rules": rules, "unknownParams": unknown}
    condition = {"type": "param_binding", "severity": "major", "parameterBinding": binding}
    pact = parse_pact({"name": "P", "conditions": [condition]})
    return [one for one in pact.conditions if isinstance(one, ParamBinding)]


def passes(found: list[ParamBinding], params: bytes) -> bool:
    """The exact way, written out."""
    try:
        decoded = values.decode(params)
    except ValueError:
        return False
    return isinstance(decoded, dict) and generate(found)(decoded) is None


@settings(max_examples=1_500, deadline=None)
@given(BINDINGS, TEXTS)
@example(bindings([RULES[0]]), b'{"a":1,"a":1}')
@example(bindings([RULES[0]]), b'{"a":%s1%s}' % (b"[" * 201, b"]" * 201))
@example(bindings([RULES[0]]), b'{"a":%s}' % (b"9" * 4301))
@example(bindings([RULES[15]]), b'{"d":[1,null]}')
@example(bindings([RULES[10]]), b'{"b":{"a":1},"b":{}}')
@example(bindings([RULES[10]]), b'{"b":{"a":1,"a":null}}')
@example(bindings([]), b'{"a":1}')
@example(bindings([]), b"null")
@example(bindings([]), b"[]")
def test_what_is_accepted_passes(found: list[ParamBinding], params: bytes) -> None:
    assert not acceptor(found)(params) or passes(found, params)


ORDINARY: list[tuple[list[int], bytes]] = [
    ([0, 1], b'{"a":"x"}'),
    ([2], b'{"a":1000}'),
    ([2], b'{"a":true}'),
    ([3], b'{"a":"x"}'),
    ([4, 9], b'{"a":"abc","b":1.5}'),
    ([5], '{"a":"ｘ"}'.encode()),
    ([6], b'{"a":9007199254740992}'),
    ([6], b'{"a":"12.50"}'),
    ([7], b'{"a":500.5,"c":"EUR"}'),
    ([8], b'{"a":1}'),
    ([10, 12, 14], b'{"b":{"a":499.99,"currency":"EUR"},"c":"EUR"}'),
    ([13], b'{"b":{"c":{"a":0}}}'),
    ([15], b'{"d":[1,2,-5]}'),
    ([16], b'{"d":["x","xy",null]}'),
    ([17], b'{"d":[{"a":9,"currency":"EUR"},{"a":1,"currency":"EUR"}]}'),
    ([19], b'{"d":[["x","x"],[]]}'),
    ([1, 10, 14], b"{ }"),
    ([0, 10], b' {"b" : {"a" : 1}, "a" : 2} '),
]


@pytest.mark.parametrize(("rules", "params"), ORDINARY)
def test_ordinary_calls_are_accepted(rules: list[int], params: bytes) -> None:
    """Otherwise the quick way would be useless, and nobody would notice."""
    found = bindings([RULES[at] for at in rules])
    assert passes(found, params)
    assert acceptor(found)(params)


def test_long_lists_are_accepted_and_refused() -> None:
    entries = [f"e{number}" for number in range(1_000)]
    found = bindings([{"paramPath": "a", "allowList": entries}])
    assert acceptor(found)(b'{"a":"e999"}')
    assert not acceptor(found)(b'{"a":"e1000"}')


def test_parameters_beyond_their_limit_are_not_accepted() -> None:
    padded = b'{"a":"x"' + b" " * values.MAX_PARAMS_BYTES + b"}"
    assert not acceptor(bindings([RULES[0]]))(padded)
