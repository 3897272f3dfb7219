from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from pactstream.pacts import CompiledPact, Verdict, compile_pact, parse_pact, values


def condition(
    *rules: dict[str, Any], severity: str = "major", tool: str = "pay", **binding: Any
) -> dict[str, Any]:
    return {
        "type": "param_binding",
        "severity": severity,
        "parameterBinding": {"tool": tool, "rules": list(rules), **binding},
    }


def compiled(*conditions: dict[str, Any]) -> CompiledPact:
    return compile_pact(parse_pact({"name": "Test", "conditions": list(conditions)}), pact_id="p-1", version=3)


def judge(params: Any, *rules: dict[str, Any], **binding: Any) -> Verdict:
    raw = params if isinstance(params, bytes) else json.dumps(params).encode()
    return compiled(condition(*rules, **binding)).judge("pay", raw)


def found(verdict: Verdict) -> list[tuple[str, str, Any]]:
    return [(violation.param_path, violation.rule, violation.value) for violation in verdict.violations]


def test_a_passing_call_is_valid_and_bound_and_names_the_version() -> None:
    pact = compiled(condition({"paramPath": "a", "required": True}))
    verdict = pact.judge("pay", b'{"a": 1}')
    assert msgspec.json.decode(msgspec.json.encode(verdict)) == {
        "valid": True,
        "bound": True,
        "pactId": "p-1",
        "pactVersion": 3,
        "pactHash": pact.pact.hash,
        "severity": None,
        "violations": [],
    }


def test_a_tool_that_the_pact_names_nowhere_is_valid_and_unbound_whatever_its_parameters() -> None:
    pact = compiled(condition({"paramPath": "a", "required": True}))
    for verdict in (pact.judge("Pay", b"not json"), pact.judge_decoded("", 7)):
        assert (verdict.valid, verdict.bound, verdict.severity, verdict.violations) == (True, False, None, ())


def test_a_violation_says_where_what_and_what_was_expected() -> None:
    verdict = judge({"to": "0xBAD"}, {"paramPath": "to", "allowList": ["0xA11A"]}, severity="critical")
    assert msgspec.json.decode(msgspec.json.encode(verdict))["violations"] == [
        {
            "paramPath": "to",
            "rule": "allowList",
            "severity": "critical",
            "value": "0xBAD",
            "expected": ["0xA11A"],
            "message": 'to is "0xBAD", which is not on the allow-list.',
        }
    ]


@pytest.mark.parametrize(
    ("rule", "value", "expected", "message"),
    [
        ({"allowList": ["a"]}, "b", ["a"], 'x is "b", which is not on the allow-list.'),
        ({"allowList": ["a"]}, ["a"], ["a"], "x is an array without a text to compare."),
        ({"denyList": ["b"]}, "b", ["b"], 'x is "b", which is on the deny-list.'),
        ({"denyList": ["b"]}, {"b": 1}, ["b"], "x is an object without a text to compare."),
        ({"regex": "^a$"}, "b", "^a$", 'x is "b", which does not match /^a$/.'),
        ({"regex": "^a"}, "a" * 4097, "^a", "x is longer than the 4096 characters that are judged."),
        (
            {"regex": "a", "normalize": "nfkc"},
            "a" * 4097,
            "a",
            "x is longer than the 4096 characters that are judged.",
        ),
        ({"valueRange": {"min": 1}}, 0, {"min": 1}, "x is 0, below the minimum of 1."),
        ({"valueRange": {"max": "1.50"}}, 1.51, {"max": "1.50"}, "x is 1.51, above the maximum of 1.50."),
        (
            {"valueRange": {"max": 1}},
            "one",
            {"max": 1},
            'x is "one", which is not a number in plain decimal notation.',
        ),
        ({"valueRange": {"min": 1}}, 10**100, {"min": 1}, "x has more than the 100 digits that are judged."),
        (
            {"maxAmount": {"amount": 5, "currency": "EUR"}},
            6,
            {"amount": 5, "currency": "EUR"},
            "x is 6, above the maximum of 5.",
        ),
        (
            {"maxAmount": {"amount": 5, "currency": "EUR"}},
            -1,
            {"amount": 5, "currency": "EUR"},
            "x is -1, below the minimum of 0.",
        ),
        ({"required": True}, None, True, "x is required, and it is missing or null."),
    ],
)
def test_every_rule_explains_itself(rule: dict[str, Any], value: Any, expected: Any, message: str) -> None:
    verdict = judge({"x": value, "currency": "EUR"}, {"paramPath": "x", **rule})
    assert [(violation.expected, violation.message) for violation in verdict.violations] == [
        (expected, message)
    ]


