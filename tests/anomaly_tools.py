"""A made-up agent in windows of behaviour, for tests of the search for anomalies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, Final

import numpy as np
from datasketches import tdigest_double

from evaluator_worker.anomaly.detector import take
from evaluator_worker.anomaly.found import Found
from evaluator_worker.anomaly.state import State
from pactstream import avro
from tests.behaviour_tools import AGENT, MINUTE, START, tenant

FIRST: Final = START // MINUTE // 60 * 60
LEVEL: Final = 3.0
WARM: Final = 2 * 1_440 + 60
"""After so many minutes everything is known that can be."""

Change = Callable[[int, int, dict[str, Any]], None]
"""Changes a window of a minute (from the first) and a tenant, in place."""


def digest(values: Any) -> bytes:
    sketch = tdigest_double(50)
    for value in values:
        sketch.update(float(value))
    return bytes(sketch.serialize())


def fleet(
    first: int, minutes: int, tenants: int = 4, change: Change | None = None, seed: int = 7
) -> Iterator[tuple[int, dict[str, dict[str, Any]]]]:
    """Minutes since 1970 and their windows. A minute's windows depend on seed, minute and tenant only."""
    for n in range(first, first + minutes):
        windows = {}
        for who in range(1, tenants + 1):
            window = made_up(n, who, np.random.default_rng((seed, n, who)))
            if change is not None:
                change(n, who, window)
            windows[tenant(who)] = window
        yield FIRST + n, windows


def made_up(minute: int, who: int, random: np.random.Generator) -> dict[str, Any]:
    busy = 1 + 0.3 * np.sin(2 * np.pi * (FIRST + minute) / 1_440)
    calls = 12 + int(random.poisson((10 + 3 * who) * busy))
    pay, look = (int(part) for part in random.multinomial(calls, [0.5, 0.3, 0.2])[:2])
    slow = np.exp(random.normal(0, 0.1))
    return {
        "agent_id": AGENT,
        "tenant_id": tenant(who),
        "minute_micros": (FIRST + minute) * MINUTE,
        "tool_calls": calls,
        "errors": int(random.binomial(calls, 0.1)),
        "bound_calls": calls,
        "invalid_calls": int(random.binomial(calls, 0.05)),
        "latency_sum_ms": 0.0,
        "latency_count": calls,
        "calls_by_tool": {"pay": pay, "look": look, "note": calls - pay - look},
        "other_calls": 0,
        "responses": int(random.poisson(5)),
        "sessions": 1,
        "latency_sketch": digest(100 * who * slow * np.exp(random.normal(0, 0.3, 9))),
        "argument_sketch": digest(200 * np.exp(random.normal(0, 0.3, 9))),
        "model_version": "m-1",
        "prompt_version": "",
        "revision": 1,
    }


def slower(by: float, who: set[int], since: int = WARM) -> Change:
    """Latency of some tenants times so much, from a minute on."""

    def change(minute: int, tenant_number: int, window: dict[str, Any]) -> None:
        if minute >= since and tenant_number in who:
            old = tdigest_double.deserialize(window["latency_sketch"])
            window["latency_sketch"] = digest([by * old.get_quantile(q / 8) for q in range(9)])

    return change


def feed(state: State, minutes: Iterator[tuple[int, dict[str, dict[str, Any]]]]) -> list[Found]:
    found = []
    for minute, windows in minutes:
        found += take(state, AGENT, minute, windows, LEVEL)
    return found


@cache
def warm() -> bytes:
    """A detector's memory after `WARM` minutes in which nothing happened."""
    state = State()
    assert feed(state, fleet(0, WARM)) == []
    return state.encode()


def warm_state() -> bytes:
    """The same as it stands in the changelog."""
    begun = (FIRST + WARM) * MINUTE
    return avro.encode("AnomalyState", {"taken_micros": begun, "waiting": [], "detector": warm()})
