"""The gateway as a process on a real Kafka, over real sockets."""

from __future__ import annotations

import hashlib
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from pactstream import avro, settings
from pactstream.devstack import jars
from pactstream.devstack.kafka import Broker
from pactstream.devstack.ports import free_port
from pactstream.devstack.reporter import Quiet
from pactstream.devstack.supervisor import Supervisor
from pactstream.kafka import topics
from pactstream.settings import KafkaSettings
from tests.gateway_tools import ACME, ADMIN_KEY, ATLAS, EVENTS, SECOND, TREASURY, body, call, pact_document
from tests.kafka_tools import create_topics, read_all, service_settings
from tests.stack import eventually

ADMIN = {"Authorization": f"Bearer {ADMIN_KEY}"}


@dataclass
class Process:
    """A running gateway."""

    popen: subprocess.Popen[bytes]
    port: int
    log: Path
    client: httpx.Client

    def stop(self) -> int:
        self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(30)

    def post_events(self, content: Any, key: str, **options: Any) -> httpx.Response:
        headers = {"X-Pact-Key": key} | options.pop("headers", {})
        return self.client.post(EVENTS, content=content, headers=headers, **options)


@contextmanager
def gateway(kafka: KafkaSettings, tmp_path: Path, **variables: str) -> Iterator[Process]:
    """A gateway process, killed on leaving unless it has stopped."""
    port = free_port()
    log = tmp_path / f"gateway-{port}.log"
    ours = {
        "KAFKA_BOOTSTRAP": kafka.kafka_bootstrap,
        "KAFKA_TOPIC_PREFIX": kafka.kafka_topic_prefix,
        "GATEWAY_PORT": str(port),
        "GATEWAY_ADMIN_KEY_SHA256": hashlib.sha256(ADMIN_KEY.encode()).hexdigest(),
        "GATEWAY_PUBLISH_TIMEOUT_SECONDS": "1",
    } | variables
    environment = settings.environment() | {settings.PREFIX + name: value for name, value in ours.items()}
    with ExitStack() as cleanup:
        output = cleanup.enter_context(log.open("wb"))
        command = [sys.executable, "-m", "ingest_gateway"]
        popen = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        cleanup.callback(popen.wait)
        cleanup.callback(popen.kill)
        client = cleanup.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30))
        process = Process(popen, port, log, client)
        eventually(lambda: _ready(process), timeout=60)
        yield process


def _ready(process: Process) -> bool:
    if process.popen.poll() is not None:
        raise AssertionError(process.log.read_text())
    try:
        return process.client.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture
def kafka(kafka_bootstrap: str, topic_prefix: str) -> KafkaSettings:
    made = service_settings(kafka_bootstrap, topic_prefix)
    create_topics(made)
    return made


@pytest.fixture
def live(kafka: KafkaSettings, tmp_path: Path) -> Iterator[Process]:
    with gateway(kafka, tmp_path) as process:
        yield process


def register(process: Process) -> str:
    """Acme with two agents and Atlas's pact; returns a key with every scope."""
    tenant = f"/api/v1/tenants/{ACME}"
    client = process.client
    answers = [client.put(tenant, json={"name": "Acme"}, headers=ADMIN)]
    answers += [
        client.put(f"{tenant}/agents/{agent}", json={"name": "an agent"}, headers=ADMIN)
        for agent in (ATLAS, SECOND)
    ]
    scopes = ["telemetry:write", "preflight", "pacts:read", "pacts:write"]
    answers.append(client.post(f"{tenant}/keys", json={"label": "l", "scopes": scopes}, headers=ADMIN))
    key: str = answers[-1].json()["key"]
    put = client.put(f"/api/v1/pacts/{TREASURY}", json=pact_document(), headers={"X-Pact-Key": key})
    assert [one.status_code for one in (*answers, put)] == [201] * 5
    return key


def batches(kafka: KafkaSettings) -> list[dict[str, Any]]:
    """What stands in the topic, in order."""
    found = []
    for message in read_all(kafka, topics.BATCHES):
        batch = avro.decode_as("TelemetryBatch", message.value())
        assert message.key() == batch["agent_id"].encode()
        found.append(batch)
    return found