@pytest.mark.parametrize(
    ("rule", "passing", "failing"),
    [
        (
            {"allowList": ["a", "1000", "true", "2.5"]},
            ["a", 1000, True, 2.50, "1000"],
            ["A", "a ", 1, False, [], {}],
        ),
        ({"allowList": [1000, False]}, [1000, "1000", 1000.0, False, "false"], [0, "1e3", "0"]),
        ({"denyList": ["a", 5]}, ["b", 6, True, "A", "５"], ["a", 5, 5.0, "5", ["a"], {"a": 1}]),
        ({"regex": "^[0-9]{4}$"}, ["1234", 1234, 1234.0], ["12345", "x", True, [], "1234\n"]),
        ({"valueRange": {"min": 1, "max": 10}}, [1, 10, 1.0, "5.5"], [0, 0.999, 11, "11", True, "", [], {}]),
        ({"valueRange": {"min": 0.5}}, [0.5, 1, 10**99], [0.49, 0, -1, 10**100]),
        ({"valueRange": {"max": 0.5}}, [0.5, 0, -(10**99)], [0.51, 1, -(10**100)]),
        ({"required": True}, [0, "", False, [], {}], [None]),
    ],
)
def test_each_rule_passes_what_it_should_and_nothing_else(
    rule: dict[str, Any], passing: list[Any], failing: list[Any]
) -> None:
    for value in passing:
        assert judge({"x": value}, {"paramPath": "x", **rule}).valid, value
    for value in failing:
        assert not judge({"x": value}, {"paramPath": "x", **rule}).valid, value


def test_null_and_missing_pass_every_rule_but_required() -> None:
    rules = {
        "allowList": ["a"],
        "denyList": ["b"],
        "regex": "x",
        "valueRange": {"min": 5},
        "maxAmount": {"amount": 1, "currency": "EUR"},
    }
    for params in ({}, {"x": None}):
        assert judge(params, {"paramPath": "x", **rules}).valid
        assert found(judge(params, {"paramPath": "x", "required": True, **rules})) == [("x", "required", None)]


def test_checks_rules_bindings_and_conditions_combine_and_severity_is_the_gravest() -> None:
    pact = compiled(
        condition({"paramPath": "n", "valueRange": {"max": 1}, "regex": "^1$"}, severity="minor"),
        condition({"paramPath": "n", "denyList": ["7"]}, severity="critical"),
        condition({"paramPath": "n", "allowList": ["1"]}, severity="info"),
        condition({"paramPath": "n", "allowList": ["nothing"]}, tool="other"),
    )
    verdict = pact.judge("pay", b'{"n": 7}')
    assert [(violation.rule, violation.severity) for violation in verdict.violations] == [
        ("regex", "minor"),
        ("valueRange", "minor"),
        ("denyList", "critical"),
        ("allowList", "info"),
    ]
    assert verdict.severity == "critical"
    assert pact.judge("pay", b'{"n": 1}').valid


def test_case_and_compatibility_forms_are_folded_only_on_request() -> None:
    def passes(value: str, **options: Any) -> bool:
        return judge({"x": value}, {"paramPath": "x", "allowList": ["Kappa"], **options}).valid

    assert not passes("KAPPA")
    assert passes("KAPPA", caseInsensitive=True)
    assert not passes("\u212aappa", caseInsensitive=True)  # KELVIN SIGN
    assert not passes("Ｋappa")
    assert passes("Ｋappa", normalize="nfkc")
    assert passes("\u212aAPPA", normalize="nfkc", caseInsensitive=True)
    assert not passes("Карра", normalize="nfkc", caseInsensitive=True)  # Cyrillic
    assert judge(
        {"x": "ＡB"}, {"paramPath": "x", "regex": "^ab$", "normalize": "nfkc", "caseInsensitive": True}
    ).valid
    denied = judge(
        {"x": "ＥＶＩＬ"},
        {"paramPath": "x", "denyList": ["evil"], "normalize": "nfkc", "caseInsensitive": True},
    )
    assert found(denied) == [("x", "denyList", "ＥＶＩＬ")]


CAPPED = {"paramPath": "pay.amount", "maxAmount": {"amount": "10.00", "currency": "EUR"}}


