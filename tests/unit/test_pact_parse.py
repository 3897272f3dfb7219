from __future__ import annotations

import copy
import hashlib
import json
from decimal import Decimal
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from pactstream import schema_files
from pactstream.pacts import PactError, pact_hash, parse_pact
from pactstream.pacts.model import AllowList, DenyList, MaxAmount, ParamBinding, Regex, Rule, ValueRange
from pactstream.pacts.paths import EACH

RULES = "conditions[0].parameterBinding.rules"


def pact(*rules: dict[str, Any], **binding: Any) -> dict[str, Any]:
    condition = {
        "type": "param_binding",
        "severity": "major",
        "parameterBinding": {"tool": "pay", "rules": list(rules), **binding},
    }
    return {"name": "Test", "conditions": [condition]}


def faults(document: Any) -> list[tuple[str, str]]:
    raw = document if isinstance(document, bytes) else json.dumps(document).encode()
    with pytest.raises(PactError) as caught:
        parse_pact(raw)
    return [(detail.path, detail.message) for detail in caught.value.details]


def rule_faults(**rule: Any) -> list[tuple[str, str]]:
    return [(path.removeprefix(f"{RULES}[0]."), message) for path, message in faults(pact(rule))]


def test_a_pact_is_read_into_its_model() -> None:
    amount = {"paramPath": "items[*].price", "maxAmount": {"amount": "1000.50", "currency": "USDC"}}
    text = {
        "paramPath": "to",
        "required": True,
        "allowList": ["Ａ", 1, 2.50, True],
        "denyList": ["B"],
        "regex": "^.$",
        "caseInsensitive": True,
        "normalize": "nfkc",
    }
    ranged = {"paramPath": "n", "valueRange": {"min": "-1", "max": 2}}
    document = pact(amount, text, ranged, unknownParams="forbid") | {
        "agentId": "76cf31d6-ffe3-4a5c-8748-021114aa8066",
        "description": "x",
    }
    parsed = parse_pact(document)
    expected = {"amount": "1000.50", "currency": "USDC"}
    assert parsed.name == "Test"
    assert parsed.agent_id == "76cf31d6-ffe3-4a5c-8748-021114aa8066"
    assert parsed.conditions == (
        ParamBinding(
            severity="major",
            tool="pay",
            forbid_unknown=True,
            rules=(
                Rule(
                    ("items", EACH, "price"),
                    required=False,
                    checks=(
                        MaxAmount(Decimal("1000.50"), "USDC", ("items", EACH, "currency"), False, expected),
                    ),
                ),
                Rule(
                    ("to",),
                    required=True,
                    checks=(
                        AllowList(frozenset({"a", "1", "2.5", "true"}), ["Ａ", 1, 2.5, True]),
                        DenyList(frozenset({"b"}), ["B"]),
                        Regex("^.$", "^.$"),
                    ),
                    ignore_case=True,
                    nfkc=True,
                ),
                Rule(("n",), False, (ValueRange(Decimal(-1), Decimal(2), {"min": "-1", "max": 2}),)),
            ),
        ),
    )


def test_the_hash_is_that_of_the_canonical_form() -> None:
    document = pact({"paramPath": "n", "valueRange": {"max": 1e3}})
    canonical = (
        b'{"conditions":[{"parameterBinding":{"rules":[{"paramPath":"n","valueRange":{"max":1000}}],"tool":"pay"},'
        b'"severity":"major","type":"param_binding"}],"name":"Test"}'
    )
    parsed = parse_pact(document)
    assert parsed.canonical == canonical
    assert parsed.hash == pact_hash(document) == hashlib.sha256(canonical).hexdigest()
    respelt = json.dumps(document, indent=3, sort_keys=True).replace("1000.0", "1000.00").encode()
    assert pact_hash(respelt) == parse_pact(respelt).hash == parsed.hash


def test_a_document_has_a_hash_without_being_a_pact_but_not_without_being_exact() -> None:
    assert pact_hash({"a": 1}) == hashlib.sha256(b'{"a":1}').hexdigest()
    with pytest.raises(PactError, match="write it as a string"):
        pact_hash(b'{"a": 500.00000000000000001}')
    with pytest.raises(PactError, match="duplicate key"):
        pact_hash(b'{"a": 1, "a": 1}')


