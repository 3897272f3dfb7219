"""The table "Hard cases" of docs/pacts.md: every row is tested here, under its name."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from pactstream.pacts import Verdict, compile_pact, parse_pact

GUIDE = Path(__file__).parents[2] / "docs" / "pacts.md"

ADDRESS = "0xA11A000000000000000000000000000000000001"
AMOUNT: dict[str, Any] = {"paramPath": "amount", "valueRange": {"min": 0, "max": 1000}}
CAPPED: dict[str, Any] = {"paramPath": "amount", "maxAmount": {"amount": "1000", "currency": "USDC"}}
LISTED: dict[str, Any] = {"paramPath": "to", "allowList": [ADDRESS, "1000", "true"]}

# Case -> [(rule, parameters as they are on the wire, the rules violated)]
CASES: dict[str, list[tuple[dict[str, Any], bytes, list[str]]]] = {
    "amount as a string": [
        (AMOUNT, b'{"amount": "250.50"}', []),
        (AMOUNT, b'{"amount": "1000.01"}', ["valueRange"]),
        *(
            (AMOUNT, b'{"amount": %s}' % text, ["valueRange"])
            for text in (
                b'"1e2"',
                b'"+1"',
                b'" 1"',
                b'"1\\n"',
                b'"1,000"',
                b'"01"',
                b'".5"',
                b'"5."',
                b'"0x10"',
                b'""',
                b'"1_0"',
            )
        ),
        (AMOUNT, '{"amount": "١٠"}'.encode(), ["valueRange"]),
    ],
    "`1e3`": [
        (AMOUNT, b'{"amount": 1e3}', []),
        (AMOUNT, b'{"amount": 1.0001e3}', ["valueRange"]),
        (LISTED, b'{"to": 1e3}', []),
        (LISTED, b'{"to": "1e3"}', ["allowList"]),
    ],
    "`NaN`, `Infinity`": [
        *((AMOUNT, b'{"amount": %s}' % text, ["params"]) for text in (b"NaN", b"Infinity", b"-Infinity")),
        *((AMOUNT, b'{"amount": %s}' % text, ["valueRange"]) for text in (b'"NaN"', b'"Infinity"', b'"-inf"')),
    ],
    "`true` where a number is due": [
        (AMOUNT, b'{"amount": true}', ["valueRange"]),
        (CAPPED, b'{"amount": false, "currency": "USDC"}', ["maxAmount"]),
        (LISTED, b'{"to": true}', []),
    ],
    "integers beyond 2^53": [
        ({"paramPath": "n", "valueRange": {"max": "9007199254740992"}}, b'{"n": 9007199254740992}', []),
        (
            {"paramPath": "n", "valueRange": {"max": "9007199254740992"}},
            b'{"n": 9007199254740993}',
            ["valueRange"],
        ),
        ({"paramPath": "n", "allowList": ["9007199254740992"]}, b'{"n": 9007199254740993}', ["allowList"]),
    ],
    "more decimals than a float holds": [
        ({"paramPath": "n", "valueRange": {"max": 500}}, b'{"n": 500.00000000000000001}', ["valueRange"]),
        ({"paramPath": "n", "valueRange": {"max": "0.3"}}, b'{"n": 0.3}', []),
    ],
    "400-digit numbers": [
        ({"paramPath": "n", "valueRange": {"min": 0}}, b'{"n": %s}' % (b"9" * 400), ["valueRange"]),
        ({"paramPath": "n", "valueRange": {"max": 0}}, b'{"n": -%s}' % (b"9" * 400), ["valueRange"]),
        ({"paramPath": "n", "denyList": ["1"]}, b'{"n": %s}' % (b"9" * 400), ["denyList"]),
        ({"paramPath": "n", "valueRange": {"min": 0}}, b'{"n": "%s"}' % (b"9" * 400), ["valueRange"]),
        ({"paramPath": "n", "valueRange": {"max": 1}}, b'{"n": 0.%s}' % (b"9" * 400), []),
        ({"paramPath": "n", "allowList": ["1"]}, b'{"n": 0.%s}' % (b"9" * 400), ["allowList"]),
        (AMOUNT, b'{"amount": %s}' % (b"9" * 5000), ["params"]),
    ],
    "a huge exponent": [
        (AMOUNT, b'{"amount": 1e9999999}', ["valueRange"]),
        ({"paramPath": "n", "valueRange": {"min": 0}}, b'{"n": 1e9999999}', ["valueRange"]),
        (AMOUNT, b'{"amount": -1e9999999}', ["valueRange"]),
        (AMOUNT, b'{"amount": 1e-9999999}', []),
        (LISTED, b'{"to": 1e9999999}', ["allowList"]),
        (LISTED, b'{"to": 1e-9999999}', ["allowList"]),
        (CAPPED, b'{"amount": 1e9999999, "currency": "USDC"}', ["maxAmount"]),
        (AMOUNT, b'{"amount": 1e99999999999999999999}', ["params"]),
    ],
    "`-0`": [
        *(
            (CAPPED, b'{"amount": %s, "currency": "USDC"}' % zero, [])
            for zero in (b"-0", b"-0.0", b"-0e5", b'"-0"')
        ),
        ({"paramPath": "n", "allowList": [0]}, b'{"n": -0.0}', []),
    ],
    "negative amount": [
        (CAPPED, b'{"amount": -1, "currency": "USDC"}', ["maxAmount"]),
        (
            {"paramPath": "amount", "maxAmount": {**CAPPED["maxAmount"], "allowNegative": True}},
            b'{"amount": -1, "currency": "USDC"}',
            [],
        ),
    ],
    "currency missing or different": [
        (CAPPED, b'{"amount": 1}', ["maxAmount"]),
        (CAPPED, b'{"amount": 1, "currency": null}', ["maxAmount"]),
        (CAPPED, b'{"amount": 1, "currency": "usdc"}', ["maxAmount"]),
        (CAPPED, '{"amount": 1, "currency": "UЅDC"}'.encode(), ["maxAmount"]),
    ],
    "missing versus null": [
        (AMOUNT, b"{}", []),
        (AMOUNT, b'{"amount": null}', []),
        ({**AMOUNT, "required": True}, b"{}", ["required"]),
        ({**AMOUNT, "required": True}, b'{"amount": null}', ["required"]),
        ({**AMOUNT, "required": True}, b'{"amount": 0}', []),
    ],
    "empty array under `[*]`": [
        ({"paramPath": "items[*].price", "valueRange": {"max": 1}}, b'{"items": []}', []),
        ({"paramPath": "items[*].price", "required": True}, b'{"items": []}', ["required"]),
    ],
    "path through a scalar": [
        ({"paramPath": "vendor.id", "allowList": ["v-1"]}, b'{"vendor": "v-1"}', ["allowList"]),
        ({"paramPath": "items[*].price", "valueRange": {"max": 1}}, b'{"items": 5}', ["valueRange"]),
        ({"paramPath": "items[*].price", "valueRange": {"max": 1}}, b'{"items": {"price": 0}}', ["valueRange"]),
        ({"paramPath": "vendor.id", "allowList": ["v-1"]}, b'{"vendor": null}', []),
        ({"paramPath": "vendor.id", "required": True}, b'{"vendor": 0}', ["required"]),
    ],
    "array or object where a scalar is due": [
        (AMOUNT, b'{"amount": [1]}', ["valueRange"]),
        (LISTED, b'{"to": ["true"]}', ["allowList"]),
        ({"paramPath": "to", "denyList": ["x"]}, b'{"to": {"x": "x"}}', ["denyList"]),
        ({"paramPath": "to", "regex": ""}, b'{"to": []}', ["regex"]),
    ],
    "duplicate keys": [
        (AMOUNT, b'{"amount": 1, "amount": 1}', ["params"]),
        (AMOUNT, b'{"amount": 5000, "\\u0061mount": 1}', ["params"]),
        (AMOUNT, b'{"other": {"x": 1, "x": 1}}', ["params"]),
    ],
    "unicode look-alikes": [
        ({"paramPath": "to", "allowList": ["paypal"]}, '{"to": "pаypal"}'.encode(), ["allowList"]),
        (
            {"paramPath": "to", "allowList": ["kb"], "caseInsensitive": True},
            '{"to": "\u212ab"}'.encode(),
            ["allowList"],
        ),
        ({"paramPath": "to", "allowList": ["é"]}, '{"to": "e\u0301"}'.encode(), ["allowList"]),
        ({"paramPath": "to", "allowList": ["é"], "normalize": "nfkc"}, '{"to": "e\u0301"}'.encode(), []),
        ({"paramPath": "to", "allowList": ["pay"]}, '{"to": "p\u200bay"}'.encode(), ["allowList"]),
        ({"paramPath": "to", "regex": r"^\d+$"}, '{"to": "１２"}'.encode(), ["regex"]),
    ],
    "lone surrogates": [
        (LISTED, b'{"to": "\\ud800"}', ["params"]),
        (LISTED, b'{"\\udfff": 1}', ["params"]),
        (LISTED, b'{"to": "\xed\xa0\x80"}', ["params"]),
        ({"paramPath": "to", "regex": r"^\u{1F600}$"}, b'{"to": "\\ud83d\\ude00"}', []),
    ],
    "hex addresses that differ in case": [
        (LISTED, b'{"to": "%s"}' % ADDRESS.lower().encode(), ["allowList"]),
        ({**LISTED, "caseInsensitive": True}, b'{"to": "%s"}' % ADDRESS.lower().encode(), []),
        ({**LISTED, "caseInsensitive": True}, b'{"to": "%s"}' % ADDRESS.upper().encode(), []),
    ],
    "trailing newline": [
        ({"paramPath": "to", "regex": "^ok$"}, b'{"to": "ok\\n"}', ["regex"]),
        (LISTED, b'{"to": "true\\n"}', ["allowList"]),
    ],
    "extra parameter": [
        (AMOUNT, b'{"amount": 1, "extra": 1}', []),
        (AMOUNT | {"unknownParams": "forbid"}, b'{"amount": 1, "extra": null}', ["unknownParams"]),
        (AMOUNT | {"unknownParams": "forbid"}, '{"аmount": 1}'.encode(), ["unknownParams"]),
    ],
    "deep nesting": [
        (AMOUNT, b'{"amount": 1, "x": %s1%s}' % (b"[" * 190, b"]" * 190), []),
        (AMOUNT, b'{"amount": 1, "x": %s1%s}' % (b"[" * 100_000, b"]" * 100_000), ["params"]),
        (AMOUNT, b'{"amount": %s1%s}' % (b"[" * 190, b"]" * 190), ["valueRange"]),
    ],
    "params are not an object": [
        *(
            (AMOUNT, text, ["params"])
            for text in (b"[]", b"null", b'"x"', b"1", b"", b"{", b"\xff", b"{} {}", b"{}x")
        ),
    ],
    "an expression that makes others backtrack": [
        ({"paramPath": "s", "regex": "^(a+)+$"}, b'{"s": "%s!"}' % (b"a" * 4000), ["regex"]),
        ({"paramPath": "s", "regex": "(.*)*(.*)*x$"}, b'{"s": "%s"}' % (b"a" * 4000), ["regex"]),
    ],
    "text beyond 4,096 characters": [
        ({"paramPath": "s", "regex": "a"}, b'{"s": "%s"}' % (b"a" * 4096), []),
        ({"paramPath": "s", "regex": "a"}, b'{"s": "%s"}' % (b"a" * 4097), ["regex"]),
        ({"paramPath": "s", "denyList": ["b"]}, b'{"s": "%s"}' % (b"a" * 4097), []),
        (
            {"paramPath": "s", "denyList": ["b"], "normalize": "nfkc"},
            b'{"s": "%s"}' % (b"a" * 4097),
            ["denyList"],
        ),
    ],
}

ROWS = [(case, *row) for case, rows in CASES.items() for row in rows]


def document(rule: dict[str, Any]) -> dict[str, Any]:
    rule = dict(rule)
    binding = {"tool": "pay", "rules": [rule], "unknownParams": rule.pop("unknownParams", "allow")}
    condition = {"type": "param_binding", "severity": "major", "parameterBinding": binding}
    return {"name": "Hard cases", "conditions": [condition]}


def judge(rule: dict[str, Any], params: bytes) -> Verdict:
    return compile_pact(parse_pact(document(rule)), pact_id="p", version=1).judge("pay", params)


@pytest.mark.parametrize(
    ("case", "rule", "params", "violated"), ROWS, ids=[f"{r[0]}-{r[2][:40]!r}" for r in ROWS]
)
def test_the_decision(case: str, rule: dict[str, Any], params: bytes, violated: list[str]) -> None:
    started = time.process_time()
    verdict = judge(rule, params)
    assert [violation.rule for violation in verdict.violations] == violated
    assert verdict.valid is not bool(violated)
    assert verdict.bound
    # Not a benchmark: what a number blown up to its digits or a backtracking engine takes is minutes.
    assert time.process_time() - started < 5, case


def test_the_guide_lists_exactly_these_cases() -> None:
    table = GUIDE.read_text(encoding="utf-8").split("## Hard cases")[1].split("\n## ")[0]
    rows = [line.split(" | ")[0].removeprefix("| ") for line in table.splitlines() if line.startswith("| ")]
    assert rows == ["Case", "---", *CASES]
