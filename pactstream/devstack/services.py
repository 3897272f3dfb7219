"""The services as processes of their own on this machine, on top of a running stack."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import urllib3
from pydantic import SecretStr

from pactstream.clickhouse import migrate
from pactstream.devstack import ports
from pactstream.devstack.supervisor import Program, Supervisor, python_program
from pactstream.kafka import topics
from pactstream.paging import keys as paging_keys
from pactstream.settings import ClickHouseSettings, KafkaSettings
from pactstream.signing import keys
from pactstream.webhooks import signature

DEPLOYMENT = "pactstream.local"
SERVICES = ("ingest_gateway", "evaluator_worker", "ledger_sealer", "score_aggregator", "oracle_api")
PAGING = "evaluator_worker.paging"
CONSOLE = "oracle_api.console"
ANOMALIES = ("evaluator_worker.behaviour", "evaluator_worker.anomaly")
_START_SECONDS = 120.0
_http = urllib3.PoolManager(retries=False, timeout=2.0)


@dataclass(frozen=True)
class Services:
    """Where everything is, and how each service is started; `start` may be called again after a kill.

    `environment_of` are further variables of single services, `operator` the Kafka settings of whoever
    prepares: on a secured broker each is a user of its own.
    """

    supervisor: Supervisor
    data_dir: Path
    kafka_bootstrap: str
    clickhouse_host: str
    clickhouse_port: int
    gateway_port: int
    oracle_port: int
    console_port: int = field(default_factory=ports.free_port)
    database: str = "pactstream"
    topic_prefix: str = ""
    clickhouse_user: str = "default"
    clickhouse_password: str = field(default="", repr=False)
    admin_key: str = field(default_factory=lambda: "adm_" + secrets.token_urlsafe(32), repr=False)
    extra_environment: Mapping[str, str] = field(default_factory=dict)
    environment_of: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)
    operator: Mapping[str, Any] = field(default_factory=dict, repr=False)
    worker_ports: dict[str, int] = field(
        default_factory=lambda: {name: ports.free_port() for name in (*SERVICES[1:4], PAGING, *ANOMALIES)}
    )

    metrics_ports: dict[str, int] = field(
        default_factory=lambda: {name: ports.free_port() for name in ("GATEWAY", "ORACLE")}
    )

    @property
    def gateway_url(self) -> str:
        """Where events go in."""
        return f"http://{ports.LOOPBACK}:{self.gateway_port}"

    @property
    def oracle_url(self) -> str:
        """Where trust reports come out."""
        return f"http://{ports.LOOPBACK}:{self.oracle_port}"

    @property
    def console_url(self) -> str:
        """Where people look, if it is started."""
        return f"http://{ports.LOOPBACK}:{self.console_port}/console"

    @property
    def key_dir(self) -> Path:
        """The deployment's signing keys."""
        return self.data_dir / "keys"

    @property
    def tiles_dir(self) -> Path:
        """Where the sealer publishes the ledger, and the oracle serves it from."""
        return self.data_dir / "published"

    @property
    def kafka(self) -> KafkaSettings:
        """How to reach the services' topics."""
        return KafkaSettings(
            kafka_bootstrap=self.kafka_bootstrap, kafka_topic_prefix=self.topic_prefix, **self.operator
        )

    @property
    def clickhouse(self) -> ClickHouseSettings:
        """How to reach the services' database."""
        return ClickHouseSettings(
            clickhouse_host=self.clickhouse_host,
            clickhouse_port=self.clickhouse_port,
            clickhouse_user=self.clickhouse_user,
            clickhouse_password=SecretStr(self.clickhouse_password),
            clickhouse_database=self.database,
        )

    def prepare(self, partitions: int = 4) -> None:
        """Make what the services expect to find: keys, topics, tables."""
        for purpose in keys.ALGORITHMS:
            keys.create_keys(self.key_dir, purpose)
        signature.create_key(self.key_dir)
        paging_keys.create_key(self.key_dir)
        keys.create_secret(self.key_dir / keys.CONSOLE_FILE)
        topics.apply(self.kafka, partitions=partitions, replication=1)
        migrate.apply(self.clickhouse)

    def environment(self) -> dict[str, str]:
        """The settings of all of them, and of the commands that administer them."""
        return {
            "PACTSTREAM_DEPLOYMENT": DEPLOYMENT,
            "PACTSTREAM_INSTANCE": "local",
            "PACTSTREAM_KAFKA_BOOTSTRAP": self.kafka_bootstrap,
            "PACTSTREAM_KAFKA_TOPIC_PREFIX": self.topic_prefix,
            "PACTSTREAM_CLICKHOUSE_HOST": self.clickhouse_host,
            "PACTSTREAM_CLICKHOUSE_PORT": str(self.clickhouse_port),
            "PACTSTREAM_CLICKHOUSE_USER": self.clickhouse_user,
            "PACTSTREAM_CLICKHOUSE_PASSWORD": self.clickhouse_password,
            "PACTSTREAM_CLICKHOUSE_DATABASE": self.database,
            "PACTSTREAM_KEY_DIR": str(self.key_dir),
            "PACTSTREAM_TILES_DIR": str(self.tiles_dir),
            "PACTSTREAM_GATEWAY_PORT": str(self.gateway_port),
            "PACTSTREAM_GATEWAY_ADMIN_KEY_SHA256": hashlib.sha256(self.admin_key.encode()).hexdigest(),
            "PACTSTREAM_EVALUATOR_PORT": str(self.worker_ports["evaluator_worker"]),
            "PACTSTREAM_SEALER_PORT": str(self.worker_ports["ledger_sealer"]),
            "PACTSTREAM_AGGREGATOR_PORT": str(self.worker_ports["score_aggregator"]),
            "PACTSTREAM_ORACLE_PORT": str(self.oracle_port),
            "PACTSTREAM_BEHAVIOUR_PORT": str(self.worker_ports[ANOMALIES[0]]),
            "PACTSTREAM_ANOMALY_PORT": str(self.worker_ports[ANOMALIES[1]]),
            "PACTSTREAM_ANOMALY_DATA_DIR": str(self.data_dir / "anomaly"),
            "PACTSTREAM_PAGING_PORT": str(self.worker_ports[PAGING]),
            "PACTSTREAM_PAGING_GATEWAY_URL": self.gateway_url,
            "PACTSTREAM_PAGING_ORACLE_URL": self.oracle_url,
            "PACTSTREAM_PAGING_CONSOLE_URL": self.console_url.removesuffix("/console"),
            # Receivers of a development stack are on this machine.
            "PACTSTREAM_PAGING_ALLOW_PRIVATE": "true",
            "PACTSTREAM_CONSOLE_PORT": str(self.console_port),
            "PACTSTREAM_CONSOLE_METRICS_PORT": "0",
            "PACTSTREAM_GATEWAY_URL": self.gateway_url,
            **{f"PACTSTREAM_{name}_METRICS_PORT": str(port) for name, port in self.metrics_ports.items()},
            **self.extra_environment,
        }

    def start(self, names: Iterable[str] = SERVICES, on_ready: Callable[[str], None] = lambda _: None) -> None:
        """Start services side by side and wait until each is ready.

        Raises:
            ChildFailed: one ended, or was not ready in time; the message has the last error of its log.
        """
        started = [(name, self.supervisor.start(self._program(name))) for name in names]
        port = {
            "ingest_gateway": self.gateway_port,
            "oracle_api": self.oracle_port,
            CONSOLE: self.console_port,
            **self.worker_ports,
        }
        for name, child in started:
            self.supervisor.wait_ready(child, partial(_ready, port[name]), _START_SECONDS)
            on_ready(name)

    def _environment_of(self, name: str) -> dict[str, str]:
        return {**self.environment(), **self.environment_of.get(name, {})}

    def _program(self, name: str) -> Program:
        log = self.data_dir / f"{name}.log"
        return python_program(name, name, log_file=log, env=self._environment_of(name))


def _ready(port: int) -> bool:
    try:
        answer = _http.request("GET", f"http://{ports.LOOPBACK}:{port}/readyz")
    except urllib3.exceptions.HTTPError:
        return False
    return answer.status == 200
