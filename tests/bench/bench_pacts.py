"""Judging one call against a seven-rule pact: `python -m tests.bench.bench_pacts`.

A valid call and one that breaks all seven rules (with paths and messages), from JSON bytes and decoded,
against jsonschema-rs and cedarpy, each used in its fastest way: the validator and the policies are prepared
once, and JSON is decoded with msgspec, which lets duplicate keys pass and makes floats of numbers. All run in
turns in one process.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec

from pactstream.pacts import compile_pact, parse_pact, values
from tests.bench.figures import race, report

ADDRESSES = [f"0xA11A00000000000000000000000000000000000{n}" for n in range(3)]

RULES: list[dict[str, Any]] = [
    {"paramPath": "destination", "required": True, "allowList": ADDRESSES},
    {"paramPath": "amount", "required": True, "maxAmount": {"amount": "1000", "currency": "USDC"}},
    {"paramPath": "currency", "required": True, "allowList": ["USDC"]},
    {"paramPath": "memo", "regex": r"^[\w\s-]{0,128}$"},
    {"paramPath": "vendor.id", "regex": "^v-[0-9]+$"},
    {"paramPath": "priority", "denyList": ["urgent", "now"]},
    {"paramPath": "items[*].price", "valueRange": {"min": 0, "max": 500}},
]

# The same demands as far as JSON Schema goes: no exact decimals, no currency beside each amount.
SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["destination", "amount", "currency"],
    "properties": {
        "destination": {"enum": ADDRESSES},
        "amount": {"type": "number", "minimum": 0, "maximum": 1000},
        "currency": {"const": "USDC"},
        "memo": {"type": "string", "pattern": r"^[0-9A-Za-z_\s-]{0,128}$"},
        "vendor": {"properties": {"id": {"type": "string", "pattern": "^v-[0-9]+$"}}},
        "priority": {"not": {"enum": ["urgent", "now"]}},
        "items": {"items": {"properties": {"price": {"type": "number", "minimum": 0, "maximum": 500}}}},
    },
}

VALID = msgspec.json.encode(
    {
        "destination": ADDRESSES[1],
        "amount": 250,
        "currency": "USDC",
        "memo": "May invoices - vendor ACME",
        "vendor": {"id": "v-1001"},
        "priority": "normal",
        "items": [{"price": 100}, {"price": 150}],
    }
)
BROKEN = msgspec.json.encode(
    {
        "destination": "0xBAD0000000000000000000000000000000000000",
        "amount": 5000,
        "currency": "EUR",
        "memo": "May invoices; vendor ACME",
        "vendor": {"id": "1001"},
        "priority": "urgent",
        "items": [{"price": 100}, {"price": 501}],
    }
)


# The same for Cedar, where everything that is forbidden is one expression; it has no regular expressions.
CLAUSES = [
    f"{json.dumps(ADDRESSES)}.contains(context.destination)",
    'context.amount >= 0 && context.amount <= 1000 && context.currency == "USDC"',
    '!(context has memo) || !(context.memo like "*;*")',
    '!(context has vendor) || context.vendor.id like "v-*"',
    '!(context has priority) || !(["urgent", "now"].contains(context.priority))',
    "context.items.first.price >= 0 && context.items.first.price <= 500",
    "context.items.second.price >= 0 && context.items.second.price <= 500",
]
POLICY = (
    'permit(principal, action == Action::"pay", resource) when { '
    + " && ".join(f"({one})" for one in CLAUSES)
    + " };"
)

Runs: TypeAlias = dict[str, Callable[[], Any]]

VALID_BYTES = "valid, from bytes"
VALID_DECODED = "valid, decoded"
BROKEN_BYTES = "seven violations, from bytes"


def ours() -> Runs:
    """Our runs by name."""
    binding = {"tool": "pay", "rules": RULES}
    condition = {"type": "param_binding", "severity": "critical", "parameterBinding": binding}
    pact = compile_pact(parse_pact({"name": "Bench", "conditions": [condition]}), pact_id="p", version=1)
    _expect(pact.judge("pay", VALID).valid and len(pact.judge("pay", BROKEN).violations) == len(RULES))
    decoded = values.decode(VALID)
    return {
        VALID_BYTES: lambda: pact.judge("pay", VALID),
        VALID_DECODED: lambda: pact.judge_decoded("pay", decoded),
        BROKEN_BYTES: lambda: pact.judge("pay", BROKEN),
    }


def json_schema() -> Runs:
    """The same runs with jsonschema-rs."""
    validator = importlib.import_module("jsonschema_rs").validator_for(SCHEMA)
    decode = msgspec.json.Decoder().decode
    decoded = decode(VALID)
    _expect(validator.is_valid(decoded) and len(list(validator.iter_errors(decode(BROKEN)))) == len(RULES))
    return {
        VALID_BYTES: lambda: validator.is_valid(decode(VALID)),
        VALID_DECODED: lambda: validator.is_valid(decoded),
        BROKEN_BYTES: lambda: [
            (error.instance_path, error.message) for error in validator.iter_errors(decode(BROKEN))
        ],
    }


def cedar() -> Runs:
    """The same runs with cedarpy, which says that a call is denied, and not why."""
    cedarpy = importlib.import_module("cedarpy")
    policies = cedarpy.PolicySet.from_str(POLICY)
    entities = cedarpy.Entities.from_json_str("[]")
    decode = msgspec.json.Decoder().decode

    def judge(params: Any) -> bool:
        items = params["items"]
        # Cedar has no way to say something of each element of a list: a record in its place.
        context = params | {"items": {"first": items[0], "second": items[1]}}
        request = {
            "principal": 'Agent::"a"',
            "action": 'Action::"pay"',
            "resource": 'Tool::"pay"',
            "context": context,
        }
        return bool(cedarpy.is_authorized(request, policies, entities).allowed)

    decoded = decode(VALID)
    _expect(judge(decoded) and not judge(decode(BROKEN)))
    return {
        VALID_BYTES: lambda: judge(decode(VALID)),
        VALID_DECODED: lambda: judge(decoded),
        BROKEN_BYTES: lambda: judge(decode(BROKEN)),
    }


def _expect(holds: bool) -> None:
    if not holds:
        raise SystemExit("the bench does not measure what it says")


TARGETS = {"jsonschema-rs": "≥ 1 ×", "cedarpy": "≥ 30 ×"}


def main() -> None:
    """Run and print."""
    mine = ours()
    theirs = {"jsonschema-rs": json_schema(), "cedarpy": cedar()}
    for name, run in mine.items():
        # Cedar is slow enough to run by itself, so that the others take their turns close together.
        fast = race({"ours": run, "jsonschema-rs": theirs["jsonschema-rs"][name]})
        slow = race({"ours": run, "cedarpy": theirs["cedarpy"][name]}, calls=100, rounds=60)
        for peer, micros in (("jsonschema-rs", fast), ("cedarpy", slow)):
            figure = f"{micros['ours']:.2f} µs ({1e6 / micros['ours']:,.0f}/s)"
            target = "" if name == VALID_DECODED else TARGETS[peer]
            report(
                f"pact, {name}", figure, f"{peer} {micros[peer]:.2f} µs", micros[peer] / micros["ours"], target
            )


if __name__ == "__main__":
    main()
