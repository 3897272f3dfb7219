"""The oracle as a process of its own, for tests."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr

from oracle_api.settings import OracleSettings
from pactstream.clickhouse import migrate
from pactstream.settings import PREFIX, Settings, environment
from pactstream.signing.keys import create_keys
from tests.kafka_tools import create_topics
from tests.oracle_tools import DEPLOYMENT
from tests.stack import ClickHouseAddress, eventually


def free_port() -> int:
    """One that nobody listens on at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port


def prepared(
    bootstrap: str, prefix: str, clickhouse: ClickHouseAddress, tmp_path: Path, **more: Any
) -> OracleSettings:
    """Settings of an oracle on the test's stack, whose keys, topics and tables are made."""
    create_keys(tmp_path / "keys", "report")
    ours = OracleSettings(
        deployment=DEPLOYMENT,
        oracle_port=free_port(),
        oracle_metrics_port=0,
        key_dir=tmp_path / "keys",
        kafka_bootstrap=bootstrap,
        kafka_topic_prefix=prefix,
        clickhouse_host=clickhouse.host,
        clickhouse_port=clickhouse.port,
        clickhouse_user=clickhouse.user,
        clickhouse_password=SecretStr(clickhouse.password),
        clickhouse_database=clickhouse.database,
        **more,
    )
    create_topics(ours)
    migrate.apply(ours)
    return ours


def variables(settings: Settings) -> dict[str, str]:
    """Settings as the environment that gives them."""
    return {
        PREFIX + name.upper(): value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        for name, value in settings
        if value is not None
    }


@contextmanager
def oracle(settings: OracleSettings) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Its address and its process, ready; stopped with SIGTERM on leaving if it still runs."""
    process = subprocess.Popen(
        [sys.executable, "-m", "oracle_api"],
        env=environment() | variables(settings),
        stderr=subprocess.PIPE,
        text=True,
    )
    url = f"http://127.0.0.1:{settings.oracle_port}"
    try:
        eventually(lambda: _ready(url, process), timeout=30)
        yield url, process
    finally:
        process.terminate()
        process.communicate(timeout=30)


def _ready(url: str, process: subprocess.Popen[str]) -> bool:
    if process.poll() is not None:
        raise AssertionError(f"the oracle ended: {process.communicate()[1]}")
    try:
        return httpx.get(f"{url}/readyz", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False
