"""However little memory agents have, wherever state lives, whenever a worker dies: the same verdicts."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from evaluator_worker.agents import Memory
from evaluator_worker.task import EvaluatorTask
from pactstream import avro
from pactstream.kafka.disk_store import Origin, Shared, open_store
from pactstream.kafka.records import Record
from pactstream.kafka.state_store import MemoryStore, StateStore
from tests.evaluator_tools import HOUR, Pacts, Written, call, record
from tests.pact_calls import document, escalate, sequence, window

PACTS = Pacts(
    document(
        window("critical", tools=["transfer_funds"], limit=100, per="session"),
        window(tools=["transfer_funds"], limit=250),
        sequence("minor", requires={"tool": "transfer_funds", "after": "verify"}),
        escalate(**{"from": "minor", "times": 2, "within": 60}),
    )
)
SHARED = Shared.new()
AGENTS = [str(uuid.UUID(int=number, version=4)) for number in range(4)]
START = 1_700_000_000_000_000

steps = st.lists(
    st.one_of(
        st.tuples(
            st.just("batch"),
            st.integers(0, len(AGENTS) - 1),
            st.lists(st.tuples(st.integers(0, 40), st.sampled_from(["a", "b"])), min_size=1, max_size=4),
            st.sampled_from([0, 1_000_000, HOUR // 2, 9 * HOUR, 30 * HOUR]),
        ),
        st.sampled_from([("commit",), ("again",), ("commit, and die before the store is written",)]),
    ),
    max_size=25,
)


class Run:
    """A worker on one partition, and the Kafka that it would write to."""

    def __init__(self, memory: Memory, open_: Callable[[], StateStore]) -> None:
        self._memory = memory
        self._open = open_
        self.log: list[tuple[bytes, bytes | None]] = []
        self.judged: list[tuple[Any, ...]] = []
        self._begin()

    def _begin(self) -> None:
        store = self._open()
        self._task = EvaluatorTask(3, PACTS, self._memory, store)
        self._written = Written()
        for key, value in self.log[self._task.position :]:
            self._task.restore(key, value)
        self._task.checkpoint(len(self.log))
        self._open_batches: list[Record] = []

    def batch(self, one: Record) -> None:
        self._open_batches.append(one)
        self._task.process(one, self._written)

    def commit(self, *, store_too: bool = True) -> None:
        self._task.flush(self._written)
        self.log += self._written.of("evaluator.state")
        # Not the whole leaf: commitments are salted.
        self.judged += [
            (leaf.agent_id, leaf.sequence, leaf.event_id, leaf.type, leaf.verdict)
            for leaf in self._written.leaves()
        ]
        self._written, self._open_batches = Written(), []
        if store_too:
            self._task.checkpoint(len(self.log))
        else:
            self.again()

    def again(self) -> None:
        """The worker ends here and another begins: what was not committed is processed again."""
        batches = self._open_batches
        self._task.close()
        self._begin()
        for one in batches:
            self.batch(one)

    def close(self) -> None:
        self._task.close()


def outcome(run: Run, some: list[Any], *, disturbed: bool) -> list[tuple[Any, ...]]:
    now = START
    for offset, step in enumerate(some):
        if step[0] == "batch":
            now += step[3]
            run.batch(_batch(step[1], step[2], now, offset))
        elif step[0] == "again":
            if disturbed:
                run.again()
        else:
            run.commit(store_too=step[0] == "commit" or not disturbed)
    run.commit()
    run.close()
    return run.judged


def _batch(agent: int, calls: list[tuple[int, str]], now: int, offset: int) -> Record:
    """Some numbers come again: the event ids do too."""
    made = [
        call(
            number,
            event_id=str(uuid.UUID(int=(agent << 64) + number, version=4)),
            session_id=session,
            tool="verify" if number % 7 == 0 else "transfer_funds",
        )
        for number, session in calls
    ]
    return _record(AGENTS[agent], made, now, offset)


def _record(agent_id: str, events: list[dict[str, Any]], now: int, offset: int) -> Record:
    moved = [event | {"occurred_at_micros": now} for event in events]
    one = record(*moved, received=now, offset=offset, key=agent_id)
    batch = avro.decode_as("TelemetryBatch", one.value) | {"agent_id": agent_id}
    return Record(one.topic, one.partition, offset, agent_id.encode(), avro.encode("TelemetryBatch", batch))


@settings(max_examples=40)
@given(steps, st.sampled_from([0, 5_000]))
def test_where_state_lives_makes_no_difference(some: list[Any], hot_bytes: int) -> None:
    whole, small = Memory(events=12, hours=24), Memory(events=12, hours=24, hot_bytes=hot_bytes)
    expected = outcome(Run(whole, MemoryStore), some, disturbed=False)
    assert outcome(Run(small, MemoryStore), some, disturbed=True) == expected
    with TemporaryDirectory() as directory:
        where = Path(directory) / "3"
        on_disk = Run(small, lambda: open_store(where, Origin("c", "t", "i", 3), SHARED, lambda _: None))
        assert outcome(on_disk, some, disturbed=True) == expected
