"""The search for anomalies as a process on a real broker: killed, restarted, told everything twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import urllib3
from confluent_kafka import Consumer, Producer, TopicPartition

from evaluator_worker.anomaly.app import GROUP
from evaluator_worker.anomaly.settings import AnomalySettings
from evaluator_worker.anomaly.stream import advance
from pactstream import avro
from pactstream.clickhouse import migrate
from pactstream.clickhouse.client import ClickHouse
from pactstream.devstack.ports import free_port
from pactstream.kafka import config, topics
from tests.anomaly_tools import LEVEL, WARM, fleet, slower, warm_state
from tests.behaviour_tools import AGENT, tenant
from tests.kafka_tools import create_topics, produce, read_all
from tests.stack import ClickHouseAddress, eventually

KEY = AGENT.encode()
LAG = 'pactstream_consumer_lag_records{group="anomaly",partition="1",topic="behaviour.windows"}'
DRIFT = slower(1.4, {2}, since=WARM)


@pytest.fixture
def settings(
    kafka_bootstrap: str, topic_prefix: str, clickhouse_database: ClickHouseAddress, tmp_path: Path
) -> AnomalySettings:
    where = clickhouse_database
    ours = AnomalySettings(
        kafka_bootstrap=kafka_bootstrap,
        kafka_topic_prefix=topic_prefix,
        instance="one",
        anomaly_port=free_port(),
        anomaly_data_dir=tmp_path,
        anomaly_level=LEVEL,
        clickhouse_host=where.host,
        clickhouse_port=where.port,
        clickhouse_user=where.user,
        clickhouse_password=where.password,
        clickhouse_database=where.database,
    )
    create_topics(ours)
    migrate.apply(ours)
    return ours


@contextmanager
def process(settings: AnomalySettings, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The program, ready inside; killed on leaving unless it has ended."""
    names = type(settings).model_fields
    values = {name: getattr(settings, name) for name in names}
    values |= {
        "clickhouse_password": settings.clickhouse_password.get_secret_value(),
        "kafka_sasl_password": "",
    }
    ours = {
        f"PACTSTREAM_{name.upper()}": str(value) for name, value in values.items() if value not in (None, "")
    }
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PACTSTREAM_")}
    with log.open("ab") as out:
        child = subprocess.Popen(
            [sys.executable, "-m", "evaluator_worker.anomaly"], env=environment | ours, stdout=out, stderr=out
        )
        try:
            eventually(lambda: is_ready(settings.anomaly_port) or child.poll() is not None, timeout=60)
            assert child.poll() is None, log.read_text()
            yield child
        finally:
            child.kill()
            child.wait(30)


def is_ready(port: int) -> bool:
    try:
        return urllib3.request("GET", f"http://127.0.0.1:{port}/readyz", retries=False).status == 200
    except urllib3.exceptions.HTTPError:
        return False


def records(first: int, minutes: int) -> list[tuple[bytes, bytes]]:
    return [
        (KEY, avro.encode("BehaviourWindow", window))
        for _, windows in fleet(first, minutes, change=DRIFT)
        for window in windows.values()
    ]


def write(settings: AnomalySettings, sent: list[tuple[bytes, bytes]], name: str) -> None:
    """Write windows as `behaviour` does: in transactions, whose markers take offsets of their own."""
    producer = Producer(config.transactional_producer(settings, name))
    producer.init_transactions(30)
    for first in range(0, len(sent), 25):
        producer.begin_transaction()
        for key, value in sent[first : first + 25]:
            producer.produce(topics.name(settings, topics.WINDOWS), value, key, 1)
        producer.commit_transaction(30)


def left(settings: AnomalySettings) -> int:
    """Offsets from the app's commit to the end: 1 if all is done, for the last transaction's marker."""
    where = TopicPartition(topics.name(settings, topics.WINDOWS), 1)
    with closing(Consumer(config.consumer(settings, GROUP))) as reader:
        (found,) = reader.committed([where], 10)
        return int(reader.get_watermark_offsets(where, 10)[1] - max(0, found.offset))


