"""Loosening a pact for one rule: what violated it passes, and nothing else is different."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pactstream.pacts import Verdict, compile_pact, parse_pact
from pactstream.pacts.loosen import NotLoosened, loosened, same_but_for


def pact(*rules: dict[str, Any], **binding: Any) -> dict[str, Any]:
    return {
        "name": "Treasury",
        "conditions": [
            {
                "type": "param_binding",
                "severity": "critical",
                "parameterBinding": {"tool": "pay", "rules": list(rules), **binding},
            }
        ],
    }


def judge(document: dict[str, Any], params: dict[str, Any], tool: str = "pay") -> Verdict:
    compiled = compile_pact(parse_pact(document), pact_id="p", version=1)
    return compiled.judge(tool, json.dumps(params).encode())


@pytest.mark.parametrize(
    ("rule", "params"),
    [
        ({"paramPath": "to", "allowList": ["a"]}, {"to": "b"}),
        ({"paramPath": "to", "allowList": ["a"], "caseInsensitive": True}, {"to": "B"}),
        ({"paramPath": "to", "denyList": ["a", "b"]}, {"to": "b"}),
        ({"paramPath": "to", "denyList": ["b"], "caseInsensitive": True}, {"to": "B"}),
        ({"paramPath": "to", "regex": "^a+$"}, {"to": "b.c(d)|[e] f-g/h"}),
        ({"paramPath": "n", "valueRange": {"min": 1, "max": 2}}, {"n": 2.5}),
        ({"paramPath": "n", "valueRange": {"min": 1, "max": 2}}, {"n": -7}),
        ({"paramPath": "n", "valueRange": {"min": 1}}, {"n": "0.10000000000000000001"}),
        ({"paramPath": "n", "maxAmount": {"amount": "5", "currency": "USD"}}, {"n": 6, "currency": "USD"}),
        ({"paramPath": "n", "maxAmount": {"amount": "5", "currency": "USD"}}, {"n": -1, "currency": "USD"}),
        ({"paramPath": "to", "required": True}, {}),
        ({"paramPath": "items[*].to", "allowList": ["a"]}, {"items": [{"to": "a"}, {"to": "z"}]}),
        ({"paramPath": "items[1].to", "allowList": ["a"]}, {"items": [{"to": "a"}, {"to": "z"}]}),
    ],
)
def test_the_violating_call_passes_and_only_the_rule_differs(
    rule: dict[str, Any], params: dict[str, Any]
) -> None:
    other = {"paramPath": "memo", "regex": "^[a-z]*$"}
    document = pact(rule, other)
    before = json.dumps(document)
    (violation,) = judge(document, params).violations
    about: dict[str, Any] = {"param_path": violation.param_path, "rule": violation.rule}
    made = loosened(document, **about, value=violation.value, tool="pay")
    assert json.dumps(document) == before
    assert judge(made, params).valid
    assert made["conditions"][0]["parameterBinding"]["rules"][1] == other
    assert same_but_for(document, made, **about, tool="pay")
    assert not same_but_for(document, {**made, "name": "Another"}, **about)
    made["conditions"][0]["parameterBinding"]["rules"].pop()
    assert not same_but_for(document, made, **about)


def test_of_two_tools_only_the_named_one_is_loosened() -> None:
    document = pact({"paramPath": "to", "allowList": ["a"]})
    other = json.loads(json.dumps(document["conditions"][0]))
    other["parameterBinding"]["tool"] = "ask"
    document["conditions"].append(other)
    made = loosened(document, param_path="to", rule="allowList", value="b", tool="ask")
    assert judge(made, {"to": "b"}, "ask").valid
    assert not judge(made, {"to": "b"}, "pay").valid
    assert not same_but_for(document, made, param_path="to", rule="allowList", tool="pay")


def test_an_unknown_parameter_is_named() -> None:
    document = pact({"paramPath": "to"}, unknownParams="forbid")
    (violation,) = judge(document, {"to": "a", "x.y": 1}).violations
    about: dict[str, Any] = {"param_path": violation.param_path, "rule": "unknownParams"}
    made = loosened(document, **about, value=violation.value)
    assert judge(made, {"to": "a", "x.y": 1}).valid
    assert not judge(made, {"to": "a", "z": 1}).valid
    assert same_but_for(document, made, **about)


def stateful(*conditions: dict[str, Any]) -> dict[str, Any]:
    return {"name": "Order", "conditions": [{"severity": "critical", **one} for one in conditions]}


def test_limits_of_windows_and_errors_move_to_the_figure() -> None:
    window = {"aggregate": "sum", "tools": ["pay"], "paramPath": "n", "over": {"sliding": "PT1H"}, "limit": 5}
    run = {"maxConsecutiveErrors": 2}
    document = stateful({"type": "window", "window": window}, {"type": "sequence", "sequence": run})
    made = loosened(document, param_path="n", rule="window", value="7.5")
    assert made["conditions"][0]["window"]["limit"] == 7.5
    assert made["conditions"][1] == document["conditions"][1]
    assert same_but_for(document, made, param_path="n", rule="window")
    made = loosened(document, param_path="", rule="maxConsecutiveErrors", value=3)
    assert made["conditions"][1]["sequence"] == {"maxConsecutiveErrors": 3}


def test_an_order_of_calls_is_dropped() -> None:
    order = {"tool": "pay", "after": "check"}
    document = stateful(
        {"type": "sequence", "sequence": {"requires": order}},
        {"type": "sequence", "sequence": {"forbids": order}},
    )
    made = loosened(document, param_path="", rule="requires", value=None, tool="pay")
    assert made["conditions"] == document["conditions"][1:]
    assert same_but_for(document, made, param_path="", rule="requires", tool="pay")


@pytest.mark.parametrize(
    ("document", "path", "rule", "value"),
    [
        (pact({"paramPath": "to", "allowList": ["a"]}), "to", "regex", "b"),
        (pact({"paramPath": "to", "allowList": ["a"]}), "else", "allowList", "b"),
        (pact({"paramPath": "to", "allowList": ["a"]}), "to", "allowList", "b" * 256 + "…"),
        (pact({"paramPath": "to", "allowList": ["a"]}), "to", "allowList", ["b"]),
        (pact({"paramPath": "to", "allowList": ["a"]}), "to[", "allowList", "b"),
        (pact({"paramPath": "n", "valueRange": {"min": 1}}), "n", "valueRange", "many"),
        (pact({"paramPath": "n", "valueRange": {"min": 1}}), "n", "valueRange", True),
        (pact({"paramPath": "n", "valueRange": {"min": 1}}), "n", "valueRange", float("nan")),
        (pact({"paramPath": "n", "maxAmount": {"amount": 5, "currency": "X"}}), "n", "maxAmount", 4),
        (pact({"paramPath": "n", "regex": "^" + "a" * 1000}), "n", "regex", "b" * 200),
        (pact({"paramPath": "n"}), "n", "unknownParams", 1),
        (pact({"paramPath": "n"}), "", "params", None),
        (pact({"paramPath": "n"}), "", "forbids", None),
    ],
)
def test_what_cannot_be_loosened_alone_is_refused(
    document: dict[str, Any], path: str, rule: str, value: object
) -> None:
    with pytest.raises(NotLoosened):
        loosened(document, param_path=path, rule=rule, value=value)
