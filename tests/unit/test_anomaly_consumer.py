"""Faust's consumer as the anomaly app has it: each race that lost records, forced."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import IllegalStateError
from faust.types import TP

from evaluator_worker.anomaly.app import make_app
from evaluator_worker.anomaly.consumer import WholeConsumer
from evaluator_worker.anomaly.settings import AnomalySettings

WINDOWS = TP("x.behaviour.windows", 0)
STATE = TP("x.anomaly.state", 0)


class Thread:
    """In place of Faust's second thread and of the client in it; `meanwhile` happens while it fetches."""

    def __init__(self, records: dict[TP, list[Any]], meanwhile: Callable[[], None]) -> None:
        self._records, self._meanwhile = records, meanwhile
        self.positions: dict[TP, int] = {tp: found[-1].offset + 1 for tp, found in records.items()}
        self.asked: list[set[TP]] = []

    def _ensure_consumer(self) -> Any:
        return self

    async def getmany(self, partitions: set[TP], _timeout: float) -> dict[TP, list[Any]]:
        self.asked.append(partitions)
        self._meanwhile()
        # An empty set means all partitions, as it does to aiokafka.
        return {tp: found for tp, found in self._records.items() if not partitions or tp in partitions}

    async def call_thread(self, function: Callable[..., Awaitable[None]], *arguments: Any) -> None:
        await function(*arguments)

    async def position(self, tp: TP) -> int:
        if tp not in self.positions:
            raise IllegalStateError
        return self.positions[tp]

    def seek(self, tp: TP, offset: int) -> None:
        self.positions[tp] = offset


def records(*offsets: int) -> list[Any]:
    return [SimpleNamespace(offset=offset) for offset in offsets]


def consumer_of(path: Path, thread: Thread | None = None) -> WholeConsumer:
    app = make_app(
        AnomalySettings(kafka_bootstrap="127.0.0.1:1", kafka_topic_prefix="x.", anomaly_data_dir=path)
    )
    consumer: WholeConsumer = app.consumer
    assert type(consumer) is WholeConsumer
    consumer._thread.thread_loop.close()
    if thread is not None:
        consumer._thread = thread  # type: ignore[assignment]
    return consumer


def test_the_other_thread_never_sees_the_set_become_empty(tmp_path: Path) -> None:
    async def fetch() -> tuple[Any, Thread]:
        # Recovery has read the changelog's last record and pauses it: for a moment nothing is active.
        thread = Thread(
            {STATE: records(4), WINDOWS: records(0, 1, 2)}, lambda: consumer.pause_partitions({STATE})
        )
        consumer = consumer_of(tmp_path, thread)
        consumer.resume_partitions({STATE})
        return await consumer._getmany(consumer._active_partitions, 1.0), thread

    found, thread = asyncio.run(fetch())
    assert thread.asked == [{STATE}]
    assert thread.positions[WINDOWS] == 3, "never asked for, so where it was"
    assert found == {}
    assert thread.positions[STATE] == 4, "the record that may not be read now is sought again"


@pytest.mark.parametrize("why", ["rebalance", "paused"])
def test_what_may_not_be_read_any_more_is_asked_for_again(tmp_path: Path, why: str) -> None:
    async def fetch() -> tuple[Any, Thread]:
        def meanwhile() -> None:
            if why == "rebalance":
                consumer.stop_flow()
            else:
                consumer.pause_partitions({WINDOWS})

        thread = Thread({WINDOWS: records(7, 8)}, meanwhile)
        consumer = consumer_of(tmp_path, thread)
        consumer.resume_partitions({WINDOWS})
        consumer.resume_flow()
        return await consumer._getmany(consumer._active_partitions, 1.0), thread

    found, thread = asyncio.run(fetch())
    assert found == {}
    assert thread.positions[WINDOWS] == 7


def test_a_seek_of_a_rebalance_is_left_alone(tmp_path: Path) -> None:
    thread = Thread({}, lambda: None)
    thread.positions = {WINDOWS: 5}
    consumer = asyncio.run(_with(tmp_path, thread, {WINDOWS: 7, STATE: 1}))
    assert thread.positions == {WINDOWS: 5}, "back at the commit already; the changelog is no longer ours"
    assert consumer.flow_active


async def _with(path: Path, thread: Thread, offsets: dict[TP, int]) -> WholeConsumer:
    consumer = consumer_of(path, thread)
    await consumer._seek_again(offsets)
    return consumer


def test_records_that_may_be_read_are_handed_on(tmp_path: Path) -> None:
    async def fetch() -> tuple[Any, Thread]:
        thread = Thread({WINDOWS: records(7, 8)}, lambda: None)
        consumer = consumer_of(tmp_path, thread)
        consumer.resume_partitions({WINDOWS})
        consumer.resume_flow()
        return await consumer._getmany(consumer._active_partitions, 1.0), thread

    found, thread = asyncio.run(fetch())
    assert [one.offset for one in found[WINDOWS]] == [7, 8]
    assert thread.positions[WINDOWS] == 9


def test_streams_begin_after_the_queues_were_cleared(tmp_path: Path) -> None:
    async def recover() -> list[set[TP]]:
        consumer = consumer_of(tmp_path)
        seen = []
        consumer.resume_partitions({STATE, WINDOWS})
        seen.append(set(consumer._active_partitions))
        consumer.resume_flow()
        seen.append(set(consumer._active_partitions))
        # A rebalance between the two forgets them.
        consumer.pause_partitions({STATE, WINDOWS})
        consumer.resume_partitions({WINDOWS})
        consumer.pause_partitions({WINDOWS})
        consumer.resume_flow()
        return [*seen, set(consumer._active_partitions)]

    assert asyncio.run(recover()) == [{STATE}, {STATE, WINDOWS}, set()]


@pytest.mark.parametrize(("done", "committed"), [([0, 1, 4], 3), ([0, 1, 3, 4], 5)])
def test_a_marker_is_passed_over_and_the_record_after_it_is_not(
    tmp_path: Path, done: list[int], committed: int
) -> None:
    async def offset() -> int | None:
        consumer = consumer_of(tmp_path)
        await consumer._add_gap(WINDOWS, 2, 3)  # offset 2 is a marker, 3 a record
        consumer._acked[WINDOWS] = done
        return consumer._new_offset(WINDOWS)

    assert asyncio.run(offset()) == committed
