"""Drift of one agent in one tenant: recall at a budget of false alarms, delay, and the curve, against peers.

    .venv-bench/bin/python -m tests.bench.bench_anomaly

Levels are set on one set of seeds; false alarms and recall are measured on others. A budget of 0.1 is one false
alarm for each agent in ten months. Runs in the peers' environment: ADWIN is river's.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from math import comb, sqrt
from statistics import NormalDist
from typing import Any, Final

import numpy as np
from river.drift import ADWIN

from evaluator_worker.anomaly import evidence
from evaluator_worker.anomaly.baseline import DAY_MINUTES
from tests.bench.anomaly_sim import FEATURES, Fleet, Floats, Shift
from tests.bench.anomaly_watch import BLOCK, Hour, Watch, level_for, peaks
from tests.bench.figures import report

TUNE, CHECK, TRY, POISON = 11, 12, 13, 14
AGENTS, DAYS = 24, 12
TRIED_AGENTS, TRIALS = 60, 3
WORKERS: Final = 3
BUDGET: Final = 0.1
BUDGETS: Final = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
WITHIN: Final = 30
LOOK: Final = 180
METHODS: Final = {"ours": 3.0, "mean": 3.5, "single": 4.0, "cusum": 8.0}
"""And where peaks begin to be counted."""
SAID: Final = {
    "ours": "e-detector, own past and others",
    "mean": "z-score of 30 windows",
    "single": "z-score of one window",
    "cusum": "CUSUM told the size",
    "adwin": "ADWIN of each feature",
}
SHIFTS: Final = {
    "0.5 sd, three features": (0.5, 3, 0),
    "1 sd, one feature": (1.0, 1, 0),
    "1 sd, two features": (1.0, 2, 0),
    "1 sd, three features": (1.0, 3, 0),
    "1 sd, four features": (1.0, 4, 0),
    "1.5 sd, one feature": (1.5, 1, 0),
    "2 sd, one feature": (2.0, 1, 0),
    "1 sd, three features, over 2 h": (1.0, 3, 120),
}
ADWIN_DELTAS: Final = (1e-3, 1e-5, 1e-7, 1e-10)
ADWIN_AGENTS, ADWIN_DAYS = 2, 2


def quiet(seed: int) -> tuple[dict[str, Floats], float]:
    """Peaks of each method where nothing happens but rhythm, bursts and noise; and agent-months."""
    watch = Watch(Fleet(seed, AGENTS)).warm_up()
    hours = [strip(watch.hour()) for _ in range(DAYS * DAY_MINUTES // BLOCK)]
    found = {
        name: peaks(np.concatenate([one[name] for one in hours]), floor) for name, floor in METHODS.items()
    }
    return found, AGENTS * DAYS / 30


def strip(hour: Hour) -> dict[str, Floats]:
    """What is kept of an hour, small."""
    return {name: getattr(hour, name).astype(np.float32) for name in METHODS}


def trials(
    watch: Watch, shift: Callable[[int], Shift], seed: int
) -> Iterable[tuple[dict[str, Floats], Floats, int]]:
    """What is said after a shift, all from one past: by method (minute, agent, tenant), and deviations."""
    for n in range(TRIALS):
        there = copy.deepcopy(watch)
        there.fleet.random = np.random.default_rng((seed, n))
        begins = there.minute + 11 * n + 5
        there.fleet.change(shift(begins))
        hours = [there.hour() for _ in range((LOOK + 60) // BLOCK)]
        at = begins - watch.minute
        said = {name: np.concatenate([getattr(one, name) for one in hours])[at:] for name in METHODS}
        yield said, np.concatenate([one.plain[:, :, 0] for one in hours]), at


def delays(said: Floats, level: float) -> Floats:
    """Windows until the level is passed in the first tenant of each agent; infinite for never."""
    over = said[:LOOK, :, 0] > level
    return np.where(over.any(0), over.argmax(0) + 1.0, np.inf)


def adwin_alarms(plain: Floats, delta: float) -> Floats:
    """The minutes at which ADWIN of any feature (minute, feature) of one tenant finds a change."""
    found = np.zeros(len(plain), bool)
    for column in plain.T:
        one = ADWIN(delta=delta, clock=4)
        for n, value in enumerate(column):
            one.update(float(value))
            found[n] |= one.drift_detected
    return np.flatnonzero(found)


def adwin_delta() -> tuple[float, list[float]]:
    """The delta for the budget, by a line through the rates of false alarms that can be measured.

    Where they are too few for a line, the largest delta, to its favour.
    """
    watch = Watch(Fleet(TUNE, ADWIN_AGENTS)).warm_up()
    plain = np.concatenate([watch.hour(weigh=False).plain for _ in range(ADWIN_DAYS * DAY_MINUTES // BLOCK)])
    months = ADWIN_AGENTS * ADWIN_DAYS / 30
    rates = []
    for delta in ADWIN_DELTAS:
        alarms = [adwin_alarms(plain[:, a, k], delta) for a in range(ADWIN_AGENTS) for k in range(6)]
        rates.append(sum(1 + int((np.diff(one) > 60).sum()) for one in alarms if len(one)) / months)
    seen = [(np.log(d), np.log(rate)) for d, rate in zip(ADWIN_DELTAS, rates, strict=True) if rate > 0]
    if len(seen) < 2:
        return ADWIN_DELTAS[0], rates
    slope, at_zero = np.polyfit(np.array(seen)[:, 0], np.array(seen)[:, 1], 1)
    return float(np.exp(min(np.log(ADWIN_DELTAS[0]), (np.log(BUDGET) - at_zero) / max(slope, 1e-3)))), rates


def adwin_recall(past: Floats, found: Sequence[tuple[Floats, int]], delta: float) -> float:
    """The share of shifts that ADWIN finds in time; `past` (minute, agent, feature) comes before each."""
    hits = []
    for plain, at in found:
        for agent in range(0, plain.shape[1], 8):
            stream = np.concatenate([past[:, agent], plain[: at + WITHIN, agent]])
            alarms = adwin_alarms(stream, delta)
            hits.append(bool((alarms >= len(past) + at).any()))
    return float(np.mean(hits))


def bound(size: float, moved: int, tenants: int = 6) -> float:
    """What no detector within the budget exceeds where scores are normal, by the lemma of Neyman and Pearson.

    It knows the past, the size and number of what moves, and when it would begin; not which features, nor which
    way. In `WITHIN` windows without a change it may speak so often; each way of moving has an equal part.
    Features that are skewed or lumped, as the fleets' are, can carry more than normal ones.
    """
    ways = comb(FEATURES, moved) * 2**moved
    often = BUDGET * WITHIN / (30 * DAY_MINUTES * tenants * ways)
    return NormalDist().cdf(size * sqrt(WITHIN * moved) + NormalDist().inv_cdf(often))


def interval(share: float, count: int) -> str:
    """Wilson's interval of a share of `count`, at 95 %."""
    z = 1.96
    middle, half = share + z * z / (2 * count), z * sqrt(share * (1 - share) / count + (z / count) ** 2 / 4)
    low, high = ((middle + sign * half) / (1 + z * z / count) for sign in (-1, 1))
    return f"[{low:.2f}, {high:.2f}]"


