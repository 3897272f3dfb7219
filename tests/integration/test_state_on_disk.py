"""State on disk on a real broker: a worker that dies before it writes the store, and a changelog made anew."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient

from pactstream.errors import Retryable
from pactstream.kafka import config, topics
from pactstream.kafka.disk_store import DiskStore
from pactstream.kafka.processor import Plan
from pactstream.kafka.records import Emit, Record, Task
from pactstream.kafka.state_store import Change, StateStore
from pactstream.kafka.stores import Stores
from pactstream.settings import ServiceSettings
from tests.integration.test_processor import expect, numbers, running
from tests.kafka_tools import create_topics, produce, service_settings
from tests.stack import eventually


class Summing(Task):
    """Adds up numbers by key; the sums are in the store alone."""

    def __init__(self, partition: int, store: StateStore, restored: list[int]) -> None:
        self._partition = partition
        self._store = store
        self._restored = restored
        self._restored.append(0)
        self._changes: dict[bytes, bytes] = {}
        self._settled: list[Change] = []

    @property
    def position(self) -> int:
        return self._store.position

    def restore(self, key: bytes, value: bytes | None) -> None:
        self._restored[-1] += 1
        self._settled.append((key, value))

    def process(self, record: Record, emit: Emit) -> int:
        key = record.key or b""
        found = self._changes.get(key) or self._store.of(key).get(b"") or b"0"
        self._changes[key] = b"%d" % (int(found) + int(record.value or b"0"))
        emit(topics.EVALUATED, key, self._changes[key], partition=self._partition)
        return 1

    def flush(self, emit: Emit) -> None:
        for key, total in self._changes.items():
            emit(topics.EVALUATOR_STATE, key, total, partition=self._partition)
            self._settled.append((key, total))

    def checkpoint(self, position: int) -> None:
        self._store.write(self._settled, position)
        self._settled, self._changes = [], {}

    def close(self) -> None:
        self._store.close()


def plan(settings: ServiceSettings, restored: list[int]) -> Plan:
    stores = Stores(settings, "summing", topics.EVALUATOR_STATE)
    return Plan(
        group="summing",
        source=topics.BATCHES,
        changelog=topics.EVALUATOR_STATE,
        make_task=lambda partition: Summing(partition, stores.open(partition), restored),
        max_events=10,
        linger_seconds=0.01,
    )


@pytest.fixture
def settings(kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> ServiceSettings:
    ours = service_settings(kafka_bootstrap, topic_prefix).model_copy(update={"state_dir": tmp_path})
    create_topics(ours)
    return ours


def test_a_worker_that_dies_between_commit_and_store_restores_the_rest(
    settings: ServiceSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, calls = DiskStore.write, []

    def failing(self: DiskStore, changes: Iterable[Change], position: int) -> None:
        calls.append(position)
        if len(calls) in (5, 9):
            raise Retryable("planned, after the commit")
        write(self, changes, position)

    monkeypatch.setattr(DiskStore, "write", failing)
    produce(settings, topics.BATCHES, numbers(0, 80))
    with running(settings, plan(settings, [])):
        expect(settings, 80)
    assert len(calls) > 9


def test_a_worker_that_comes_back_restores_nothing_and_one_without_its_topic_everything(
    settings: ServiceSettings, caplog: pytest.LogCaptureFixture
) -> None:
    produce(settings, topics.BATCHES, numbers(0, 60))
    first: list[int] = []
    with running(settings, plan(settings, first)):
        expect(settings, 60)
    again: list[int] = []
    produce(settings, topics.BATCHES, numbers(60, 80))
    with running(settings, plan(settings, again)):
        expect(settings, 80)
    assert sum(again) == 0

    full = topics.name(settings, topics.EVALUATOR_STATE)
    admin = AdminClient(config.client(settings))
    admin.delete_topics([full])[full].result(30)
    eventually(lambda: full not in admin.list_topics(timeout=10).topics, timeout=30)
    create_topics(settings)
    Stores(settings, "summing", topics.EVALUATOR_STATE).open(0).close()
    assert "of another topic_id" in caplog.text