class TestMaxAmount:
    def test_the_currency_stands_beside_the_amount(self) -> None:
        assert judge({"pay": {"amount": 10, "currency": "EUR"}}, CAPPED).valid
        for currency in ("USD", "eur", None, 978, ["EUR"]):
            verdict = judge({"pay": {"amount": 10, "currency": currency}, "currency": "EUR"}, CAPPED)
            assert found(verdict) == [("pay.currency", "maxAmount", currency)]
        verdict = judge({"pay": {"amount": 10}}, CAPPED)
        assert (
            verdict.violations[0].message
            == 'pay.currency is missing or null, but the amount is capped in "EUR".'
        )

    def test_or_where_currency_path_says(self) -> None:
        rule = {
            "paramPath": "amount",
            "maxAmount": {"amount": 10, "currency": "EUR", "currencyPath": "meta.cur"},
        }
        assert judge({"amount": 1, "meta": {"cur": "EUR"}}, rule).valid
        assert found(judge({"amount": 1, "currency": "EUR"}, rule)) == [("meta.cur", "maxAmount", None)]
        assert found(judge({"amount": 1, "meta": "EUR"}, rule)) == [("meta.cur", "maxAmount", None)]

    def test_each_element_has_its_own_currency_unless_the_path_points_elsewhere(self) -> None:
        own = {"paramPath": "items[*].price", "maxAmount": {"amount": 10, "currency": "EUR"}}
        items = [
            {"price": 1, "currency": "EUR"},
            {"price": 1, "currency": "USD"},
            {"price": 11, "currency": "USD"},
        ]
        assert found(judge({"items": items}, own)) == [
            ("items[1].currency", "maxAmount", "USD"),
            ("items[2].price", "maxAmount", 11),
        ]
        shared = {
            "paramPath": "items[*].price",
            "maxAmount": {"amount": 10, "currency": "EUR", "currencyPath": "currency"},
        }
        assert judge({"items": [{"price": 1}, {"price": 2}], "currency": "EUR"}, shared).valid

    def test_negative_amounts_fail_unless_allowed(self) -> None:
        allowed = {"paramPath": "amount", "maxAmount": {"amount": 10, "currency": "EUR", "allowNegative": True}}
        refused = {"paramPath": "amount", "maxAmount": {"amount": 10, "currency": "EUR"}}
        for amount in (-0.01, -5, "-5"):
            assert judge({"amount": amount, "currency": "EUR"}, allowed).valid
            assert not judge({"amount": amount, "currency": "EUR"}, refused).valid
        assert found(judge({"amount": -5, "currency": "USD"}, allowed)) == [("currency", "maxAmount", "USD")]


class TestPaths:
    def test_wildcards_report_concrete_indices(self) -> None:
        rule = {"paramPath": "orders[*].lines[*].price", "valueRange": {"max": 10}}
        orders = [{"lines": [{"price": 1}, {"price": 11}]}, {"lines": []}, {"lines": [{"price": 12}, {}]}]
        assert found(judge({"orders": orders}, rule)) == [
            ("orders[0].lines[1].price", "valueRange", 11),
            ("orders[2].lines[0].price", "valueRange", 12),
        ]

    def test_required_below_a_wildcard_means_every_element_and_at_least_one(self) -> None:
        rule = {"paramPath": "items[*].price", "required": True}
        assert judge({"items": [{"price": 0}]}, rule).valid
        assert found(judge({"items": [{"price": 0}, {}, {"price": None}, None]}, rule)) == [
            ("items[1].price", "required", None),
            ("items[2].price", "required", None),
            ("items[3].price", "required", None),
        ]
        empty: list[dict[str, Any]] = [{"items": []}, {"items": None}, {}]
        for params in empty:
            assert found(judge(params, rule)) == [("items[*].price", "required", None)]

    def test_an_index_takes_one_element(self) -> None:
        rule = {"paramPath": "route[1].host", "allowList": ["a"]}
        assert judge({"route": [{"host": "z"}, {"host": "a"}, {"host": "z"}]}, rule).valid
        assert judge({"route": []}, rule).valid
        assert found(judge({"route": [{}, {"host": "b"}]}, rule)) == [("route[1].host", "allowList", "b")]
        assert found(judge({"route": [{}]}, {**rule, "required": True})) == [
            ("route[1].host", "required", None)
        ]

    def test_quoted_segments_are_keys_with_dots(self) -> None:
        rule = {"paramPath": 'meta["dc.license"]', "allowList": ["CC0"]}
        assert judge({"meta": {"dc.license": "CC0", "dc": {"license": "x"}}}, rule).valid
        assert found(judge({"meta": {"dc.license": "x"}}, rule)) == [('meta."dc.license"', "allowList", "x")]

    @pytest.mark.parametrize(
        ("params", "message"),
        [
            ({"a": "flat"}, "a is a string, so a.b[*].c cannot be judged."),
            ({"a": [1]}, "a is an array, so a.b[*].c cannot be judged."),
            ({"a": {"b": {"c": 1}}}, "a.b is an object, so a.b[*].c cannot be judged."),
            ({"a": {"b": 1.5}}, "a.b is a number, so a.b[*].c cannot be judged."),
            ({"a": {"b": [{"c": 1}, True]}}, "a.b[1] is true or false, so a.b[1].c cannot be judged."),
        ],
    )
    def test_a_path_through_something_else_cannot_be_judged(self, params: Any, message: str) -> None:
        verdict = judge(
            params, {"paramPath": "a.b[*].c", "valueRange": {"max": 9}, "regex": "^1$", "required": True}
        )
        assert [violation.rule for violation in verdict.violations] == ["required", "regex", "valueRange"]
        assert {violation.message for violation in verdict.violations} == {message}

    def test_the_longest_path_is_followed_to_its_end(self) -> None:
        value: Any = 9
        for _ in range(4):
            value = {"a": {"b": {"c": [value]}}}
        rule = {"paramPath": ".".join(["a.b.c[*]"] * 4), "valueRange": {"max": 8}, "required": True}
        (violation,) = judge(value, rule).violations
        assert violation.param_path == ".".join(["a.b.c[0]"] * 4)

    def test_a_wildcard_over_too_many_elements_cannot_be_judged(self) -> None:
        rule = {"paramPath": "ids[*]", "denyList": ["x"]}
        assert judge({"ids": [1] * 1_000}, rule).valid
        verdict = judge({"ids": [1] * 1_001}, rule)
        assert [violation.message for violation in verdict.violations] == [
            "ids is an array of more than 1000 elements, so ids[*] cannot be judged."
        ]