def warm(seed: int, poisoned: float = 0.0) -> Watch:
    """A fleet with a past."""
    return Watch(Fleet(seed, TRIED_AGENTS, poisoned=poisoned)).warm_up()


def tried(watch: Watch, past: Floats, delta: float, title: str) -> tuple[str, list[dict[str, Floats]], float]:
    """One kind of shift: what our methods say after each, and the recall of ADWIN."""
    size, moved, ramp = SHIFTS[title]
    run = list(trials(watch, partial(Shift, size=size, moved=moved, ramp_minutes=ramp), TRY))
    adwin = adwin_recall(past, [(plain, at) for _, plain, at in run], delta)
    return title, [{name: one[:, :, :1] for name, one in said.items()} for said, *_ in run], adwin


def main() -> None:
    """Print every figure."""
    with ProcessPoolExecutor(WORKERS) as pool:
        watch_to_be, poisoned_to_be = pool.submit(warm, TRY), pool.submit(warm, POISON, 6.0)
        first, second = pool.map(quiet, (TUNE, CHECK))
        adwin_to_be = pool.submit(adwin_delta)
        (tuned, months), (checked, _) = first, second
        levels = {
            name: {one: level_for(found, months, one) for one in BUDGETS} for name, found in tuned.items()
        }
        default = float(np.log(evidence.threshold(6, 3)))
        print(f"levels from {months:.1f} agent-months; that of the default setting is {default:.1f}")
        for name in METHODS:
            level = levels[name][BUDGET]
            alarms = (checked[name] > level).sum() / months
            print(f"  {SAID[name]:34} level {level:6.2f}   false alarms on other seeds {alarms:.2f}")
        for name, found in (("tuning", tuned), ("other", checked)):
            print(f"  ours at the default level, {name} seeds: {(found['ours'] > default).sum() / months:.2f}")
        watch = watch_to_be.result()
        before = copy.deepcopy(watch)
        past = np.concatenate([before.hour(weigh=False).plain[:, :, 0] for _ in range(24)])
        delta, rates = adwin_to_be.result()
        shown = ", ".join(f"{d:.0e}: {rate:.1f}" for d, rate in zip(ADWIN_DELTAS, rates, strict=True))
        print(f"ADWIN's false alarms by delta {shown}; used {delta:.0e}", flush=True)
        for title, run, adwin in pool.map(partial(tried, watch, past, delta), SHIFTS):
            show(title, run, levels, adwin, default)
        others(watch, poisoned_to_be.result(), levels)


