"""What `pact diff` says holds for every call: stricter never lets more through, looser never less."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import event, given
from hypothesis import strategies as st

from pactstream.pacts import CompiledPact, Pact, compile_pact, parse_pact
from pactstream.review.diff import differences

WORDS = ["a", "A", "b", "1", "Ab"]
NUMBERS = st.integers(-2, 3)
SEVERITIES = st.sampled_from(["critical", "minor"])


@st.composite
def rules(draw: st.DrawFn) -> dict[str, Any]:
    rule: dict[str, Any] = {"paramPath": draw(st.sampled_from(["x", "y", "x.y", "z[*]"]))}
    kinds = draw(st.sets(st.sampled_from(["required", "allowList", "denyList", "valueRange", "maxAmount"])))
    lists = st.lists(st.sampled_from(WORDS), min_size=1, max_size=3)
    if "required" in kinds:
        rule["required"] = True
    for kind in sorted(kinds & {"allowList", "denyList"}):
        rule[kind] = draw(lists)
    if kinds & {"allowList", "denyList"}:
        rule["caseInsensitive"] = draw(st.booleans())
    if "valueRange" in kinds:
        ends = sorted([draw(NUMBERS), draw(NUMBERS)])
        kept = draw(st.sampled_from([("min",), ("max",), ("min", "max")]))
        rule["valueRange"] = {
            name: value for name, value in zip(("min", "max"), ends, strict=True) if name in kept
        }
    if "maxAmount" in kinds:
        rule["maxAmount"] = {
            "amount": draw(st.integers(0, 3)),
            "currency": draw(st.sampled_from(["a", "b"])),
            "allowNegative": draw(st.booleans()),
        }
    return rule


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "name": draw(st.sampled_from(["one", "two"])),
        "conditions": [
            {
                "type": "param_binding",
                "severity": draw(SEVERITIES),
                "parameterBinding": {
                    "tool": draw(st.sampled_from(["t", "u"])),
                    "unknownParams": draw(st.sampled_from(["allow", "forbid"])),
                    "rules": draw(st.lists(rules(), max_size=3)),
                },
            }
            for _ in range(draw(st.integers(1, 2)))
        ],
    }


@st.composite
def pairs(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two pacts that often have much in common: the second is the first with some rules changed."""
    first: dict[str, Any] = draw(documents())
    if draw(st.booleans()):
        return first, draw(documents())
    second = json.loads(json.dumps(first))
    binding = draw(st.sampled_from(second["conditions"]))["parameterBinding"]
    how = draw(st.sampled_from(["add", "drop", "swap", "unknown"]))
    if how == "unknown":
        binding["unknownParams"] = draw(st.sampled_from(["allow", "forbid"]))
    elif how == "add":
        binding["rules"].append(draw(rules()))
    elif binding["rules"]:
        binding["rules"].pop()
        if how == "swap":
            binding["rules"].append(draw(rules()))
    return first, second


SCALARS = st.one_of(st.sampled_from(WORDS), st.integers(-3, 4), st.none())
PARAMS = st.dictionaries(
    st.sampled_from(["x", "y", "z", "currency", "w"]),
    st.one_of(SCALARS, st.lists(SCALARS, max_size=2), st.dictionaries(st.sampled_from(["y", "w"]), SCALARS)),
)


def compiled(pact: Pact) -> CompiledPact:
    return compile_pact(pact, pact_id="p", version=1)


@given(pairs(), st.lists(st.tuples(st.sampled_from(["t", "u"]), PARAMS), min_size=1, max_size=12))
def test_the_direction_is_true_of_every_call(
    pair: tuple[dict[str, Any], dict[str, Any]], calls: list[tuple[str, dict[str, Any]]]
) -> None:
    old, new = parse_pact(pair[0]), parse_pact(pair[1])
    found = differences(old, new)
    ways = {one.direction for one in found} - {None}
    event(f"{sorted(map(str, ways))}")
    for tool, params in calls:
        body = json.dumps(params).encode()
        before, after = compiled(old).judge(tool, body), compiled(new).judge(tool, body)
        if ways <= {"looser"}:
            assert after.valid or not before.valid
        if ways <= {"stricter"}:
            assert before.valid or not after.valid
        if not ways:
            assert before.severity == after.severity
            assert sorted({(one.param_path, one.rule) for one in before.violations}) == sorted(
                {(one.param_path, one.rule) for one in after.violations}
            )


@given(pairs())
def test_the_way_back_is_the_opposite(pair: tuple[dict[str, Any], dict[str, Any]]) -> None:
    old, new = parse_pact(pair[0]), parse_pact(pair[1])
    there, back = differences(old, new), differences(new, old)
    flip = {"stricter": "looser", "looser": "stricter"}
    assert sorted(str(one.direction) for one in there) == sorted(
        flip.get(str(one.direction), str(one.direction)) for one in back
    )


@given(documents(), st.randoms(use_true_random=False))
def test_order_spelling_and_descriptions_mean_nothing(document: dict[str, Any], random: Any) -> None:
    other = json.loads(json.dumps(document))
    other["description"] = "in other words"
    random.shuffle(other["conditions"])
    for condition in other["conditions"]:
        random.shuffle(condition["parameterBinding"]["rules"])
        for rule in condition["parameterBinding"]["rules"]:
            rule["description"] = "too"
            for name, value in rule.get("valueRange", {}).items():
                rule["valueRange"][name] = str(value)
    assert differences(parse_pact(document), parse_pact(other)) == []
