"""A window of behaviour as a row of values, each on a scale on which noise is much the same at any level.

| feature | value | scale |
|---|---|---|
| call_rate | tool calls a minute | logarithm of 1 + |
| error_rate | share of calls that failed | Anscombe's arc sine |
| violation_rate | share of bound calls that broke their pact | the same |
| latency, latency_spread | median, ms; 95th percentile by median | logarithm |
| argument_size | median, bytes | logarithm of 1 + |
| response_ratio | responses by tool calls | logarithm |
| tool_share:… | share of calls, of four tools and of the rest | the same |

A value that rests on fewer than `LEAST_CALLS` calls is not known, save the call rate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import asin, exp, expm1, log, log1p, nan, pi, sin, sqrt
from typing import Any, Final

import numpy as np

from evaluator_worker.anomaly.normal import Floats
from evaluator_worker.behaviour.window import opened

TOOLS: Final = 4
LEAST_CALLS: Final = 5
OTHER_TOOLS: Final = "tool_share (others)"
NAMES: Final = (
    "call_rate",
    "error_rate",
    "violation_rate",
    "latency",
    "latency_spread",
    "argument_size",
    "response_ratio",
)
COUNT: Final = len(NAMES) + TOOLS + 1
LIMITS: Final = np.array([0.75] + [2.0] * (COUNT - 1))
"""Of scores, see `normal.limited`: calls come in bursts."""

_RATIOS: Final = frozenset({"latency_spread", "response_ratio", "latency"})
_COUNTS: Final = frozenset({"call_rate", "argument_size"})


def names(tools: Sequence[str]) -> list[str]:
    """The features of an agent whose four tools these are; they may be fewer."""
    shares = [f"tool_share:{tool}" for tool in tools] + [""] * (TOOLS - len(tools))
    return [*NAMES, *shares, OTHER_TOOLS]


def row(window: Mapping[str, Any], tools: Sequence[str] | None) -> Floats:
    """The values of a `BehaviourWindow`; NaN where not known. `tools` is None while they are not chosen."""
    calls, bound = window["tool_calls"], window["bound_calls"]
    latency, size = opened(window["latency_sketch"]), opened(window["argument_sketch"])
    values = [log1p(calls), _share(window["errors"], calls), _share(window["invalid_calls"], bound)]
    if window["latency_count"] >= LEAST_CALLS:
        middle = max(latency.get_quantile(0.5), 0.1)
        values += [log(middle), log(max(latency.get_quantile(0.95), middle) / middle)]
    else:
        values += [nan, nan]
    enough = calls >= LEAST_CALLS
    values.append(log1p(max(size.get_quantile(0.5), 0)) if enough and not size.is_empty() else nan)
    values.append(log((window["responses"] + 0.5) / (calls + 0.5)) if enough else nan)
    return np.array(values + _tool_shares(window["calls_by_tool"], calls, tools))


def _tool_shares(by_tool: Mapping[str, int], calls: int, tools: Sequence[str] | None) -> list[float]:
    if tools is None:
        return [nan] * (TOOLS + 1)
    used = [by_tool.get(tool, 0) for tool in tools]
    shares = [_share(count, calls) for count in used]
    return shares + [nan] * (TOOLS - len(tools)) + [_share(calls - sum(used), calls)]


def readable(name: str, value: float) -> float:
    """A value of a feature in its own unit: calls a minute, a share, milliseconds, bytes, a ratio."""
    if name in _RATIOS:
        return exp(value)
    if name in _COUNTS:
        return expm1(value)
    return sin(min(max(value, 0), pi / 2)) ** 2


def _share(part: int, whole: int) -> float:
    """Anscombe's transform of a binomial share: its noise hardly depends on the share."""
    return asin(sqrt((part + 0.375) / (whole + 0.75))) if whole >= LEAST_CALLS else nan