def expected(sent: list[tuple[bytes, bytes]]) -> list[bytes]:
    state: bytes | None = warm_state()
    found: list[bytes] = []
    for key, value in sent:
        after = advance(state, key, value, LEVEL)
        state, found = after.state or state, found + after.anomalies
    return found


def anomalies(settings: AnomalySettings) -> list[bytes]:
    return [message.value() or b"" for message in read_all(settings, topics.ANOMALIES)]


def taken(settings: AnomalySettings) -> int:
    """How far the latest state in the changelog has come."""
    states = [message.value() for message in read_all(settings, topics.ANOMALY_STATE)]
    return max(int(avro.decode_as("AnomalyState", one)["taken_micros"]) for one in states)


def rows(database: ClickHouse) -> list[tuple[Any, ...]]:
    return database.rows(
        "SELECT toString(tenant_id), kind, status, version, features FROM anomalies FINAL "
        "WHERE tenant_id = {t:UUID}",
        {"t": tenant(2)},
    )


def test_a_drift_is_found_once_through_a_kill_and_a_replay(settings: AnomalySettings, tmp_path: Path) -> None:
    log = tmp_path / "anomaly.log"
    sent = records(WARM, 60)
    wanted = expected(sent)
    assert [avro.decode_as("Anomaly", one)["tenant_id"] for one in wanted] == [tenant(2)]
    produce(settings, topics.ANOMALY_STATE, [(KEY, warm_state())], partition=1)
    begun = taken(settings)
    write(settings, sent[:100], "a")
    with process(settings, log) as child:
        eventually(lambda: taken(settings) > begun, timeout=60)
        child.send_signal(signal.SIGKILL)
    # The rest, and then all of it once more, as a producer does that lost its memory.
    write(settings, sent[100:] + sent, "a")
    end = avro.decode_as("BehaviourWindow", sent[-1][1])["minute_micros"]
    with ClickHouse(settings) as database, process(settings, log) as child:
        eventually(lambda: taken(settings) >= end - 60_000_000, timeout=60)
        eventually(lambda: rows(database), timeout=30)
        assert [row[:4] for row in rows(database)] == [(tenant(2), "drift", "open", 1)]
        assert '"feature":"latency","direction":"up"' in rows(database)[0][4]
        eventually(lambda: left(settings) == 1, timeout=30)
        eventually(lambda: metric(settings.anomaly_port, LAG) == 1)
        child.send_signal(signal.SIGTERM)
        assert child.wait(60) == 0, log.read_text()
    assert set(anomalies(settings)) == set(wanted)


def metric(port: int, series: str) -> float:
    text = urllib3.request("GET", f"http://127.0.0.1:{port}/metrics", retries=False).data.decode()
    (line,) = (one for one in text.splitlines() if one.startswith(series + " "))
    return float(line.split()[-1])


def test_a_standby_goes_on_when_the_holder_is_killed(settings: AnomalySettings, tmp_path: Path) -> None:
    other = settings.model_copy(
        update={"instance": "two", "anomaly_port": free_port(), "anomaly_data_dir": tmp_path / "two"}
    )
    sent = records(WARM, 60)
    wanted = expected(sent)
    produce(settings, topics.ANOMALY_STATE, [(KEY, warm_state())], partition=1)
    begun = taken(settings)
    with process(settings, tmp_path / "one.log") as first, process(other, tmp_path / "two.log") as second:
        write(settings, sent[:60], "a")
        eventually(lambda: taken(settings) > begun, timeout=90)
        holder = first if metric(settings.anomaly_port, "pactstream_anomaly_windows_total") else second
        holder.send_signal(signal.SIGKILL)
        write(settings, sent[60:], "a")
        eventually(lambda: len(anomalies(settings)) >= len(wanted), timeout=90)
    assert set(anomalies(settings)) == set(wanted)