def show(title: str, run: Sequence[dict[str, Floats]], levels: Any, adwin: float, default: float) -> None:
    """One kind of shift: recall in time, median delay, the curve of ours and of a peer."""
    found = {name: np.concatenate([delays(one[name], levels[name][BUDGET]) for one in run]) for name in METHODS}
    recall = {name: float((one <= WITHIN).mean()) for name, one in found.items()} | {"adwin": adwin}
    shifts = len(found["ours"])
    print(f"\n{title}: recall within {WITHIN} windows [95 %] (median delay), {shifts} shifts")
    for name, share in recall.items():
        late = f"  {interval(share, shifts)} ({np.median(found[name]):.0f})" if name in found else ""
        print(f"  {SAID[name]:34} {share:.3f}{late}")
    size, moved, ramp = SHIFTS[title]
    if not ramp:
        print(f"  {'any, if scores were normal: at most':34} {bound(size, moved):.3f}")
    ours = np.concatenate([delays(one["ours"], default) for one in run])
    share = float((ours <= WITHIN).mean())
    print(f"  {'ours at the default level':34} {share:.3f}  {interval(share, shifts)} ({np.median(ours):.0f})")
    for name in ("ours", "mean"):
        curve = {
            budget: np.concatenate([delays(one[name], levels[name][budget]) for one in run]) <= WITHIN
            for budget in BUDGETS
        }
        print(
            f"  curve of {name:5} " + "  ".join(f"{budget}: {one.mean():.3f}" for budget, one in curve.items())
        )
    best = max(recall[name] for name in ("mean", "single", "adwin"))
    misses = (1 - best) / max(1 - recall["ours"], 1e-3)
    report(f"drift, {title}: recall", f"{recall['ours']:.3f}", f"{best:.3f}", misses, "> 0.95, misses ÷ 2")


def others(watch: Watch, poisoned: Watch, levels: Any) -> None:
    """Roll-outs in all tenants, which are no drifts; and drifts beside a tenant that poisons."""
    every = [said for said, *_ in trials(watch, partial(Shift, size=1.5, moved=3, everywhere=True), TRY + 100)]
    print("\nroll-out, 1.5 sd, three features: tenants flagged as drifting, of all")
    for name in METHODS:
        flagged = np.mean([(one[name][:LOOK] > levels[name][BUDGET]).any(0).mean() for one in every])
        print(f"  {SAID[name]:34} {flagged:.3f}")
    level = levels["ours"][BUDGET]
    run = [said["ours"] for said, *_ in trials(poisoned, partial(Shift, size=1.0, moved=3), POISON)]
    share = np.mean([(delays(one, level) <= WITHIN).mean() for one in run])
    bystanders = np.mean([(one[:LOOK, :, 1:-1] > level).any(0).mean() for one in run])
    print(f"beside a tenant that swings by 6 sd: recall {share:.3f}; other tenants flagged {bystanders:.4f}")


if __name__ == "__main__":
    main()
