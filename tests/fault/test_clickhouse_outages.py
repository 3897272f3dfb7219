"""ClickHouse down, slow, full, cut off or killed in the middle of an insert: nothing is lost or doubled."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event

import pytest
import urllib3

from ledger_sealer import metrics
from ledger_sealer.projector import Projector
from ledger_sealer.settings import SealerSettings
from pactstream.clickhouse.client import ClickHouse
from pactstream.devstack import ports
from tests.clickhouse_proxy import Fault, Proxy
from tests.sealer_stack import Setup, build, running
from tests.sealer_tools import Evaluated
from tests.stack import ClickHouseAddress, eventually

SEGMENTS, LEAVES = 3, 45


@contextmanager
def projecting_through(proxy: Proxy, settings: SealerSettings) -> Iterator[None]:
    """The projector, with nothing but the proxy between it and ClickHouse."""
    behind = settings.model_copy(update={"clickhouse_host": "127.0.0.1", "clickhouse_port": proxy.port})
    with ClickHouse(behind) as database, running(Projector(behind, database).run):
        yield


def seal(setup: Setup) -> None:
    """Three segments of fifteen leaves."""
    source = Evaluated()
    for number in range(1, SEGMENTS + 1):
        setup.write(source.batches(3))
        setup.seal(number * LEAVES // SEGMENTS)


def assert_each_once(setup: Setup) -> None:
    """Every leaf, value and segment that was sealed, once, and as it was sealed."""
    assert setup.findings() == []
    assert setup.count("room_events") == LEAVES
    assert setup.count("ledger_segments") == len(setup.published())
    (values, different), (expected,) = (
        setup.database.rows("SELECT count(), uniqExact(log, leaf_index, field) FROM room_event_payloads")[0],
        setup.database.rows("SELECT sum(length(JSONExtractKeys(leaf, 'commitments'))) FROM room_events")[0],
    )
    assert values == different == expected > 0


@pytest.fixture
def setup(
    kafka_bootstrap: str, topic_prefix: str, clickhouse_database: ClickHouseAddress, tmp_path: Path
) -> Iterator[Setup]:
    with build(kafka_bootstrap, topic_prefix, clickhouse_database, tmp_path / "keys") as made:
        yield made


def test_down_sealing_goes_on_and_the_lag_shows(setup: Setup) -> None:
    lag = metrics.PROJECTION_LAG.labels("0")
    with Proxy((setup.settings.clickhouse_host, setup.settings.clickhouse_port)) as proxy:
        proxy.down = True
        with projecting_through(proxy, setup.settings):
            seal(setup)
            assert len(setup.published()) >= SEGMENTS
            assert setup.sealed_leaves() == 0
            seen = eventually(lambda: value_of(lag), 30)
            eventually(lambda: value_of(lag) > seen, 30)
            proxy.down = False
            setup.wait_for(LEAVES)
            eventually(lambda: value_of(lag) == 0, 10)
    assert_each_once(setup)


def value_of(gauge: object) -> float:
    (family,) = gauge.collect()  # type: ignore[attr-defined]
    return float(family.samples[0].value)


@pytest.mark.parametrize(
    "faults",
    [
        ["cut", "answer lost", "full", "refused"],
        # Payloads in, events cut; payloads and events in, the segment's answer lost.
        ["slow", "cut", "slow", "slow", "answer lost"],
    ],
)
def test_spoiled_inserts_are_made_good(setup: Setup, faults: list[Fault]) -> None:
    seal(setup)
    with Proxy((setup.settings.clickhouse_host, setup.settings.clickhouse_port)) as proxy:
        proxy.faults.extend(faults)
        with projecting_through(proxy, setup.settings):
            setup.wait_for(LEAVES)
        assert not proxy.faults
    assert_each_once(setup)


class Server:
    """A ClickHouse of this test's own, to be killed."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self.port = ports.free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        module = "pactstream.devstack.clickhouse"
        arguments = ["--data-dir", str(self._data_dir), "--port", str(self.port)]
        self._process = subprocess.Popen([sys.executable, "-m", module, *arguments])
        pool = urllib3.PoolManager(retries=False, timeout=1)
        eventually(lambda: _answers(lambda: pool.request("GET", f"http://127.0.0.1:{self.port}/ping")), 60)
        pool.clear()

    def kill(self) -> None:
        """As a lost machine does; not even a signal handler runs."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None


def _answers(ask: Callable[[], urllib3.BaseHTTPResponse]) -> bool:
    try:
        return ask().status == 200
    except urllib3.exceptions.HTTPError:
        return False


@pytest.mark.parametrize("inserts_before", [0, 1, 2], ids=["payloads", "events", "segment"])
def test_killed_in_an_insert_and_started_again(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path, inserts_before: int
) -> None:
    """The block has reached the server; whether it was written, nobody was told."""
    server = Server(tmp_path / "clickhouse")
    server.start()
    with ExitStack() as stack:
        stack.callback(server.kill)
        address = ClickHouseAddress("127.0.0.1", server.port, "default", "", "ours")
        setup = stack.enter_context(build(kafka_bootstrap, topic_prefix, address, tmp_path / "keys"))
        seal(setup)
        proxy = stack.enter_context(Proxy(("127.0.0.1", server.port)))

        restarted = Event()

        def restart() -> None:
            server.kill()
            server.start()
            restarted.set()

        proxy.before_answer = restart
        slow: Fault = "slow"
        proxy.faults.extend([*[slow] * inserts_before, "answer lost"])
        with projecting_through(proxy, setup.settings):
            assert restarted.wait(60)
            setup.wait_for(LEAVES)
        assert_each_once(setup)
