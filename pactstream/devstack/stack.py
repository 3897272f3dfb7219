"""Kafka and ClickHouse together, started side by side."""

from __future__ import annotations

import fcntl
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from pactstream.devstack import jars, ports
from pactstream.devstack.errors import AlreadyRunning
from pactstream.devstack.kafka import Broker
from pactstream.devstack.reporter import Quiet, Reporter
from pactstream.devstack.supervisor import Program, Supervisor, python_program

_DATA_BYTES = 256 << 20


class Stack:
    """A context manager: inside it both are ready; after it both are stopped, and the data stays in `data_dir`.

    `None` for a port takes a free one. Entering raises a subclass of `pactstream.errors.Fatal` with one line
    that says what to do. `supervisor` may be given further programs; they stop before Kafka and ClickHouse do.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        reporter: Reporter | None = None,
        kafka_port: int | None = None,
        clickhouse_port: int | None = None,
        cache_dir: Path | None = None,
    ) -> None:
        self._data_dir = data_dir.absolute()
        self._reporter = reporter or Quiet()
        self._wanted = (kafka_port, clickhouse_port)
        self._cache_dir = cache_dir
        self._exit = ExitStack()
        self.supervisor = Supervisor()
        self._kafka_port = 0
        self.clickhouse_port = 0

    clickhouse_host = ports.LOOPBACK

    @property
    def kafka_bootstrap(self) -> str:
        """`host:port` for Kafka clients."""
        return f"{ports.LOOPBACK}:{self._kafka_port}"

    @property
    def clickhouse_url(self) -> str:
        """The address of ClickHouse's HTTP interface."""
        return f"http://{self.clickhouse_host}:{self.clickhouse_port}"

    def __enter__(self) -> Self:
        with self._exit as cleanup:
            jars.check_space(self._data_dir, _DATA_BYTES)
            cleanup.enter_context(_hold(self._data_dir))
            self._kafka_port = ports.claim_port(self._wanted[0], "Kafka")
            self.clickhouse_port = ports.claim_port(self._wanted[1], "ClickHouse")
            cleanup.enter_context(self.supervisor)
            self._start()
            self._exit = cleanup.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exit.close()

    def _start(self) -> None:
        with ThreadPoolExecutor(2) as pool:
            starts = (pool.submit(self._start_clickhouse), pool.submit(self._start_kafka))
            for start in starts:
                start.result()

    def _start_clickhouse(self) -> None:
        self._reporter.say("Starting ClickHouse")
        data_dir = self._data_dir / "clickhouse"
        data_dir.mkdir(exist_ok=True)
        child = self.supervisor.start(self._clickhouse_program(data_dir))
        self.supervisor.wait_ready(child, lambda: ports.answers(self.clickhouse_port))
        self._reporter.say(f"ClickHouse is ready at {self.clickhouse_url}")

    def _clickhouse_program(self, data_dir: Path) -> Program:
        return python_program(
            "ClickHouse",
            "pactstream.devstack.clickhouse",
            "--data-dir",
            str(data_dir),
            "--port",
            str(self.clickhouse_port),
            log_file=self._data_dir / "clickhouse.log",
        )

    def _start_kafka(self) -> None:
        classpath = jars.classpath(self._reporter, self._cache_dir)
        self._reporter.say("Starting Kafka")
        broker = Broker(self._data_dir / "kafka", classpath, self._kafka_port, ports.free_port())
        broker.prepare()
        child = self.supervisor.start(broker.program())
        self.supervisor.wait_ready(child, broker.is_ready)
        self._reporter.say(f"Kafka is ready at {broker.bootstrap}")


def _hold(data_dir: Path) -> IO[str]:
    """Take the data directory for this process; the kernel lets go of it however the process ends."""
    lock = (data_dir / "stack.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.close()
        raise AlreadyRunning(
            f"another stack is running on {data_dir}: stop it, or choose another directory (--data-dir)"
        ) from error
    return lock
