"""What benches share: timing in turns, and lines that `python -m tests.bench` gathers into one table."""

from __future__ import annotations

import timeit
from collections.abc import Callable, Mapping
from typing import Any, Final

MARK: Final = "» "
"""Begins a line for the table at the end."""

_ROUNDS: Final = 120


def race(runs: Mapping[str, Callable[[], Any]], calls: int = 1_000, rounds: int = _ROUNDS) -> dict[str, float]:
    """Microseconds a call of each, all in turns, the best of many short rounds.

    Other work on the machine only ever adds time, and in turns it adds to all alike: the ratio of two figures
    of one run says more than either.
    """
    best = dict.fromkeys(runs, float("inf"))
    timers = {name: timeit.Timer(run) for name, run in runs.items()}
    for _ in range(rounds):
        for name, timer in timers.items():
            best[name] = min(best[name], timer.timeit(calls) / calls * 1e6)
    return best


def report(name: str, figure: str, peer: str = "", ratio: float | None = None, target: str = "") -> None:
    """Print one figure: ours, the peer's, how many times as good ours is, and what was aimed at."""
    shown = "" if ratio is None else f"{ratio:.2f} ×"
    print(MARK + " | ".join((name, figure, peer, shown, target)), flush=True)
