"""The oracle as a process of its own, for tests."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from pydantic import SecretStr

from oracle_api.settings import OracleSettings
from pactstream.settings import PREFIX, Settings, environment
from tests.stack import eventually


def free_port() -> int:
    """One that nobody listens on at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port


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