class TestUnknownParams:
    def test_only_names_that_rules_use_pass(self) -> None:
        rules: list[dict[str, Any]] = [{"paramPath": "to", "required": True}, {"paramPath": "memo"}]
        assert judge({"to": 1, "memo": {"any": "thing"}}, *rules, unknownParams="forbid").valid
        assert judge({"to": 1, "extra": 2}, *rules, unknownParams="allow").valid
        verdict = judge({"to": 1, "extra": {"a": 1}, "To": 2}, *rules, unknownParams="forbid")
        assert found(verdict) == [("extra", "unknownParams", {"a": 1}), ("To", "unknownParams", 2)]
        assert verdict.violations[0].expected == ["memo", "to"]
        assert verdict.violations[0].message == "extra is not a parameter that the pact knows."

    def test_objects_on_the_way_of_a_path_are_held_to_its_names(self) -> None:
        rules: list[dict[str, Any]] = [
            {"paramPath": "vendor.id"},
            {"paramPath": "items[*].price", "maxAmount": {"amount": 9, "currency": "EUR"}},
            {"paramPath": "tags[*]"},
        ]
        params = {
            "vendor": {"id": 1, "iban": 2},
            "items": [{"price": 1, "currency": "EUR"}, {"price": 1, "currency": "EUR", "tip": 5}],
            "tags": ["a", {"deep": 1}],
            "a.b": 1,
        }
        assert found(judge(params, *rules, unknownParams="forbid")) == [
            ("vendor.iban", "unknownParams", 2),
            ("items[1].tip", "unknownParams", 5),
            ('"a.b"', "unknownParams", 1),
        ]

    def test_a_deeper_rule_narrows_a_name_whichever_comes_first(self) -> None:
        rules: list[dict[str, Any]] = [{"paramPath": "vendor", "required": True}, {"paramPath": "vendor.id"}]
        for ordered in (rules, rules[::-1]):
            verdict = judge({"vendor": {"id": 1, "iban": 2}}, *ordered, unknownParams="forbid")
            assert found(verdict) == [("vendor.iban", "unknownParams", 2)]

    def test_every_binding_of_the_tool_contributes_names_and_the_gravest_that_forbids_counts(self) -> None:
        pact = compiled(
            condition({"paramPath": "a"}, severity="minor", unknownParams="forbid"),
            condition({"paramPath": "b"}, severity="critical"),
            condition({"paramPath": "c"}, severity="major", unknownParams="forbid"),
            condition({"paramPath": "d"}, severity="critical", tool="other"),
        )
        verdict = pact.judge("pay", b'{"a":1,"b":1,"c":1,"d":1}')
        assert [(violation.param_path, violation.severity) for violation in verdict.violations] == [
            ("d", "major")
        ]

    def test_a_value_of_another_shape_is_its_own_rules_concern(self) -> None:
        rules: list[dict[str, Any]] = [{"paramPath": "vendor.id", "regex": "x"}, {"paramPath": "list[0]"}]
        assert found(judge({"vendor": ["x"], "list": [1, 2]}, *rules, unknownParams="forbid")) == [
            ("vendor.id", "regex", ["x"])
        ]

    def test_a_binding_without_rules_can_forbid_all_parameters(self) -> None:
        assert judge({}, unknownParams="forbid").valid
        assert found(judge({"a": 1}, unknownParams="forbid")) == [("a", "unknownParams", 1)]
        assert judge({"a": 1}).bound

    def test_a_long_name_is_shortened_in_the_path(self) -> None:
        (violation,) = judge({"k" * 5000: 1}, unknownParams="forbid").violations
        assert violation.param_path == "k" * 128


