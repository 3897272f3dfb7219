"""Windows of behaviour: what is counted, when they are written, late events, replay, restoring."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator_worker.behaviour.task import LATENESS_MICROS, BehaviourTask
from evaluator_worker.behaviour.window import opened
from pactstream import avro
from pactstream.errors import InvalidInput
from pactstream.kafka import topics
from pactstream.kafka.records import Headers, Record
from tests.behaviour_tools import AGENT, MINUTE, START, batch, event, tenant

SECOND = MINUTE // 60


class Log:
    """What a task wrote: windows in order, and the changelog compacted."""

    def __init__(self) -> None:
        self.windows: list[dict[str, Any]] = []
        self.values: list[bytes] = []
        self.state: dict[bytes, bytes] = {}

    def __call__(
        self,
        topic: str,
        key: bytes,
        value: bytes | None,
        *,
        partition: int | None = None,
        headers: Headers = (),
    ) -> None:
        if topic == topics.WINDOWS:
            assert key == AGENT.encode()
            assert value is not None
            self.windows.append(avro.decode_as("BehaviourWindow", value))
            self.values.append(value)
        elif value is None:
            self.state.pop(key, None)
        else:
            self.state[key] = value


def run(records: Iterable[Record], log: Log | None = None, *, every: int = 1) -> Log:
    """Process records with a flush every so many; a new task, restored, after each flush."""
    log = log or Log()
    task = restored(log)
    for n, record in enumerate(records, 1):
        task.process(record, log)
        if n % every == 0:
            task.flush(log)
            task = restored(log)
    task.flush(log)
    return log


def restored(log: Log) -> BehaviourTask:
    task = BehaviourTask(0)
    for key, value in log.state.items():
        task.restore(key, value)
    return task


def closing(minutes: int = 2, agent: str = AGENT) -> Record:
    """A batch that arrives so much later, without a call."""
    at = START + minutes * MINUTE
    return batch([event("session_end", at=at)], received=at, who=tenant(9), agent=agent)


def test_a_window_has_what_its_minute_held() -> None:
    broken = {"bound": True, "valid": False, "violations": []}
    opened_values = {
        "params.amount": 250,
        "params.to": "0xA11A",
        "metadata.model_version": "m-2",
        "metadata.prompt_version": 7,
    }
    day = [
        event("session_start"),
        event(opened=opened_values, verdict=broken),
        event(tool="look", outcome="error", latencyMs=30),
        event("response"),
        event("tool_call.violation", verdict=broken),
    ]
    log = run([batch(day, received=START + SECOND), closing()])
    (window,) = log.windows
    assert (window["agent_id"], window["tenant_id"], window["minute_micros"]) == (AGENT, tenant(1), START)
    counted = ("tool_calls", "errors", "bound_calls", "invalid_calls", "responses", "sessions", "revision")
    assert [window[name] for name in counted] == [2, 1, 1, 1, 1, 1, 1]
    assert window["calls_by_tool"] == {"pay": 1, "look": 1}
    assert (window["latency_sum_ms"], window["latency_count"]) == (40, 2)
    assert opened(window["latency_sketch"]).get_max_value() == 30
    assert opened(window["argument_sketch"]).get_max_value() == len('250"0xA11A"')
    assert (window["model_version"], window["prompt_version"]) == ("m-2", "")


def test_tools_beyond_the_first_are_counted_together() -> None:
    calls = [event(tool=f"tool-{n}") for n in range(40)]
    (window,) = run([batch(calls, received=START), closing()]).windows
    assert (len(window["calls_by_tool"]), window["other_calls"], window["tool_calls"]) == (32, 8, 40)


def test_a_window_stays_small() -> None:
    calls = [event(latencyMs=n % 977, opened={"params.x": "y" * (n % 97)}) for n in range(5_000)]
    log = run([batch(calls, received=START), closing()])
    assert len(log.values[0]) < 2_500


def test_nothing_is_written_before_the_minute_is_over() -> None:
    early = batch([event()], received=START + SECOND)
    assert run([early, batch([event()], received=START + MINUTE + 9 * SECOND)]).windows == []
    assert len(run([early, batch([event()], received=START + MINUTE + 10 * SECOND)]).windows) == 1


def test_a_late_event_writes_the_window_again() -> None:
    late = batch([event(), event()], received=START + 3 * MINUTE)
    log = run([batch([event()], received=START), closing(), late])
    assert [(one["minute_micros"], one["tool_calls"], one["revision"]) for one in log.windows[:2]] == [
        (START, 1, 1),
        (START, 3, 2),
    ]


@pytest.mark.parametrize("said", [0, START - LATENESS_MICROS - 5 * MINUTE, START + 500 * MINUTE])
def test_no_event_reaches_far_into_the_past_or_the_future(said: int) -> None:
    log = run([batch([event(at=said)], received=START), closing(20)])
    (window,) = (one for one in log.windows if one["tool_calls"])
    assert START - LATENESS_MICROS <= window["minute_micros"] <= START


def test_what_no_event_can_reach_is_forgotten() -> None:
    log = run([batch([event()], received=START), closing(30), closing(60)])
    minutes = {key.decode().rpartition("/")[2] for key in log.state if b"/" in key}
    assert minutes == {str(START + 60 * MINUTE)}


def test_tenants_have_windows_of_their_own() -> None:
    log = run([batch([event()], received=START, who=tenant(n)) for n in (1, 2)] + [closing()])
    assert [(one["tenant_id"], one["tool_calls"]) for one in log.windows] == [(tenant(1), 1), (tenant(2), 1)]


def test_another_agents_key_is_a_dead_letter() -> None:
    record = batch([event()], received=START)
    moved = Record(record.topic, 0, 0, b"other", record.value)
    with pytest.raises(InvalidInput, match="key"):
        BehaviourTask(0).process(moved, Log())


def test_an_event_that_is_no_leaf_changes_nothing() -> None:
    task, log = BehaviourTask(0), Log()
    bad = batch([event(), ({"type": "tool_call"}, None)], received=START)
    with pytest.raises(InvalidInput, match="leaf"):
        task.process(bad, log)
    task.flush(log)
    assert log.state == {}


_events = st.tuples(st.integers(0, 15 * 60), st.integers(-13 * 60, 60), st.integers(1, 3))


@given(st.lists(_events, min_size=1, max_size=25), st.integers(1, 9))
def test_a_replay_with_other_transactions_writes_the_same(sent: list[tuple[int, int, int]], every: int) -> None:
    records = [
        batch(
            [event(at=START + (arrived + shift) * SECOND, latencyMs=shift % 50)],
            received=START + arrived * SECOND,
            who=tenant(who),
        )
        for arrived, shift, who in sent
    ]
    once, again = run([*records, closing(60)], every=10_000), run([*records, closing(60)], every=every)
    assert once.values == again.values
    newest = {(one["tenant_id"], one["minute_micros"]): one["tool_calls"] for one in once.windows}
    assert sum(newest.values()) == len(sent)
