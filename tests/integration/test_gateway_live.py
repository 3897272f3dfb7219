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
from tests.gateway_tools import ADMIN_KEY, EVENTS, body, call, pact_document
from tests.kafka_tools import create_topics, read_all, service_settings
from tests.sidecar_tools import running
from tests.stack import StackAddresses, eventually

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

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
        "GATEWAY_METRICS_PORT": "0",
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


@pytest.fixture(scope="module")
def kafka(stack: StackAddresses) -> KafkaSettings:
    made = service_settings(stack.kafka_bootstrap, f"t{uuid4().hex[:12]}.")
    create_topics(made)
    return made


@pytest.fixture(scope="module")
def live(kafka: KafkaSettings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with gateway(kafka, tmp_path_factory.mktemp("gateway")) as process:
        yield process


@dataclass
class Acme:
    """A tenant of one test's own, with two agents, a pact for the first, and a key with every scope."""

    tenant: str
    atlas: str
    second: str
    pact: str
    key: str

    @property
    def headers(self) -> dict[str, str]:
        return {"X-Pact-Key": self.key}

    def call(self, **changes: Any) -> dict[str, Any]:
        return call(**{"agentId": self.atlas, "pactId": self.pact} | changes)

    def document(self, **changes: Any) -> dict[str, Any]:
        return pact_document(**{"agentId": self.atlas} | changes)


def register(process: Process) -> Acme:
    """A tenant, through the gateway's own interface."""
    acme = Acme(str(uuid4()), str(uuid4()), str(uuid4()), str(uuid4()), key="")
    path = f"/api/v1/tenants/{acme.tenant}"
    client = process.client
    answers = [client.put(path, json={"name": "Acme"}, headers=ADMIN)]
    answers += [
        client.put(f"{path}/agents/{agent}", json={"name": "an agent"}, headers=ADMIN)
        for agent in (acme.atlas, acme.second)
    ]
    scopes = ["telemetry:write", "preflight", "pacts:read", "pacts:write"]
    answers.append(client.post(f"{path}/keys", json={"label": "l", "scopes": scopes}, headers=ADMIN))
    acme.key = answers[-1].json()["key"]
    answers.append(client.put(f"/api/v1/pacts/{acme.pact}", json=acme.document(), headers=acme.headers))
    assert [one.status_code for one in answers] == [201] * 5, [one.text for one in answers]
    return acme


@pytest.fixture
def acme(live: Process) -> Acme:
    return register(live)


def request_head(key: str, length: int) -> bytes:
    """A request up to its body."""
    lines = (
        f"POST {EVENTS} HTTP/1.1",
        "Host: gateway",
        f"X-Pact-Key: {key}",
        f"Content-Length: {length}",
        "",
        "",
    )
    return "\r\n".join(lines).encode()


def batches(kafka: KafkaSettings, acme: Acme) -> list[dict[str, Any]]:
    """What stands in the topic of this tenant, in order."""
    found = []
    for message in read_all(kafka, topics.BATCHES):
        batch = avro.decode_as("TelemetryBatch", message.value())
        assert message.key() == batch["agent_id"].encode()
        found.append(batch)
    return [one for one in found if one["tenant_id"] == acme.tenant]


def test_what_is_answered_stands_in_kafka_and_nothing_else(
    live: Process, kafka: KafkaSettings, acme: Acme
) -> None:
    bad = json.dumps(acme.call(params={"amount": float("nan")})).encode()
    good = [json.dumps(one).encode() for one in (acme.call(), acme.call(agentId=acme.second, pactId=None))]
    answer = live.post_events(b'{"events": [' + b", ".join((good[0], bad, good[1])) + b"]}", acme.key)
    assert (answer.status_code, answer.json()["accepted"]) == (207, 2)
    first, rejected, last = answer.json()["results"]
    assert rejected["error"]["code"] == "INVALID_INPUT"
    refused = (
        live.post_events(b"not JSON", acme.key),
        live.post_events(bytes(10_000_000), acme.key),
        live.post_events(zstd.compress(bytes(100 << 20)), acme.key, headers={"Content-Encoding": "zstd"}),
        live.post_events(body(acme.call()), acme.key[:-1] + "x"),
        live.post_events(body(acme.call(agentId=str(uuid4()))), acme.key),
        live.post_events(body(acme.call(pactId=str(uuid4()))), acme.key),
        live.post_events(body(acme.call(attemptedAt="2999-01-01T00:00:00Z")), acme.key),
    )
    assert [one.status_code for one in refused] == [400, 413, 413, 401, 403, 404, 422]
    found = {one["agent_id"]: [event["event_id"] for event in one["events"]] for one in batches(kafka, acme)}
    assert found == {acme.atlas: [first["eventId"]], acme.second: [last["eventId"]]}


def test_through_a_sidecar_it_is_the_same(
    live: Process, kafka: KafkaSettings, acme: Acme, tmp_path: Path
) -> None:
    content = body(acme.call(), acme.call())
    with running(tmp_path, str(live.client.base_url).rstrip("/"), acme.key) as sidecar:
        for _ in range(2):  # as an agent does that had no answer
            assert sidecar.ask("POST", EVENTS, content).status_code == 200
        strange = acme.call(agentId=str(uuid4()), eventId=str(uuid4()))
        mixed = [acme.call(eventId=str(uuid4())), strange]
        assert sidecar.send(*mixed).status_code == 200
        path = f"/api/v1/pacts/{acme.pact}/validate-call"
        asked = {"agentId": acme.atlas, "tool": "transfer_funds", "params": {"destination": "0xBAD"}}
        verdict = sidecar.ask("POST", path, asked)
        assert (verdict.status_code, verdict.json()["valid"]) == (200, False)
        # The question went after what was sent before it.
        assert sidecar.sent()
        (letter,) = sidecar.store.letters()
        assert json.loads(letter.body)["events"] == [strange]
        assert "FORBIDDEN" in letter.reason
    first, again, last = ([one["event_id"] for one in batch["events"]] for batch in batches(kafka, acme))
    assert first == again  # for the pipeline to leave out
    assert len(set(first)) == 2
    assert last == [mixed[0]["eventId"]]


def test_one_agents_requests_keep_their_order(live: Process, kafka: KafkaSettings, acme: Acme) -> None:
    content = body(acme.call(), acme.call())
    sent = [live.post_events(content, acme.key, headers={"X-Request-Id": f"r{n}"}) for n in range(30)]
    expected = [result["eventId"] for answer in sent for result in answer.json()["results"]]
    found = batches(kafka, acme)
    assert [one["request_id"] for one in found] == [f"r{n}" for n in range(30)]
    # Equal bodies name equal events: the pipeline behind keeps the first.
    assert [event["event_id"] for one in found for event in one["events"]] == expected
    assert len(set(expected)) == 2


def test_two_gateways_never_make_one_version_twice(
    live: Process, kafka: KafkaSettings, tmp_path: Path, acme: Acme
) -> None:
    path = f"/api/v1/pacts/{acme.pact}"
    with gateway(kafka, tmp_path) as second, ThreadPoolExecutor(6) as pool:

        def write(n: int) -> httpx.Response:
            client = (live, second)[n % 2].client
            document = acme.document(name=f"name {n}")
            answer = client.put(path, json=document, headers=acme.headers)
            while answer.status_code == 503:  # outrun by others eight times
                answer = client.put(path, json=document, headers=acme.headers)
            seen = client.get(path, params={"version": answer.json()["version"]}, headers=acme.headers)
            assert seen.json() == answer.json()  # who wrote it sees it at once
            return answer

        answers = list(pool.map(write, range(12)))
        assert [one.status_code for one in answers] == [201] * 12
        assert sorted(one.json()["version"] for one in answers) == list(range(2, 14))
        listed = second.client.get(path + "/versions", headers=acme.headers).json()["versions"]
        assert [one["version"] for one in listed] == list(range(1, 14))
    keys = [message.key() or b"" for message in read_all(kafka, topics.PACTS)]
    assert sorted(one for one in keys if one.startswith(acme.pact.encode())) == sorted(
        f"{acme.pact}/{version}".encode() for version in range(1, 14)
    )


def test_a_change_on_one_gateway_reaches_the_other(
    live: Process, kafka: KafkaSettings, tmp_path: Path, acme: Acme
) -> None:
    content = body(acme.call())
    with gateway(kafka, tmp_path) as second:
        assert second.post_events(content, acme.key).status_code == 200
        revoke = f"/api/v1/tenants/{acme.tenant}/keys/{acme.key.split('_')[2]}/revoke"
        assert live.client.post(revoke, headers=ADMIN).status_code == 200
        assert live.post_events(content, acme.key).status_code == 401
        eventually(lambda: second.post_events(content, acme.key).status_code == 401)


def test_a_stop_finishes_what_has_begun(kafka: KafkaSettings, tmp_path: Path, acme: Acme) -> None:
    content = body(*[acme.call() for _ in range(200)])
    with gateway(kafka, tmp_path) as process:
        with socket.create_connection(("127.0.0.1", process.port)) as connection:
            connection.sendall(request_head(acme.key, len(content)) + content[:1_000])
            assert process.client.get("/healthz").status_code == 200
            process.popen.send_signal(signal.SIGTERM)
            eventually(lambda: "Shutting down" in process.log.read_text())
            connection.sendall(content[1_000:])
            answer = b"".join(iter(lambda: connection.recv(65_536), b""))
        assert answer.startswith(b"HTTP/1.1 200")
        assert process.popen.wait(30) == 0
        log = process.log.read_text()
    assert len(batches(kafka, acme)[0]["events"]) == 200
    assert acme.key not in log


def test_a_client_that_is_too_large_reads_413_and_no_reset(live: Process, acme: Acme) -> None:
    for given, status in ((acme.key, 413), ("wrong", 401)):
        assert live.post_events(bytes(10_000_000), given).status_code == status


def test_a_body_shorter_than_promised_is_408(kafka: KafkaSettings, tmp_path: Path, acme: Acme) -> None:
    with (
        gateway(kafka, tmp_path, GATEWAY_BODY_TIMEOUT_SECONDS="0.5") as process,
        socket.create_connection(("127.0.0.1", process.port), timeout=20) as connection,
    ):
        connection.sendall(request_head(acme.key, 5_000) + b'{"events": [')
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert answer.startswith(b"HTTP/1.1 408")
    assert batches(kafka, acme) == []


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
        acme = register(ours)
        assert ours.post_events(body(acme.call()), acme.key).status_code == 200
        process.send_signal(signal.SIGSTOP)
        content = body(acme.call(sessionId="away"))
        answer = ours.post_events(content, acme.key)
        assert (answer.status_code, answer.json()["code"]) == (503, "UNAVAILABLE")
        assert int(answer.headers["retry-after"]) >= 1
        eventually(lambda: ours.client.get("/readyz").status_code == 503, timeout=20)
        assert ours.client.get("/healthz").status_code == 200
        # What needs no Kafka goes on.
        asked = {"agentId": acme.atlas, "tool": "transfer_funds", "params": {}}
        path = f"/api/v1/pacts/{acme.pact}/validate-call"
        assert ours.client.post(path, json=asked, headers=acme.headers).status_code == 200

        process.send_signal(signal.SIGCONT)
        taken: list[httpx.Response] = []
        eventually(lambda: _take(ours.post_events(content, acme.key), taken), timeout=30)
        eventually(lambda: ours.client.get("/readyz").status_code == 200, timeout=30)
        (result,) = taken[0].json()["results"]
        found = [event["event_id"] for batch in batches(kafka, acme) for event in batch["events"]]
        # The first attempt may have been written too, under the same id.
        assert set(found[1:]) == {result["eventId"]}


def _take(answer: httpx.Response, taken: list[httpx.Response]) -> bool:
    """Keep the answer if it is a yes."""
    if answer.status_code == 200:
        taken.append(answer)
    return bool(taken)


def test_without_kafka_it_says_so_and_ends(tmp_path: Path) -> None:
    environment = settings.environment() | {
        "PACTSTREAM_KAFKA_BOOTSTRAP": "127.0.0.1:1",
        "PACTSTREAM_GATEWAY_PORT": str(free_port()),
        "PACTSTREAM_GATEWAY_METRICS_PORT": "0",
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
        "PACTSTREAM_GATEWAY_METRICS_PORT": "0",
    }
    done = subprocess.run(
        [sys.executable, "-m", "ingest_gateway"], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 3
    assert f"cannot listen on 127.0.0.1:{live.port}" in done.stderr.splitlines()[-1]
