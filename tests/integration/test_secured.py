"""The pipeline on a broker that trusts nobody: TLS, a user and an access list for each service."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, Producer
from confluent_kafka.admin import AdminClient
from typer.testing import CliRunner

from evaluator_worker.external import wiring as external
from evaluator_worker.external.settings import ExternalSettings
from oracle_api.console.ended import EndedSessions
from pactstream import avro, clock
from pactstream.cli.app import app
from pactstream.devstack import ports
from pactstream.devstack.security import OPERATOR, Security, certificate
from pactstream.devstack.services import ANOMALIES, SERVICES, Services
from pactstream.devstack.stack import Stack
from pactstream.devstack.supervisor import Supervisor
from pactstream.errors import Fatal
from pactstream.kafka import reach, rights, topics
from pactstream.kafka.publisher import Publisher
from pactstream.settings import KafkaSettings, environment
from tests.anomaly_tools import fleet
from tests.behaviour_tools import AGENT
from tests.external_tools import ISSUER
from tests.integration.test_otlp_relay import relaying
from tests.kafka_tools import produce, read_all
from tests.otlp_peer import collecting
from tests.pipeline import new_agent, rows_of
from tests.sealer_stack import running as looping
from tests.stack import eventually

ALL = (*SERVICES, *ANOMALIES)
USER_OF = dict(
    zip(ALL, ("gateway", "evaluator", "sealer", "aggregator", "oracle", "behaviour", "anomaly"), strict=True)
)


@dataclass(frozen=True, slots=True)
class Secured:
    stack: Stack
    security: Security

    def settings(self, user: str, **changes: Any) -> KafkaSettings:
        return KafkaSettings(kafka_bootstrap=self.stack.kafka_bootstrap, **self.arguments(user), **changes)

    def arguments(self, user: str) -> dict[str, Any]:
        return {
            "kafka_security_protocol": "SASL_SSL",
            "kafka_sasl_username": user,
            "kafka_sasl_password": self.security.passwords.get(user, "wrong"),
            "kafka_ssl_ca": self.security.ca,
        }

    def client(self, user: str) -> dict[str, Any]:
        return {"bootstrap.servers": self.stack.kafka_bootstrap, "log_level": 0} | self.security.client(user)


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    directory = tmp_path_factory.mktemp("secured")
    users = ("pactstream-" + service for service in rights.RIGHTS)
    security = Security.prepare(directory / "security", users)
    with Stack(directory / "stack", kafka_security=security) as stack:
        found = Secured(stack, security)
        operator = found.settings(OPERATOR)
        topics.apply(operator, partitions=2, replication=1)
        # Brokers hear of lists a moment after they are made.
        eventually(lambda: rights.apply(operator) == [], timeout=30)
        yield found


@contextmanager
def services(secured: Secured, directory: Path, **environment_of: dict[str, str]) -> Iterator[Services]:
    users = {name: secured.security.environment(f"pactstream-{user}") for name, user in USER_OF.items()}
    with Supervisor() as supervisor:
        yield Services(
            supervisor=supervisor,
            data_dir=directory,
            kafka_bootstrap=secured.stack.kafka_bootstrap,
            clickhouse_host=secured.stack.clickhouse_host,
            clickhouse_port=secured.stack.clickhouse_port,
            gateway_port=ports.free_port(),
            oracle_port=ports.free_port(),
            environment_of={**users, **environment_of},
            operator=secured.arguments(OPERATOR),
        )


def test_the_pipeline_runs_with_the_rights_of_each_service(secured: Secured, tmp_path: Path) -> None:
    with services(secured, tmp_path) as running:
        running.prepare(partitions=2)
        running.start(ALL)
        write_windows(secured)
        agent = new_agent(running, evaluators=[{"issuer": ISSUER, "sees": "leaf"}])
        with asking(secured, tmp_path):
            with agent.telemetry(running) as telemetry, telemetry.session(pact_id=agent.pact_id):
                telemetry.tool_call(tool="lookup", params={"id": 1}, outcome="success")
            found = eventually(lambda: rows if len(rows := rows_of(running, agent.agent_id)) == 4 else None, 30)
        assert "evaluation" in {kind for _, _, kind, _ in found or ()}
        with collecting() as peer, relaying(secured.settings("pactstream-otlp"), peer.url):
            eventually(lambda: len(peer.spans) == 2, timeout=30)
        eventually(lambda: read_all(secured.settings(OPERATOR), topics.ANOMALY_STATE), timeout=30)
        logs = [path.read_text() for path in tmp_path.glob("*.log")]
    assert not [line for log in logs for line in log.splitlines() if "authoriz" in line.lower()]


@contextmanager
def asking(secured: Secured, directory: Path) -> Iterator[None]:
    """Third parties are asked; the one that the pact names is not registered, and that is recorded."""
    places = directory / "evaluators.json"
    places.write_text("{}")
    settings = ExternalSettings(
        kafka_bootstrap=secured.stack.kafka_bootstrap,
        **secured.arguments("pactstream-external"),
        instance="one",
        external_evaluators=places,
    )
    with external.build(settings) as processor, looping(processor.run):
        yield


def test_the_console_tells_its_peers_who_logged_out(secured: Secured) -> None:
    settings = secured.settings("pactstream-console")
    with (
        closing(Publisher(settings)) as publisher,
        closing(EndedSessions(settings, publisher.publish)) as here,
        closing(EndedSessions(settings, publisher.publish)) as there,
    ):
        asyncio.run(here.end("a session", clock.now_micros() + clock.MICROS_PER_SECOND * 60))
        eventually(lambda: there.has("a session"), timeout=30)


def write_windows(secured: Secured) -> None:
    """Ten minutes of a made-up agent, as the user that may write them."""
    found = [
        (AGENT.encode(), avro.encode("BehaviourWindow", one))
        for _, windows in fleet(0, 10)
        for one in windows.values()
    ]
    produce(secured.settings("pactstream-behaviour"), topics.WINDOWS, found)


@pytest.mark.parametrize(
    ("service", "topic"),
    [
        ("oracle", topics.EVALUATED),
        ("oracle", topics.TENANTS),
        ("push", topics.BATCHES),
        ("sealer", topics.BATCHES),
        ("otlp", topics.EVALUATED),
        ("external", topics.ISSUERS),
        ("console", topics.TENANTS),
    ],
)
def test_a_service_cannot_write_elsewhere(secured: Secured, service: str, topic: str) -> None:
    refused: list[KafkaError | None] = []
    producer = Producer(secured.client(f"pactstream-{service}"))
    producer.produce(topic, b"forged", b"key", on_delivery=lambda error, _: refused.append(error))
    producer.flush(10)
    assert [error and error.code() for error in refused] == [KafkaError.TOPIC_AUTHORIZATION_FAILED]


@pytest.mark.parametrize(
    ("service", "topic"),
    [
        ("gateway", topics.EVALUATED),
        ("oracle", topics.BATCHES),
        ("push", topics.EVALUATED),
        ("otlp", topics.BATCHES),
        ("external", topics.TENANTS),
    ],
)
def test_a_service_cannot_read_elsewhere(secured: Secured, service: str, topic: str) -> None:
    group = {"group.id": rights.RIGHTS[service].groups[0] if rights.RIGHTS[service].groups else "any"}
    consumer = Consumer(secured.client(f"pactstream-{service}") | group)
    try:
        consumer.subscribe([topic])
        message = eventually(lambda: consumer.poll(0.2))
        error = message and message.error()
        assert error
        assert error.code() in {
            KafkaError.TOPIC_AUTHORIZATION_FAILED,
            KafkaError.GROUP_AUTHORIZATION_FAILED,
        }
    finally:
        consumer.close()


def test_lists_are_made_once_and_what_is_not_ours_stays(secured: Secured) -> None:
    operator = secured.settings(OPERATOR)
    eventually(lambda: rights.apply(operator) == [])
    before = rights.granted(AdminClient(secured.client(OPERATOR)))
    old = rights.Rights(reads=("old.topic",))
    stale = next(rights.rights_of("pactstream-push", old, ""))
    foreign = next(rights.rights_of("billing", old, ""))
    admin = AdminClient(secured.client(OPERATOR))
    for done in admin.create_acls([stale.binding(), foreign.binding()]).values():
        done.result(10)
    eventually(lambda: rights.granted(admin) == before | {stale, foreign})
    assert rights.apply(operator) == ["revoked  pactstream-push  read  topic old.topic"]
    eventually(lambda: rights.granted(admin) == before | {foreign})


def test_grant_from_the_command_line(secured: Secured) -> None:
    environ = secured.security.environment(OPERATOR)
    environ["PACTSTREAM_KAFKA_BOOTSTRAP"] = secured.stack.kafka_bootstrap
    done = CliRunner().invoke(app, ["topics", "grant"], env=environ)
    assert (done.exit_code, done.stdout) == (0, "nothing to change\n")
    other = CliRunner().invoke(app, ["topics", "grant"], env=environ | {"PACTSTREAM_KAFKA_TOPIC_PREFIX": "x."})
    assert "granted  pactstream-evaluator  write  transactional id x.evaluator-*" in other.stdout


def test_a_service_that_may_not_alter_the_lists_is_told_so(secured: Secured) -> None:
    with pytest.raises(Fatal, match="this user may not change access control lists"):
        rights.apply(secured.settings("pactstream-push"))


def test_a_wrong_password_is_one_clear_error(secured: Secured) -> None:
    wrong = secured.security.environment("pactstream-evaluator") | {"PACTSTREAM_KAFKA_SASL_PASSWORD": "guessed"}
    done = _run("evaluator_worker", wrong | {"PACTSTREAM_KAFKA_BOOTSTRAP": secured.stack.kafka_bootstrap})
    assert done.returncode == 3
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("evaluator_worker: ")]
    assert "Kafka refuses the user 'pactstream-evaluator'" in line
    assert "guessed" not in done.stderr


def test_a_missing_right_is_one_clear_error(secured: Secured) -> None:
    # The oracle's user for the evaluator: it may read tenants, and none of what an evaluator needs.
    other = secured.security.environment("pactstream-oracle")
    done = _run("evaluator_worker", other | {"PACTSTREAM_KAFKA_BOOTSTRAP": secured.stack.kafka_bootstrap})
    assert done.returncode == 3
    (line,) = [line for line in done.stderr.splitlines() if " ERROR " in line]
    assert "uthorization failed" in line


def test_an_unknown_authority_is_one_clear_error(secured: Secured, tmp_path: Path) -> None:
    other, _ = certificate(clock.now_micros())
    (tmp_path / "other.pem").write_bytes(other)
    settings = secured.settings("pactstream-oracle")
    with pytest.raises(Fatal, match=r"no trusted connection to Kafka at .*certificate verify failed"):
        reach.check(settings.model_copy(update={"kafka_ssl_ca": tmp_path / "other.pem"}))


def test_an_expired_certificate_is_one_clear_error(tmp_path: Path) -> None:
    last_month = clock.now_micros() - 40 * 86_400 * clock.MICROS_PER_SECOND
    ca, chain = certificate(last_month)
    (tmp_path / "ca.pem").write_bytes(ca)
    (tmp_path / "chain.pem").write_bytes(chain)
    with _tls_server(tmp_path / "chain.pem") as port:
        settings = KafkaSettings(
            kafka_bootstrap=f"{ports.LOOPBACK}:{port}",
            kafka_security_protocol="SSL",
            kafka_ssl_ca=tmp_path / "ca.pem",
        )
        with pytest.raises(Fatal, match=r"no trusted connection to Kafka at .*certificate"):
            reach.check(settings)


def test_a_broker_that_does_not_answer_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "_LOOK_SECONDS", 0.1)
    reach.check(KafkaSettings(kafka_bootstrap=f"{ports.LOOPBACK}:{ports.free_port()}"))


def _run(service: str, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", service],
        env={**environment(), **variables, "PACTSTREAM_EVALUATOR_PORT": str(ports.free_port())},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@contextmanager
def _tls_server(chain: Path) -> Iterator[int]:
    """Shakes hands with whoever comes, and hangs up."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    listener = socket.create_server((ports.LOOPBACK, 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                try:
                    context.wrap_socket(connection, server_side=True).close()
                except OSError:
                    continue

    thread = Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
