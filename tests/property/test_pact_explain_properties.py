"""Prepared sentences: whatever fails, they say what the general way says."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pactstream.pacts import compile_pact, parse_pact
from pactstream.pacts.explain import Fault
from pactstream.pacts.values import NUMBER_LIMIT
from pactstream.pacts.verdict import shortened

RULES: list[dict[str, Any]] = [
    {"allowList": ["a", "1", "true"]},
    {"denyList": ["b", "2", "", "é"]},
    {"regex": "^[a-z]{1,3}$"},
    {"regex": "^" + "[a-z]" * 30 + "$"},
    {"allowList": ["A"], "caseInsensitive": True},
    {"valueRange": {"min": 1, "max": 10}},
    {"valueRange": {"min": 0.5}},
    {"valueRange": {"max": -3}},
    {"maxAmount": {"amount": "100", "currency": "USDC"}},
    {"maxAmount": {"amount": "100.50", "currency": "USDC", "allowNegative": True}},
]

edges = st.sampled_from([0, 1, 10, 11, -3, 100, 101, NUMBER_LIMIT, NUMBER_LIMIT + 1, -NUMBER_LIMIT - 1])
texts = st.text(max_size=80) | st.sampled_from(["a" * 62, "a" * 63, "a" * 4097, '"quoted"\n', "b"])
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), edges, st.decimals(allow_nan=False, allow_infinity=False)
)
values = scalars | texts | st.lists(scalars, max_size=2)


@given(
    rule=st.sampled_from(RULES),
    value=values,
    currency=st.sampled_from(["USDC", "EUR", None]),
    each=st.booleans(),
)
def test_a_prepared_sentence_is_the_general_one(
    rule: dict[str, Any], value: Any, currency: Any, each: bool
) -> None:
    path = "x[*].v" if each else "x"
    binding = {"tool": "t", "rules": [{"paramPath": path, **rule}]}
    condition = {"type": "param_binding", "severity": "minor", "parameterBinding": binding}
    document = {"name": "P", "conditions": [condition]}
    params = {"x": [{"v": value, "currency": currency}] if each else value, "currency": currency}
    prepared = compile_pact(parse_pact(document), pact_id="p", version=1).judge_decoded("t", params)
    with patch.object(Fault, "_message", lambda *_: None):
        general = compile_pact(parse_pact(document), pact_id="p", version=1).judge_decoded("t", params)
    assert prepared == general


def test_both_ways_are_taken() -> None:
    with patch.object(Fault, "_message", autospec=True, side_effect=Fault._message) as message:
        binding = {"tool": "t", "rules": [{"paramPath": "x", "valueRange": {"max": 3}}]}
        condition = {"type": "param_binding", "severity": "minor", "parameterBinding": binding}
        pact = compile_pact(parse_pact({"name": "P", "conditions": [condition]}), pact_id="p", version=1)
        assert pact.judge_decoded("t", {"x": 4}).violations[0].message == "x is 4, above the maximum of 3."
        assert (
            pact.judge_decoded("t", {"x": Decimal("4.5")}).violations[0].message.startswith("x is 4.5, above")
        )
        assert message.call_count == 2


@pytest.mark.parametrize("digits", [63, 64, 65, 100])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_long_whole_number_is_shortened_in_its_sentence(digits: int, sign: int) -> None:
    binding = {"tool": "t", "rules": [{"paramPath": "x", "valueRange": {"min": -3, "max": 3}}]}
    condition = {"type": "param_binding", "severity": "minor", "parameterBinding": binding}
    pact = compile_pact(parse_pact({"name": "P", "conditions": [condition]}), pact_id="p", version=1)
    value = sign * (10**digits - 1)
    (violation,) = pact.judge_decoded("t", {"x": value}).violations
    assert violation.message.startswith(f"x is {shortened(str(value), 64)}, ")
    assert violation.value == value