def test_every_fault_is_reported_at_once_structure_and_meaning() -> None:
    document = {
        "nam": "Treasury",
        "agentId": "atlas",
        "conditions": [
            {
                "type": "windows",
                "severity": "fatal",
                "parameterBinding": {
                    "tool": "",
                    "rules": [
                        {"paramPath": "a", "regexp": "x"},
                        {"paramPath": "b", "regex": "(?=x)"},
                        {"paramPath": "c..d", "valueRange": {"min": 2, "max": 1}},
                    ],
                },
            },
            {"type": "param_binding", "parameterBinding": {"tool": "x", "rules": {}}},
            7,
        ],
    }
    assert sorted(faults(document)) == sorted(
        [
            ("name", "is missing"),
            ("nam", "is not a known member"),
            ("agentId", "must be a UUID"),
            ("conditions[0].type", "must be one of param_binding, window, sequence, escalate"),
            ("conditions[0].severity", "must be one of critical, major, minor, info"),
            ("conditions[0].parameterBinding.tool", "must not be empty"),
            (f"{RULES}[0].regexp", "is not a known member"),
            (f"{RULES}[1].regex", "look-around and inline flags are not supported at position 0"),
            (f"{RULES}[2].paramPath", "expected a key, [*] or an index such as [0] at position 1"),
            (f"{RULES}[2].valueRange", "min is above max"),
            ("conditions[1].severity", "is missing"),
            ("conditions[1].parameterBinding.rules", "must be of type array"),
            ("conditions[2]", "must be of type object"),
        ]
    )


@pytest.mark.parametrize(
    ("rule", "path", "message"),
    [
        ({"allowList": []}, "allowList", "must not be empty"),
        ({"allowList": [None]}, "allowList[0]", "must be string or number or boolean"),
        ({"allowList": ["x"] * 1001}, "allowList", "is longer than 1000"),
        ({"denyList": ["x" * 1025]}, "denyList[0]", "is longer than 1024"),
        ({"denyList": ["1", 1e-101]}, "denyList[1]", "is too long or too precise to compare as text"),
        ({"regex": "x" * 1025}, "regex", "is longer than 1024"),
        ({"regex": "a{2,1}"}, "regex", "a repetition goes from less to more, up to 2000 at position 1"),
        ({"required": "yes"}, "required", "must be of type boolean"),
        ({"normalize": "nfc"}, "normalize", "must be one of nfkc"),
        ({"valueRange": {}}, "valueRange", "must not be empty"),
        ({"valueRange": {"min": True}}, "valueRange.min", "must be number or string"),
        (
            {"valueRange": {"min": "1e3"}},
            "valueRange.min",
            'must be a number, or a plain decimal such as "1000.50"',
        ),
        (
            {"valueRange": {"min": "1\n"}},
            "valueRange.min",
            'must be a number, or a plain decimal such as "1000.50"',
        ),
        (
            {"valueRange": {"min": "٣"}},
            "valueRange.min",
            'must be a number, or a plain decimal such as "1000.50"',
        ),
        ({"valueRange": {"min": "1" * 101}}, "valueRange.min", "is longer than 100"),
        ({"valueRange": {"min": "2", "max": 1.5}}, "valueRange", "min is above max"),
        ({"maxAmount": {"amount": 1}}, "maxAmount.currency", "is missing"),
        ({"maxAmount": {"amount": -1, "currency": "EUR"}}, "maxAmount.amount", "must not be negative"),
        (
            {"maxAmount": {"amount": 1, "currency": "EUR", "currencyPath": "a[*].c"}},
            "maxAmount.currencyPath",
            "may use [*] only where paramPath has it too, after the same keys",
        ),
        (
            {"maxAmount": {"amount": 1, "currency": "EUR", "currencyPath": "a["}},
            "maxAmount.currencyPath",
            "expected a key, [*] or an index such as [0] at position 1",
        ),
        (
            {"valueRange": {"max": 2**53}},
            "valueRange.max",
            "is a number that JSON readers may change: write it as a string",
        ),
    ],
)
def test_a_fault_in_a_rule_is_named_by_its_path(rule: dict[str, Any], path: str, message: str) -> None:
    assert rule_faults(paramPath="a", **rule) == [(path, message)]


def test_a_faulty_param_path_does_not_hide_or_invent_other_faults() -> None:
    rule = {
        "paramPath": "a[",
        "maxAmount": {"amount": 1, "currency": "EUR", "currencyPath": "b[*].c"},
        "regex": "(",
    }
    assert [path for path, _ in rule_faults(**rule)] == ["paramPath", "regex"]


