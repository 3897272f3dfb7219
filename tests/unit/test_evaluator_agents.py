"""Agents in and out of memory: what is read, what is let go of, what idle ones need no more."""

from __future__ import annotations

import pytest

from evaluator_worker.agents import Agents, Memory
from evaluator_worker.task import EvaluatorTask
from pactstream import avro, clock
from pactstream.kafka.records import Record
from pactstream.kafka.state_store import MemoryStore
from tests.evaluator_tools import AGENT, HOUR, Pacts, Written, call, record
from tests.pact_calls import document, window

DAYS = Memory(events=10_000, hours=24)
NOW = 1_700_000_000_000_000
OTHER = "00000000-0000-4000-8000-000000000002"


def of_other(received: int, offset: int) -> Record:
    one = record(call(1, pact_id=None, pact_version=None), received=received)
    batch = avro.decode_as("TelemetryBatch", one.value) | {"agent_id": OTHER}
    return Record(one.topic, 3, offset, OTHER.encode(), avro.encode("TelemetryBatch", batch))


def begun(store: MemoryStore, memory: Memory = DAYS) -> EvaluatorTask:
    return EvaluatorTask(3, Pacts(document(window(tools=["transfer_funds"], limit=100))), memory, store)


def commit(task: EvaluatorTask, position: int) -> list[tuple[bytes, bytes | None]]:
    written = Written()
    task.flush(written)
    task.checkpoint(position)
    return written.of("evaluator.state")


@pytest.mark.parametrize("hot_bytes", [0, 64 << 20])
def test_what_an_idle_agent_needs_no_more_is_deleted_and_its_chain_stays(hot_bytes: int) -> None:
    store = MemoryStore()
    task = begun(store, Memory(events=10_000, hours=24, hot_bytes=hot_bytes))
    task.process(record(call(60), received=NOW), Written())
    commit(task, 10)
    assert len(store.of(AGENT.encode())) == 3
    deleted: set[bytes] = set()
    for number, later in enumerate((HOUR, 3 * HOUR, 26 * HOUR), start=1):
        for _ in range(2):  # once round all records, and on
            task.process(of_other(NOW + later, number), Written())
            deleted |= {key for key, value in commit(task, 10 + 10 * number) if value is None}
        if later == HOUR:
            assert not deleted
    assert {key.split(b"/")[1] for key in deleted} == {b"1", b"w"}
    assert list(store.of(AGENT.encode())) == [b""]
    written = Written()
    task.process(record(call(60), received=NOW + 26 * HOUR, offset=99), written)
    (leaf,) = written.leaves()
    assert (leaf.sequence, leaf.verdict is not None and leaf.verdict.valid) == (2, True)


def test_a_gateway_whose_clock_is_ahead_makes_no_one_forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now_micros", lambda: NOW + 1_000)
    store = MemoryStore()
    task = begun(store)
    task.process(record(call(60), received=NOW), Written())
    commit(task, 10)
    for number in range(3):
        task.process(of_other(NOW + 100 * HOUR, number), Written())
        commit(task, 20 + 10 * number)
    assert len(store.of(AGENT.encode())) == 3


def test_the_store_shows_nothing_before_the_commit() -> None:
    store = MemoryStore()
    task = begun(store, Memory(events=10_000, hours=24, hot_bytes=0))
    written = Written()
    task.process(record(call(60), received=NOW), written)
    task.flush(written)
    assert store.of(AGENT.encode()) == {}
    again = Written()
    task.process(record(call(60), received=NOW, offset=1), again)
    assert [leaf.sequence for leaf in again.leaves()] == [2, 3]  # and the crossing
    task.checkpoint(10)
    assert store.position == 10
    assert len(store.of(AGENT.encode())) == 3


def test_memory_is_bounded_by_what_agents_weigh() -> None:
    store = MemoryStore()
    agents = Agents(Memory(events=10_000, hours=24, hot_bytes=100_000), store)
    for number in range(300):
        agent = agents.get(f"agent-{number}")
        agent.extend(type(agent.head)(1, bytes(32)), [number.to_bytes(16, "big")] * 25, NOW)
        agents.changed(f"agent-{number}", agent, NOW, lambda *_: None)
    assert 0 < len(agents._hot) < 100
    agents.flush(NOW, lambda *_: None)
    agents.checkpoint(1_000)
    assert all(agents.get(f"agent-{number}").head.sequence == 1 for number in range(300))


def test_small_batches_of_an_hour_share_a_block() -> None:
    store = MemoryStore()
    task = begun(store)
    for number in range(200):
        task.process(record(call(tool="other"), received=NOW + number, offset=number), Written())
        commit(task, 10 + number * 10)
    names = [name for name in store.of(AGENT.encode()) if name.isdigit()]
    assert sorted(map(int, names)) == [1, 65, 129, 193]
