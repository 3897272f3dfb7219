"""The sealer as a process: started from its environment, killed at any moment, stopped by SIGTERM."""

from __future__ import annotations

import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pactstream.devstack.ports import free_port
from pactstream.settings import environment
from tests.sealer_stack import Setup, build
from tests.sealer_tools import Evaluated
from tests.stack import ClickHouseAddress, eventually


@pytest.fixture
def setup(
    kafka_bootstrap: str, topic_prefix: str, clickhouse_database: ClickHouseAddress, tmp_path: Path
) -> Iterator[Setup]:
    with build(
        kafka_bootstrap,
        topic_prefix,
        clickhouse_database,
        tmp_path / "keys",
        key_dir=tmp_path / "keys",
        sealer_port=free_port(),
        segment_max_leaves=50,
    ) as made:
        yield made


def variables(setup: Setup) -> dict[str, str]:
    settings = setup.settings
    values = settings.model_dump(mode="json", exclude_none=True) | {
        "clickhouse_password": settings.clickhouse_password.get_secret_value(),
        "kafka_sasl_password": "",
    }
    return environment() | {f"PACTSTREAM_{name.upper()}": str(value) for name, value in values.items()}


@contextmanager
def process(setup: Setup) -> Iterator[subprocess.Popen[str]]:
    """A running sealer; killed on leaving if the test has not stopped it."""
    with subprocess.Popen(
        [sys.executable, "-m", "ledger_sealer"], env=variables(setup), stderr=subprocess.PIPE, text=True
    ) as started:
        try:
            yield started
        finally:
            started.kill()


def ready(setup: Setup) -> bool:
    try:
        with urllib.request.urlopen(
            f"http://127.0.0.1:{setup.settings.sealer_port}/readyz", timeout=5
        ) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError):
        return False


def test_killed_at_any_moment_and_started_again_every_leaf_is_there_once(setup: Setup) -> None:
    source = Evaluated()
    records = source.batches(200)
    for seen in (0, 500):
        with process(setup) as running:
            setup.write(records[:100])
            del records[:100]
            # More than was there: so the kill falls between two segments' inserts, or in one.
            eventually(lambda seen=seen: setup.count("room_events") > seen, 60, 0.01)  # type: ignore[misc]
            running.send_signal(signal.SIGKILL)
            running.wait(10)
    with process(setup):
        setup.wait_for(1_000)
    assert setup.count("room_events") == 1_000
    assert setup.findings() == []
    assert len({row[0] for row in setup.database.rows("SELECT event_id FROM room_events")}) == 1_000


def test_sigterm_finishes_what_is_open(setup: Setup) -> None:
    with process(setup) as running:
        eventually(lambda: ready(setup), 60, 0.05)
        setup.write(Evaluated().batches(4))
        setup.wait_for(20)
        running.send_signal(signal.SIGTERM)
        assert running.wait(20) == 0
    assert setup.findings() == []


def test_without_its_key_it_says_what_to_do(setup: Setup) -> None:
    (setup.settings.key_dir / "ledger.ed25519.pem").unlink()
    done = subprocess.run(
        [sys.executable, "-m", "ledger_sealer"],
        env=variables(setup),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 3
    assert done.stderr == ("ledger_sealer: ledger.ed25519.pem is missing: make it with `pactstream keys new`\n")


def test_the_key_may_come_from_the_environment(setup: Setup) -> None:
    pem = setup.settings.key_dir / "ledger.ed25519.pem"
    secret = pem.read_text()
    pem.unlink()
    assert "PRIVATE KEY" in secret
    with subprocess.Popen(
        [sys.executable, "-m", "ledger_sealer"],
        env=variables(setup) | {"PACTSTREAM_KEY_LEDGER_ED25519": secret, "PACTSTREAM_LOG_LEVEL": "DEBUG"},
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        try:
            eventually(lambda: ready(setup), 60, 0.05)
            running.send_signal(signal.SIGTERM)
            _, told = running.communicate(timeout=20)
        finally:
            running.kill()
    assert running.returncode == 0
    body = secret.splitlines()[1]
    assert body not in told