class TestBounds:
    def test_a_hundred_violations_are_listed_and_the_rest_counted_with_their_severity(self) -> None:
        pact = compiled(
            condition({"paramPath": "ids[*]", "valueRange": {"max": 0}}, severity="minor"),
            condition({"paramPath": "missing", "required": True}, severity="critical"),
            condition({"paramPath": "ids.x", "regex": "a"}, severity="info", unknownParams="forbid"),
        )
        params = json.dumps({"ids": [1] * 150, "other": 1}).encode()
        verdict = pact.judge("pay", params)
        assert len(verdict.violations) == 100
        assert verdict.severity == "critical"
        last = verdict.violations[-1]
        assert (last.rule, last.severity, last.value) == ("more", "critical", 54)
        assert last.message == "54 more violations are not listed."

    @pytest.mark.parametrize(
        ("value", "reported"),
        [
            ("x" * 256, "x" * 256),
            ("x" * 257, "x" * 256 + "…"),
            ([1] * 13, [1] * 12 + ["… and 1 more"]),
            ({"k" * 65: "v" * 65}, {"k" * 64 + "…": "v" * 64 + "…"}),
            ({str(n): n for n in range(13)}, {**{str(n): n for n in range(12)}, "…": "and 1 more"}),
            ([[[1]], {"a": {"b": 1}}], [["… 1 elements"], {"a": "… 1 members"}]),
            (10**100, "1" + "0" * 63 + "…"),
            (-(10**99), -(10**99)),
            (True, True),
        ],
    )
    def test_a_reported_value_is_bounded(self, value: Any, reported: Any) -> None:
        assert found(judge({"x": value}, {"paramPath": "x", "allowList": ["no"]})) == [
            ("x", "allowList", reported)
        ]

    def test_a_reported_decimal_stays_exact(self) -> None:
        verdict = judge(b'{"x": 0.1000000000000000000001}', {"paramPath": "x", "valueRange": {"max": 0.1}})
        assert found(verdict) == [("x", "valueRange", Decimal("0.1000000000000000000001"))]
        assert "0.1000000000000000000001" in verdict.violations[0].message

    def test_parameters_beyond_the_size_limit_cannot_be_judged(self) -> None:
        rule = {"paramPath": "x", "required": True}
        largest = b'{"x": "' + b"a" * (64 * 1024 - 9) + b'"}'
        assert judge(largest, rule).valid
        (violation,) = judge(largest + b" ", rule).violations
        assert violation.message == "The parameters cannot be judged: they have more than 65536 bytes."

    def test_a_message_stays_short(self) -> None:
        rules: list[dict[str, Any]] = [
            {"paramPath": "x", "regex": "b" * 1024, "allowList": ["no"], "valueRange": {"min": 1}}
        ]
        for violation in judge({"x": "é" * 4000}, *rules).violations:
            assert len(violation.message) < 250


def test_decoded_parameters_are_judged_alike_and_floats_are_no_numbers() -> None:
    pact = compiled(condition({"paramPath": "x", "valueRange": {"max": 1}}))
    assert pact.judge_decoded("pay", values.decode(b'{"x": 1.0}')).valid
    assert not pact.judge_decoded("pay", {"x": 0.5}).valid
    assert not pact.judge_decoded("pay", []).valid


def test_values_of_a_pact_never_become_code() -> None:
    hostile = "'\"\\\n);raise SystemExit#{v0}"
    quoted = json.dumps(hostile)
    rules: list[dict[str, Any]] = [
        {"paramPath": quoted, "allowList": [hostile], "denyList": ["x"], "required": True},
        {
            "paramPath": f"a[*].{quoted}",
            "maxAmount": {"amount": 1, "currency": hostile, "currencyPath": f"b.{quoted}"},
        },
    ]
    params = {hostile: hostile, "a": [{hostile: 1}], "b": {hostile: hostile}}
    pact = compiled(condition(*rules, tool=hostile, unknownParams="forbid"))
    assert pact.judge(hostile, json.dumps(params).encode()).valid
    assert not pact.judge(hostile, b"{}").valid
