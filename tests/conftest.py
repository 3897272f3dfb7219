"""Fixtures shared by all tests. The stack starts with the first test that asks for it, never for unit tests."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.stack import (
    MODE_VARIABLE,
    ClickHouseAddress,
    Mode,
    StackAddresses,
    choose_mode,
    docker_answers,
    fresh_database,
    fresh_prefix,
    running,
)

# Without a time limit for each example: on a busy machine it would fail tests that are right.
settings.register_profile("pactstream", deadline=None)
settings.load_profile("pactstream")


def pytest_configure() -> None:
    """Have a killed worker's partitions move soon, where the broker is ours and allows it."""
    # Hundreds of processes are started: one compiles what it imports, the others read that.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    if os.environ.get(MODE_VARIABLE) != Mode.EXTERNAL:
        os.environ.setdefault("PACTSTREAM_KAFKA_SESSION_SECONDS", "3")


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
    return fresh_prefix()


@pytest.fixture
def clickhouse_database(stack: StackAddresses) -> Iterator[ClickHouseAddress]:
    """An empty database of this test's own, dropped afterwards."""
    with fresh_database(stack) as database:
        yield database
