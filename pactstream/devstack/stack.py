"""Kafka and ClickHouse together, started side by side."""

from __future__ import annotations

import fcntl
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from pactstream.devstack import jars, ports
from pactstream.devstack.errors import AlreadyRunning
from pactstream.devstack.kafka import Broker
from pactstream.devstack.reporter import Quiet, Reporter
from pactstream.devstack.security import Security
from pactstream.devstack.supervisor import Child, Program, Supervisor, python_program

_DATA_BYTES = 256 << 20


class Stack:
    """A context manager: inside it both are ready; after it both are stopped, and the data stays in `data_dir`.

    `None` for a port takes the last start's, or any free one. Entering raises a subclass of
    `pactstream.errors.Fatal` with one line that says what to do. `supervisor` may be given further programs;
    they stop before Kafka and ClickHouse do.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        reporter: Reporter | None = None,
        kafka_port: int | None = None,
        clickhouse_port: int | None = None,
        cache_dir: Path | None = None,
        kafka_security: Security | None = None,
    ) -> None:
        self._data_dir = data_dir.absolute()
        self._reporter = reporter or Quiet()
        self._ports: dict[str, int] = {}
        self._wanted_ports = {"Kafka": kafka_port, "Kafka controller": None, "ClickHouse": clickhouse_port}
        self._cache_dir = cache_dir
        self._kafka_security = kafka_security
        self._exit = ExitStack()
        self.supervisor = Supervisor()

    clickhouse_host = ports.LOOPBACK

    @property
    def kafka_bootstrap(self) -> str:
        """`host:port` for Kafka clients."""
        return f"{ports.LOOPBACK}:{self._ports['Kafka']}"

    @property
    def clickhouse_port(self) -> int:
        """The port of ClickHouse's HTTP interface."""
        return self._ports["ClickHouse"]

    @property
    def clickhouse_url(self) -> str:
        """The address of ClickHouse's HTTP interface."""
        return f"http://{self.clickhouse_host}:{self.clickhouse_port}"

    def __enter__(self) -> Self:
        with self._exit as cleanup:
            jars.check_space(self._data_dir, _DATA_BYTES)
            cleanup.enter_context(_hold(self._data_dir))
            self._ports = ports.claim_ports(self._wanted_ports, self._data_dir / "ports.json")
            cleanup.enter_context(self.supervisor)
            self._start()
            self._exit = cleanup.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exit.close()

    def restart_kafka(self) -> None:
        """Stop the broker and start it again, on the same port; returns when it is ready."""
        self.supervisor.stop("Kafka")
        broker = self._prepare_kafka()
        self.supervisor.wait_ready(self._start_kafka(broker), broker.is_ready)

    def _start(self) -> None:
        clickhouse = self.supervisor.start(self._clickhouse_program())  # comes up while Kafka is prepared
        broker = self._prepare_kafka()
        kafka = self._start_kafka(broker)
        self.supervisor.wait_ready(clickhouse, lambda: ports.answers(self.clickhouse_port))
        self._reporter.say(f"ClickHouse is ready at {self.clickhouse_url}")
        self.supervisor.wait_ready(kafka, broker.is_ready)
        self._reporter.say(f"Kafka is ready at {self.kafka_bootstrap}")

    def _start_kafka(self, broker: Broker) -> Child:
        if broker.was_killed():
            self._end_old_session(broker)
        return self.supervisor.start(broker.program())

    def _end_old_session(self, broker: Broker) -> None:
        self._reporter.say("Kafka was killed the last time: tidying up")
        controller = self.supervisor.start(broker.controller_program())
        self.supervisor.wait_ready(controller, broker.has_fenced())
        self.supervisor.stop(controller.program.name)

    def _clickhouse_program(self) -> Program:
        data_dir = self._data_dir / "clickhouse"
        data_dir.mkdir(exist_ok=True)
        arguments = ("--data-dir", str(data_dir), "--port", str(self.clickhouse_port))
        return python_program(
            "ClickHouse",
            "pactstream.devstack.clickhouse",
            *arguments,
            log_file=self._data_dir / "clickhouse.log",
        )

    def _prepare_kafka(self) -> Broker:
        classpath = jars.classpath(self._reporter, self._cache_dir)
        self._reporter.say("Starting Kafka and ClickHouse")
        port, controller_port = self._ports["Kafka"], self._ports["Kafka controller"]
        broker = Broker(
            self._data_dir / "kafka", classpath, port, controller_port, security=self._kafka_security
        )
        broker.prepare()
        return broker


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