def test_what_is_answered_stands_in_kafka_and_nothing_else(live: Process, kafka: KafkaSettings) -> None:
    key = register(live)
    good, other = call(), call(agentId=SECOND, pactId=None)
    bad = json.dumps(call(params={"amount": float("nan")})).encode()
    content = (
        b'{"events": [' + json.dumps(good).encode() + b"," + bad + b"," + json.dumps(other).encode() + b"]}"
    )
    answer = live.post_events(content, key)
    assert (answer.status_code, answer.json()["accepted"]) == (207, 2)
    first, rejected, last = answer.json()["results"]
    assert rejected["error"]["code"] == "INVALID_INPUT"
    for refused in (
        live.post_events(b"not JSON", key),
        live.post_events(bytes(10_000_000), key),
        live.post_events(body(call()), key[:-1] + "x"),
        live.post_events(body(call(agentId=str(uuid4()))), key),
    ):
        assert refused.status_code in (400, 401, 403, 413)
    found = {one["agent_id"]: [event["event_id"] for event in one["events"]] for one in batches(kafka)}
    assert found == {ATLAS: [first["eventId"]], SECOND: [last["eventId"]]}


def test_one_agents_requests_keep_their_order(live: Process, kafka: KafkaSettings) -> None:
    key = register(live)
    sent = [live.post_events(body(call(), call()), key, headers={"X-Request-Id": f"r{n}"}) for n in range(30)]
    expected = [result["eventId"] for answer in sent for result in answer.json()["results"]]
    found = batches(kafka)
    assert [one["request_id"] for one in found] == [f"r{n}" for n in range(30)]
    # Equal bodies name equal events: the pipeline behind keeps the first.
    assert [event["event_id"] for one in found for event in one["events"]] == expected
    assert len(set(expected)) == 2


def test_two_gateways_never_make_one_version_twice(live: Process, kafka: KafkaSettings, tmp_path: Path) -> None:
    key = register(live)
    headers = {"X-Pact-Key": key}
    path = f"/api/v1/pacts/{TREASURY}"
    with gateway(kafka, tmp_path) as second, ThreadPoolExecutor(6) as pool:

        def write(n: int) -> httpx.Response:
            process = (live, second)[n % 2]
            answer = process.client.put(path, json=pact_document(name=f"name {n}"), headers=headers)
            while answer.status_code == 503:  # outrun by others eight times
                answer = process.client.put(path, json=pact_document(name=f"name {n}"), headers=headers)
            seen = process.client.get(path, params={"version": answer.json()["version"]}, headers=headers)
            assert seen.json() == answer.json()  # who wrote it sees it at once
            return answer

        answers = list(pool.map(write, range(12)))
        assert [one.status_code for one in answers] == [201] * 12
        assert sorted(one.json()["version"] for one in answers) == list(range(2, 14))
        listed = second.client.get(path + "/versions", headers=headers).json()["versions"]
        assert [one["version"] for one in listed] == list(range(1, 14))
    keys = [message.key() for message in read_all(kafka, topics.PACTS)]
    assert len(keys) == len(set(keys)) == 13


def test_a_change_on_one_gateway_reaches_the_other(live: Process, kafka: KafkaSettings, tmp_path: Path) -> None:
    key = register(live)
    with gateway(kafka, tmp_path) as second:
        assert second.post_events(body(call()), key).status_code == 200
        revoke = f"/api/v1/tenants/{ACME}/keys/{key.split('_')[2]}/revoke"
        assert live.client.post(revoke, headers=ADMIN).status_code == 200
        assert live.post_events(body(call()), key).status_code == 401
        eventually(lambda: second.post_events(body(call()), key).status_code == 401)


def test_a_stop_finishes_what_has_begun(live: Process, kafka: KafkaSettings) -> None:
    key = register(live)
    content = body(*[call() for _ in range(200)])
    head = f"POST {EVENTS} HTTP/1.1\r\nHost: gateway\r\nX-Pact-Key: {key}\r\nContent-Length: {len(content)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", live.port)) as connection:
        connection.sendall(head.encode() + content[:1_000])
        eventually(lambda: live.client.get("/healthz").status_code == 200)
        live.popen.send_signal(signal.SIGTERM)
        eventually(lambda: "Shutting down" in live.log.read_text())
        connection.sendall(content[1_000:])
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert answer.startswith(b"HTTP/1.1 200")
    assert live.popen.wait(30) == 0
    assert len(batches(kafka)[0]["events"]) == 200
    log = live.log.read_text()
    assert key not in log
    assert ADMIN_KEY not in log


