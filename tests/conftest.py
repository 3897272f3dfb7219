"""Fixtures shared by all tests. The stack starts with the first test that asks for it, never for unit tests."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from dataclasses import replace

import clickhouse_connect
import pytest

from tests.stack import ClickHouseAddress, StackAddresses, choose_mode, docker_answers, running


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackAddresses]:
    """Kafka and ClickHouse, as `PACTSTREAM_TEST_STACK` says."""
    mode = choose_mode(os.environ, docker_answers)
    with running(mode, tmp_path_factory.mktemp("stack")) as addresses:
        yield addresses


@pytest.fixture
def kafka_bootstrap(stack: StackAddresses) -> str:
    """`host:port` of the broker."""
    return stack.kafka_bootstrap


@pytest.fixture
def topic_prefix() -> str:
    """A prefix of this test's own, so that no test sees another's topics, groups or transactions."""
    return f"t{uuid.uuid4().hex[:12]}."


@pytest.fixture
def clickhouse_database(stack: StackAddresses) -> Iterator[ClickHouseAddress]:
    """An empty database of this test's own, dropped afterwards."""
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
