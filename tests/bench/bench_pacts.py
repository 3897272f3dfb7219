"""Judging one call against a seven-rule pact: `python -m tests.bench.bench_pacts`.

Prints microseconds and calls per second on one core, for a valid call and for one that breaks all seven
rules (with paths and messages), and the same for jsonschema-rs where that is installed. The peer decodes
with msgspec, its fastest way, which lets duplicate keys and inexact numbers pass. A further line gives it
our decoder. Both run in one process, in turns; the best of seven rounds counts, since other work only ever
adds time.
"""

from __future__ import annotations

import importlib
import timeit
from collections.abc import Callable
from typing import Any

import msgspec

from pactstream.pacts import compile_pact, parse_pact, values

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


def ours() -> dict[str, Callable[[], Any]]:
    """Our runs by name."""
    binding = {"tool": "pay", "rules": RULES}
    condition = {"type": "param_binding", "severity": "critical", "parameterBinding": binding}
    pact = compile_pact(parse_pact({"name": "Bench", "conditions": [condition]}), pact_id="p", version=1)
    if not pact.judge("pay", VALID).valid or len(pact.judge("pay", BROKEN).violations) != len(RULES):
        raise SystemExit("the bench does not measure what it says")
    decoded = values.decode(VALID)
    return {
        "valid, from bytes": lambda: pact.judge("pay", VALID),
        "valid, from bytes, one decoder": lambda: pact.judge("pay", VALID),
        "valid, decoded": lambda: pact.judge_decoded("pay", decoded),
        "seven violations, from bytes": lambda: pact.judge("pay", BROKEN),
    }


def peers() -> dict[str, Callable[[], Any]]:
    """The same runs with jsonschema-rs; empty where it is not installed."""
    try:
        jsonschema_rs = importlib.import_module("jsonschema_rs")
    except ModuleNotFoundError:
        return {}
    validator = jsonschema_rs.validator_for(SCHEMA)
    decode = msgspec.json.Decoder().decode
    decoded = decode(VALID)
    if not validator.is_valid(decoded) or len(list(validator.iter_errors(decode(BROKEN)))) != len(RULES):
        raise SystemExit("the bench does not measure what it says")
    return {
        "valid, from bytes": lambda: validator.is_valid(decode(VALID)),
        "valid, from bytes, one decoder": lambda: validator.is_valid(values.decode(VALID)),
        "valid, decoded": lambda: validator.is_valid(decoded),
        "seven violations, from bytes": lambda: [
            (error.instance_path, error.message) for error in validator.iter_errors(decode(BROKEN))
        ],
    }


def best_micros(run: Callable[[], Any]) -> float:
    """The best of seven rounds, in microseconds a call."""
    calls = 20_000
    return min(timeit.repeat(run, number=calls, repeat=7)) / calls * 1e6


def main() -> None:
    """Run and print."""
    theirs = peers()
    if not theirs:
        print("jsonschema-rs is not installed: no peer to compare with")
    print(f"{'':32}{'ours':>10}{'calls/s':>12}{'peer':>12}{'ratio':>9}")
    for name, run in ours().items():
        mine = best_micros(run)
        line = f"{name:32}{mine:8.2f} µs{1e6 / mine:12,.0f}"
        if name in theirs:
            other = best_micros(theirs[name])
            line += f"{other:9.2f} µs{other / mine:8.2f}x"
        print(line)


if __name__ == "__main__":
    main()
