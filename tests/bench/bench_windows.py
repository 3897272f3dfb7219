"""A million calls of one agent in one day's windows: `python -m tests.bench.bench_windows [CALLS]`.

For each kind of condition: microseconds a call on one core beyond judging it alone, and the bytes of state at
the end (the promise is less than 64 KiB for a key, whatever the number of calls). Calls come in order, evenly
over two days, so that every bucket that is ever kept is in use; amounts have two decimals, values never repeat.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import msgspec

from pactstream.pacts import Call, CompiledPact, PactState, compile_pact, parse_pact

DAY_MICROS = 86_400_000_000
BEGIN_MICROS = 1_778_673_600_000_000
LIMIT_BYTES = 64 * 1024

DAY = {"sliding": "P1D"}
CALENDAR = {"calendar": {"unit": "day", "timeZone": "Europe/Madrid"}}


def window(aggregate: str, over: Any, limit: str) -> dict[str, Any]:
    """A window on `amount`."""
    members = {"aggregate": aggregate, "tools": ["pay"], "paramPath": "amount", "over": over, "limit": limit}
    return {"type": "window", "severity": "major", "window": members}


CONDITIONS: dict[str, dict[str, Any]] = {
    "sum, sliding day": window("sum", DAY, "1" + "0" * 30),
    "count, sliding day": window("count", DAY, "1" + "0" * 30),
    "max, sliding day": window("max", DAY, "1" + "0" * 30),
    "distinct, sliding day, limit 1000": window("distinct", DAY, "1000"),
    "distinct, sliding day, limit 50": window("distinct", DAY, "50"),
    "sum, calendar day": window("sum", CALENDAR, "1" + "0" * 30),
    "distinct, calendar day, limit 1000": window("distinct", CALENDAR, "1000"),
    "requires, per session": {
        "type": "sequence",
        "severity": "major",
        "sequence": {"requires": {"tool": "pay", "after": "verify"}},
    },
    "maxConsecutiveErrors": {"type": "sequence", "severity": "major", "sequence": {"maxConsecutiveErrors": 3}},
}


def pact_of(condition: dict[str, Any]) -> CompiledPact:
    """A pact of one condition."""
    return compile_pact(parse_pact({"name": "Bench", "conditions": [condition]}), pact_id="p", version=1)


def run(pact: CompiledPact, calls: int) -> tuple[float, int, int]:
    """Microseconds a call, bytes of state at the end, and crossings."""
    state, crossings = PactState(), 0
    step = 2 * DAY_MICROS // calls
    event_ids = [number.to_bytes(16, "big") for number in range(1_000)]
    started = time.perf_counter()
    for number in range(calls):
        call = Call(
            event_ids[number % 1_000],
            "pay",
            b'{"amount": %d.%02d, "to": "0xA11A"}' % (number, number % 100),
            outcome="success",
            session_id="s-1",
            occurred_at_micros=BEGIN_MICROS + number * step,
        )
        crossings += len(pact.observe(call, state).crossings)
    return (time.perf_counter() - started) / calls * 1e6, len(state.dump()), crossings


def main() -> None:
    """Run and print."""
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    empty = {"type": "param_binding", "severity": "info", "parameterBinding": {"tool": "pay", "rules": []}}
    alone, _, _ = run(pact_of(empty), calls)
    print(f"{calls:,} calls over two days; judged alone {alone:.1f} µs a call")
    print(f"{'':38}{'more a call':>14}{'state':>12}{'crossings':>12}")
    for name, condition in CONDITIONS.items():
        micros, size, crossings = run(pact_of(condition), calls)
        verdict = "" if size < LIMIT_BYTES else "  over 64 KiB!"
        print(f"{name:38}{micros - alone:11.1f} µs{size:10,} B{crossings:12,}{verdict}")
    print(f"one key at a flush: {flush_micros():.0f} µs to encode a full sliding sum")


def flush_micros() -> float:
    """Microseconds to encode the changelog record of a sliding sum with every bucket in use."""
    pact, state = pact_of(CONDITIONS["sum, sliding day"]), PactState()
    for number in range(4_000):
        at = BEGIN_MICROS + number * 2 * DAY_MICROS // 4_000
        body = msgspec.json.encode({"amount": f"{number}.01"})
        call = Call(
            number.to_bytes(16, "big"), "pay", body, outcome="success", session_id="s", occurred_at_micros=at
        )
        pact.observe(call, state)
    started = time.perf_counter()
    for _ in range(200):
        state.dump()
    return (time.perf_counter() - started) / 200 * 1e6


if __name__ == "__main__":
    main()
