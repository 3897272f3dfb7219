"""The Kafka and ClickHouse that tests run against, and waiting for what they do."""

from __future__ import annotations

import gc
import os
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

import clickhouse_connect

_T = TypeVar("_T")
MODE_VARIABLE = "PACTSTREAM_TEST_STACK"
_DOCKER_TIMEOUT_SECONDS = 1
_KAFKA_IMAGE = "confluentinc/cp-kafka:7.9.2"
_CLICKHOUSE_IMAGE = "clickhouse/clickhouse-server:25.8"
_KAFKA_ENVIRONMENT = {
    "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
    "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
    "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
    "KAFKA_TRANSACTION_STATE_LOG_NUM_PARTITIONS": "4",
    "KAFKA_GROUP_MIN_SESSION_TIMEOUT_MS": "1000",
    "KAFKA_TRANSACTION_ABORT_TIMED_OUT_TRANSACTION_CLEANUP_INTERVAL_MS": "1000",
}


class Mode(StrEnum):
    """Where the two come from."""

    CONTAINERS = "containers"
    EMBEDDED = "embedded"
    EXTERNAL = "external"


@dataclass(frozen=True, slots=True)
class ClickHouseAddress:
    """A ClickHouse database, in the words of `clickhouse_connect.get_client`."""

    host: str
    port: int
    user: str
    password: str
    database: str


@dataclass(frozen=True, slots=True)
class StackAddresses:
    """What the tests of one session share; `clickhouse.database` is the server's default one."""

    kafka_bootstrap: str
    clickhouse: ClickHouseAddress


def choose_mode(environ: Mapping[str, str], docker_answers: Callable[[], bool]) -> Mode:
    """The mode that `PACTSTREAM_TEST_STACK` names; without it, containers where Docker answers."""
    if wanted := environ.get(MODE_VARIABLE):
        return Mode(wanted)
    return Mode.CONTAINERS if docker_answers() else Mode.EMBEDDED


def docker_answers() -> bool:
    """Whether a Docker engine replies within about a second."""
    with warnings.catch_warnings():
        # docker's client forgets to close the socket of a connection that fails; it is collected in here.
        warnings.simplefilter("ignore", ResourceWarning)
        answers = _docker_pings()
        gc.collect()
    return answers


def _docker_pings() -> bool:
    import docker  # type: ignore[import-untyped]
    import requests

    try:
        client = docker.from_env(timeout=_DOCKER_TIMEOUT_SECONDS)
    except (docker.errors.DockerException, requests.RequestException):
        return False
    try:
        return bool(client.ping())
    except (docker.errors.APIError, requests.RequestException):
        return False
    finally:
        client.close()


@contextmanager
def running(mode: Mode, data_dir: Path) -> Iterator[StackAddresses]:
    """The stack of that mode, up inside the context; `data_dir` is empty and only the embedded one uses it."""
    run = {Mode.CONTAINERS: _containers, Mode.EMBEDDED: _embedded, Mode.EXTERNAL: _external}[mode]
    with run(data_dir) as addresses:
        yield addresses


@contextmanager
def _embedded(data_dir: Path) -> Iterator[StackAddresses]:
    from pactstream.devstack.stack import Stack

    with Stack(data_dir) as stack:
        address = ClickHouseAddress(stack.clickhouse_host, stack.clickhouse_port, "default", "", "default")
        yield StackAddresses(stack.kafka_bootstrap, address)


@contextmanager
def _containers(_data_dir: Path) -> Iterator[StackAddresses]:
    from testcontainers.community.clickhouse import ClickHouseContainer
    from testcontainers.community.kafka import KafkaContainer

    kafka = KafkaContainer(_KAFKA_IMAGE).with_kraft()
    for name, value in _KAFKA_ENVIRONMENT.items():
        kafka.with_env(name, value)
    with kafka, ClickHouseContainer(_CLICKHOUSE_IMAGE) as clickhouse:
        address = ClickHouseAddress(
            host=clickhouse.get_container_host_ip(),
            port=int(clickhouse.get_exposed_port(8123)),
            user=clickhouse.username,
            password=clickhouse.password,
            database=clickhouse.dbname,
        )
        yield StackAddresses(kafka.get_bootstrap_server(), address)


@contextmanager
def _external(_data_dir: Path) -> Iterator[StackAddresses]:
    yield external_addresses(os.environ)


def external_addresses(environ: Mapping[str, str]) -> StackAddresses:
    """The addresses of a running stack; user, password and ports have ClickHouse's defaults."""
    address = ClickHouseAddress(
        host=environ["PACTSTREAM_CLICKHOUSE_HOST"],
        port=int(environ.get("PACTSTREAM_CLICKHOUSE_PORT", "8123")),
        user=environ.get("PACTSTREAM_CLICKHOUSE_USER", "default"),
        password=environ.get("PACTSTREAM_CLICKHOUSE_PASSWORD", ""),
        database=environ.get("PACTSTREAM_CLICKHOUSE_DATABASE", "default"),
    )
    return StackAddresses(environ["PACTSTREAM_KAFKA_BOOTSTRAP"], address)


def fresh_prefix() -> str:
    """A prefix for topics, groups and transactions that nobody else has."""
    return f"t{uuid.uuid4().hex[:12]}."


@contextmanager
def fresh_database(stack: StackAddresses) -> Iterator[ClickHouseAddress]:
    """An empty database of one's own, dropped on leaving."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    server = stack.clickhouse
    client = clickhouse_connect.get_client(
        host=server.host, port=server.port, username=server.user, password=server.password
    )
    try:
        client.command("CREATE DATABASE {name:Identifier}", parameters={"name": name})
        yield replace(server, database=name)
        client.command("DROP DATABASE {name:Identifier} SYNC", parameters={"name": name})
    finally:
        client.close()


def eventually(probe: Callable[[], _T], timeout: float = 10.0, interval: float = 0.02) -> _T:
    """Call `probe` until it returns something true, and return that; fail after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not (result := probe()):
        if time.monotonic() > deadline:
            raise AssertionError(f"still {result!r} after {timeout} s")
        time.sleep(interval)
    return result