@pytest.mark.parametrize("number", ["500.00000000000000001", "1e400", "9007199254740993", "1e9999999", "-1e99"])
def test_a_number_that_binary_floats_would_change_is_refused(number: str) -> None:
    document = json.dumps(pact({"paramPath": "a", "allowList": ["N"]})).replace('"N"', number).encode()
    assert faults(document)[0] == (
        f"{RULES}[0].allowList[0]",
        "is a number that JSON readers may change: write it as a string",
    )


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (b"", "EOF"),
        (b"{", "EOF"),
        (b'{"name": "a", "name": "b"}', 'duplicate key "name"'),
        (b'{"name": NaN}', "expected value"),
        (b'{"name": "\\ud800"}', "unexpected end of hex escape"),
        (b'{"name": "\xff"}', "invalid unicode"),
        (b"[" * 300, "recursion limit"),
        (b'{"a": 1e99999999999999999999}', "exponent"),
        (b" " * (256 * 1024 + 1), "more than 262144 bytes"),
        ({"name": float("nan")}, "JSON compliant"),
        ({"name": "\ud800"}, "surrogates not allowed"),
        ({"name": {1, 2}}, "set is not JSON serializable"),
        ({"name": Decimal(1)}, "Decimal is not JSON serializable"),
    ],
)
def test_what_is_no_json_document_is_refused(document: Any, message: str) -> None:
    with pytest.raises(PactError, match=f"(?i){message}") as caught:
        parse_pact(document)
    assert [detail.path for detail in caught.value.details] == [""]


def test_a_cyclic_or_bottomless_document_is_refused() -> None:
    cyclic: dict[str, Any] = {}
    cyclic["name"] = cyclic
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"name": deep}
    for document in (cyclic, deep):
        with pytest.raises(PactError, match="no JSON document"):
            parse_pact(document)


@pytest.mark.parametrize("document", [b"[]", b"7", b"null", b'"pact"'])
def test_a_document_that_is_no_object_is_refused(document: bytes) -> None:
    assert faults(document) == [("", "must be of type object")]


def test_limits_hold_on_rules_conditions_and_reported_faults() -> None:
    assert faults(pact(*[{"paramPath": "a"}] * 65)) == [(RULES, "is longer than 64")]
    crowded = pact({"paramPath": "a"})
    crowded["conditions"] *= 65
    assert faults(crowded) == [("conditions", "is longer than 64")]
    full = pact(*[{"paramPath": "a"}] * 64)
    full["conditions"] *= 4
    assert parse_pact(full)
    full["conditions"].append(pact({"paramPath": "a"})["conditions"][0])
    assert faults(full) == [("conditions", "may have 256 rules in all, not 257")]
    many = pact(*[{"paramPath": "a", "unknown": 1, "required": 1}] * 64)
    with pytest.raises(PactError, match=r"invalid pact: .* \(and \d+ more\)") as caught:
        parse_pact(many)
    assert len(caught.value.details) == 100


def test_all_expressions_of_a_pact_together_are_bounded() -> None:
    large = {"paramPath": "a", "regex": "a{2000}"}
    assert parse_pact(pact(*[large] * 8))
    assert faults(pact(*[large] * 9)) == [
        (f"{RULES}[8].regex", "the expressions of this pact together grow too large")
    ]


def test_the_schema_is_valid_and_knows_every_structural_fault_that_the_parser_reports() -> None:
    schema = json.loads(schema_files.read_text("pact.schema.json"))
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    sound = pact({"paramPath": "a", "maxAmount": {"amount": "1", "currency": "EUR"}, "allowList": ["a", 1]})
    assert validator.is_valid(sound)
    for broken in _each_member_spoilt(sound):
        assert not validator.is_valid(broken)
        with pytest.raises(PactError):
            parse_pact(broken)


def _each_member_spoilt(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Copies of the document with null in one place each, and with one more member in each object."""
    copies: list[dict[str, Any]] = []

    def visit(value: Any, steps: tuple[Any, ...]) -> None:
        if steps:
            spoilt = copy.deepcopy(document)
            _at(spoilt, steps[:-1])[steps[-1]] = None
            copies.append(spoilt)
        if isinstance(value, dict):
            extended = copy.deepcopy(document)
            _at(extended, steps)["extra"] = 1
            copies.append(extended)
        entries = (
            value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        )
        for key, inner in entries:
            visit(inner, (*steps, key))

    visit(document, ())
    return copies


def _at(value: Any, steps: tuple[Any, ...]) -> Any:
    for step in steps:
        value = value[step]
    return value