def test_a_client_that_is_too_large_reads_413_and_no_reset(live: Process) -> None:
    key = register(live)
    for given, status in ((key, 413), ("wrong", 401)):
        answer = live.post_events(bytes(10_000_000), given)
        assert answer.status_code == status
    # A connection is kept where nothing was wrong with it.
    before = live.post_events(body(call()), key)
    assert before.headers.get("connection", "keep-alive") == "keep-alive"


def test_a_body_shorter_than_promised_is_408(kafka: KafkaSettings, tmp_path: Path) -> None:
    with gateway(kafka, tmp_path, GATEWAY_BODY_TIMEOUT_SECONDS="0.5") as process:
        key = register(process)
        head = f"POST {EVENTS} HTTP/1.1\r\nHost: gateway\r\nX-Pact-Key: {key}\r\nContent-Length: 5000\r\n\r\n"
        with socket.create_connection(("127.0.0.1", process.port), timeout=20) as connection:
            connection.sendall(head.encode() + b'{"events": [')
            answer = b"".join(iter(lambda: connection.recv(65_536), b""))
        assert answer.startswith(b"HTTP/1.1 408")
        assert batches(kafka) == []


@contextmanager
def broker_of_our_own(data_dir: Path) -> Iterator[tuple[KafkaSettings, subprocess.Popen[bytes]]]:
    """A Kafka that this test may pause."""
    broker = Broker(data_dir, jars.classpath(Quiet()), free_port(), free_port())
    broker.prepare()
    with Supervisor() as supervisor:
        child = supervisor.start(broker.program())
        supervisor.wait_ready(child, broker.is_ready)
        made = service_settings(broker.bootstrap, "")
        create_topics(made)
        yield made, child.process
        child.process.send_signal(signal.SIGCONT)


def test_kafka_away_is_503_and_back_is_200(tmp_path: Path) -> None:
    with broker_of_our_own(tmp_path / "kafka") as (kafka, process), gateway(kafka, tmp_path) as ours:
        key = register(ours)
        assert ours.post_events(body(call()), key).status_code == 200
        process.send_signal(signal.SIGSTOP)
        content = body(call(sessionId="away"))
        answer = ours.post_events(content, key)
        assert (answer.status_code, answer.json()["code"]) == (503, "UNAVAILABLE")
        assert int(answer.headers["retry-after"]) >= 1
        eventually(lambda: ours.client.get("/readyz").status_code == 503, timeout=20)
        assert ours.client.get("/healthz").status_code == 200
        # What needs no Kafka goes on.
        asked = {"agentId": ATLAS, "tool": "transfer_funds", "params": {}}
        path = f"/api/v1/pacts/{TREASURY}/validate-call"
        assert ours.client.post(path, json=asked, headers={"X-Pact-Key": key}).status_code == 200

        process.send_signal(signal.SIGCONT)
        again = eventually(lambda: _taken(ours.post_events(content, key)), timeout=30)
        eventually(lambda: ours.client.get("/readyz").status_code == 200, timeout=30)
        (result,) = again.json()["results"]
        found = [event["event_id"] for batch in batches(kafka) for event in batch["events"]]
        # The first attempt may have been written too, under the same id.
        assert set(found[1:]) == {result["eventId"]}


def _taken(answer: httpx.Response) -> httpx.Response | None:
    return answer if answer.status_code == 200 else None


def test_without_kafka_it_says_so_and_ends(tmp_path: Path) -> None:
    environment = settings.environment() | {
        "PACTSTREAM_KAFKA_BOOTSTRAP": "127.0.0.1:1",
        "PACTSTREAM_GATEWAY_PORT": str(free_port()),
        "PACTSTREAM_GATEWAY_START_SECONDS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "ingest_gateway"], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 3
    assert "is Kafka at 127.0.0.1:1" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_port_in_use_is_one_clear_line(live: Process, kafka: KafkaSettings) -> None:
    environment = settings.environment() | {
        "PACTSTREAM_KAFKA_BOOTSTRAP": kafka.kafka_bootstrap,
        "PACTSTREAM_KAFKA_TOPIC_PREFIX": kafka.kafka_topic_prefix,
        "PACTSTREAM_GATEWAY_PORT": str(live.port),
    }
    done = subprocess.run(
        [sys.executable, "-m", "ingest_gateway"], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 3
    assert f"cannot listen on 127.0.0.1:{live.port}" in done.stderr.splitlines()[-1]
