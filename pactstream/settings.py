"""Settings every service shares, read from environment variables in this one place.

A service's own `settings.py` extends `ServiceSettings`. Each field is described once, here; the table in
`docs/settings.md` is made from these descriptions.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from pactstream.errors import Detail, Fatal

PREFIX = "PACTSTREAM_"

S = TypeVar("S", bound="Settings")


class Settings(BaseSettings):
    """Base of every settings class: variables begin with `PACTSTREAM_`, empty ones count as unset."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="ignore")


class KafkaSettings(Settings):
    """How to reach Kafka."""

    kafka_bootstrap: str = Field(
        "127.0.0.1:9092", description="Kafka brokers, `host:port`, separated by commas."
    )
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="As librdkafka's `security.protocol`; anything but loopback wants SASL_SSL."
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "SCRAM-SHA-512", description="SASL mechanism, where the protocol has SASL."
    )
    kafka_sasl_username: str = Field("", description="SASL user.")
    kafka_sasl_password: SecretStr = Field(SecretStr(""), description="SASL password.")
    kafka_ssl_ca: Path | None = Field(
        None, description="CA bundle (PEM) that signs the brokers; system's if unset."
    )
    kafka_ssl_certificate: Path | None = Field(None, description="Client certificate (PEM), for mutual TLS.")
    kafka_ssl_key: Path | None = Field(None, description="Client key (PEM), for mutual TLS.")
    kafka_session_seconds: float = Field(
        10,
        ge=1,
        le=300,
        description="After this long without a sign of life, a worker's partitions go to its peers.",
    )
    kafka_topic_prefix: str = Field("", description="Put before every topic, group and transactional id.")


class ClickHouseSettings(Settings):
    """How to reach ClickHouse."""

    clickhouse_host: str = Field("127.0.0.1", description="ClickHouse's host.")
    clickhouse_port: int = Field(8123, description="ClickHouse's HTTP port.")
    clickhouse_user: str = Field("default", description="ClickHouse user.")
    clickhouse_password: SecretStr = Field(SecretStr(""), description="ClickHouse password.")
    clickhouse_database: str = Field(
        "pactstream", pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$", description="Database."
    )
    clickhouse_cluster: str = Field(
        "",
        pattern=r"^([A-Za-z_][A-Za-z0-9_]{0,63})?$",
        description="Cluster (`remote_servers`) that tables are replicated and sharded over. Unset: one "
        "server. The same for all processes, and chosen before the first migration.",
    )
    clickhouse_secure: bool = Field(False, description="HTTPS to ClickHouse; anything but loopback wants it.")
    clickhouse_ca: Path | None = Field(
        None, description="CA bundle (PEM) that signs ClickHouse; system's if unset."
    )


class SchemaSettings(Settings):
    """Which versions of records are written; every version is read."""

    write_schemas_up_to: int | None = Field(
        None,
        ge=1,
        description="Write no version of a record with a schema id above this one, while older processes must "
        "still read it: [Upgrades](upgrades.md). Unset: the newest.",
    )


class ServiceSettings(KafkaSettings):
    """What every service has."""

    deployment: str = Field(
        "pactstream.local",
        pattern=r"^[a-z0-9.-]{1,100}$",
        description="Name of this deployment, a domain you own: first part of every log's origin.",
    )
    instance: str = Field(
        default_factory=socket.gethostname,
        pattern=r"^[A-Za-z0-9._-]{1,100}$",
        description="Name of this process: the same after a restart, different from its peers'. Part of the "
        "transactional id, by which a restarted process cuts off its former self. Default: the host name.",
    )
    state_dir: Path | None = Field(
        None,
        description="Directory on a local disk for the state of workers, which may then be larger than "
        "memory. It is a copy of what is in Kafka. Unset: in memory.",
    )
    bind_host: str = Field("127.0.0.1", description="Address that the service listens on.")
    tls_certificate: Path | None = Field(
        None,
        description="Gateway, oracle: certificate with its chain (PEM); set it and its key to serve HTTPS.",
    )
    tls_key: Path | None = Field(None, description="Gateway, oracle: its key (PEM).")
    metrics_host: str = Field(
        "127.0.0.1", description="Address that the gateway's and the oracle's metrics are served on."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Least severe log line shown."
    )
    tracing_enabled: bool = Field(
        False,
        description="OpenTelemetry traces of this process, by OTLP over HTTP; where to and how many, the "
        "standard `OTEL_EXPORTER_OTLP_*` and `OTEL_TRACES_SAMPLER` say. Needs the extra `tracing`.",
    )


def load(cls: type[S], **given: Any) -> S:
    """The settings of `cls` from the environment; what is `given` goes before.

    Raises:
        Fatal: a variable does not fit; names the variable, never its value.
    """
    try:
        return cls(**given)
    except ValidationError as error:
        faults = [Detail(PREFIX + str(one["loc"][0]).upper(), one["msg"]) for one in error.errors()]
        raise Fatal("; ".join(f"{path}: {message}" for path, message in faults)) from None


def environment(prefix: str = PREFIX) -> dict[str, str]:
    """The process environment without our own variables: what a child starts from."""
    return {name: value for name, value in os.environ.items() if not name.startswith(prefix)}


def markdown_table(classes: Iterable[type[Settings]]) -> str:
    """The documentation of `classes`: one row a variable, each variable once."""
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    seen = set()
    for cls in classes:
        for name, field in cls.model_fields.items():
            if name in seen:
                continue
            seen.add(name)
            default = "" if field.is_required() or field.default_factory else _shown(field.default)
            lines.append(f"| `{PREFIX}{name.upper()}` | {default} | {field.description} |")
    return "\n".join(lines) + "\n"


def _shown(default: object) -> str:
    if default is None or default == "" or isinstance(default, SecretStr):
        return ""
    return f"`{default}`"
