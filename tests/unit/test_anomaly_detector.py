"""The search for anomalies on a made-up agent: what is found, what is said of it, what is learned from it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from evaluator_worker.anomaly import features
from evaluator_worker.anomaly.found import AGENT_CHANGED, CLOSED, DRIFT, OPEN
from evaluator_worker.anomaly.state import State
from tests.anomaly_tools import FIRST, WARM, feed, fleet, slower, warm
from tests.behaviour_tools import tenant

SUDDEN = 30


@pytest.fixture
def state() -> State:
    return State.decode(warm())


def test_nothing_is_found_where_nothing_happens(state: State) -> None:
    assert feed(state, fleet(WARM, 120)) == []


def test_a_drift_is_found_in_its_tenant_with_its_own_figures(state: State) -> None:
    (found,) = feed(state, fleet(WARM, SUDDEN, change=slower(1.25, {2})))
    assert (found.tenant_id, found.kind, found.status, found.version) == (tenant(2), DRIFT, OPEN, 1)
    assert abs(found.since - (FIRST + WARM)) <= 10
    assert FIRST + WARM + 10 <= found.minute < FIRST + WARM + SUDDEN
    (moved,) = found.features
    assert (moved.feature, moved.direction) == ("latency", "up")
    assert moved.usual == pytest.approx(200, rel=0.05)
    assert moved.observed == pytest.approx(250, rel=0.08)
    assert moved.effect > 1


def test_another_mix_of_tools_is_found(state: State) -> None:
    def other_mix(minute: int, who: int, window: dict[str, Any]) -> None:
        if who == 3:
            tools = window["calls_by_tool"]
            moved = tools["pay"] // 3
            tools["pay"], tools["look"] = tools["pay"] - moved, tools["look"] + moved

    (found,) = feed(state, fleet(WARM, SUDDEN, change=other_mix))
    assert found.tenant_id == tenant(3)
    said = {(one.feature, one.direction) for one in found.features}
    assert said & {("tool_share:pay", "down"), ("tool_share:look", "up")}


def test_a_change_in_all_tenants_is_one_change_of_the_agent(state: State) -> None:
    def another_model(minute: int, who: int, window: dict[str, Any]) -> None:
        slower(1.25, {1, 2, 3, 4})(minute, who, window)
        window["model_version"] = "m-2"

    found = feed(state, fleet(WARM, 240, change=another_model))
    assert {one.kind for one in found} == {AGENT_CHANGED}
    assert len({one.anomaly_id for one in found}) == 1
    opened = [one for one in found if one.status == OPEN]
    assert {one.tenant_id for one in opened} >= {tenant(1), tenant(2), tenant(3)}
    assert {one.attribution["model_version"] for one in opened} == {"m-2"}
    assert len(found) == 2 * len(opened)  # each is closed when the new level is known


def test_tenants_keep_their_own_versions_to_themselves(state: State) -> None:
    def another_model(minute: int, who: int, window: dict[str, Any]) -> None:
        slower(1.25, {1, 2, 3, 4})(minute, who, window)
        if who == 1:
            window["model_version"] = "secret-of-one"

    found = feed(state, fleet(WARM, SUDDEN, change=another_model))
    others = [one for one in found if one.tenant_id != tenant(1)]
    assert others
    assert "secret-of-one" not in repr(others)


def test_flagged_windows_stay_out_of_the_baseline_and_the_end_is_told(state: State) -> None:
    drift = slower(1.5, {2})
    (found,) = feed(state, fleet(WARM, SUDDEN, change=drift))
    assert feed(state, fleet(WARM + SUDDEN, 200, change=drift)) == []
    latency = features.NAMES.index("latency")
    learned = state.sums.moment[1, latency, 0] / state.sums.windows[1, latency]
    assert np.exp(learned) == pytest.approx(200, rel=0.05)
    assert state.sums.windows[1, latency] < state.sums.windows[0, latency]
    (closed,) = feed(state, fleet(WARM + SUDDEN + 200, 120))
    assert (closed.anomaly_id, closed.status, closed.version) == (found.anomaly_id, CLOSED, 2)


def test_two_tenants_cannot_be_told_from_their_agent(state: State) -> None:
    state.sums.judged[2:] = 0  # the others are too new to be compared with
    found = feed(state, fleet(WARM, SUDDEN, change=slower(1.5, {2})))
    assert [one for one in found if one.kind == DRIFT] == []


def test_a_new_tenant_is_not_judged_before_it_has_a_past(state: State) -> None:
    assert feed(state, fleet(WARM, 60, tenants=5, change=slower(3, {5}))) == []


def test_what_rests_on_few_calls_is_not_known() -> None:
    (_, windows) = next(fleet(0, 1))
    window = windows[tenant(1)] | {"tool_calls": 4, "bound_calls": 0, "latency_count": 4}
    known = ~np.isnan(features.row(window, ["pay"]))
    assert known.tolist() == [True] + [False] * (features.COUNT - 1)


def test_values_are_shown_in_their_own_units() -> None:
    (_, windows) = next(fleet(0, 1))
    window = windows[tenant(2)]
    values = features.row(window, ["pay", "look"])
    shown = dict(zip(features.names(["pay", "look"]), values, strict=True))
    assert features.readable("call_rate", shown["call_rate"]) == pytest.approx(window["tool_calls"])
    share = window["calls_by_tool"]["pay"] / window["tool_calls"]
    assert features.readable("tool_share:pay", shown["tool_share:pay"]) == pytest.approx(share, abs=0.02)
    assert 100 < features.readable("latency", shown["latency"]) < 400
