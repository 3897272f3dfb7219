"""Settings of the sidecar."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr

from pactstream.settings import Settings

MIB = 1 << 20


class SidecarSettings(Settings):
    """What the sidecar is told. It has nothing to do with Kafka, so these are all of its settings."""

    gateway_url: str = Field("http://127.0.0.1:8080", description="Sidecar: the gateway.")
    api_key: SecretStr = Field(
        SecretStr(""), description="Sidecar: the API key that it sends with. Command line: default of `--key`."
    )
    sidecar_token: SecretStr = Field(
        SecretStr(""),
        description="Sidecar: what agents present in place of an API key, 16 characters or more.",
    )
    sidecar_open: bool = Field(
        False,
        description="Sidecar: take events from whoever reaches its address, without a token; for a pod or "
        "machine of one agent's own.",
    )
    sidecar_host: str = Field("127.0.0.1", description="Sidecar: address that it listens on.")
    sidecar_exposed: bool = Field(
        False,
        description="Sidecar: that address may be another than loopback; the token then crosses a network.",
    )
    sidecar_port: int = Field(8071, ge=1, le=65_535, description="Sidecar: port it listens on.")
    sidecar_dir: Path = Field(
        Path(".pactstream/sidecar"),
        description="Sidecar: directory of its buffer, on a disk that outlives the process.",
    )
    sidecar_max_bytes: int = Field(
        1 << 30,
        ge=2 * MIB,
        description="Sidecar: most that its buffer may take on disk; beyond, it answers 503. A few MiB of log "
        "come on top.",
    )
    sidecar_max_body_bytes: int = Field(
        MIB,
        ge=1_024,
        le=64 * MIB,
        description="Sidecar: largest body it takes; no more than the gateway takes.",
    )
    sidecar_connections: int = Field(
        64, ge=1, le=10_000, description="Sidecar: connections at once; beyond, it answers 503."
    )
    sidecar_retry_seconds: float = Field(
        600,
        gt=0,
        description="Sidecar: a batch that the gateway fails on for this long (5xx, no overload) is set aside.",
    )
    sidecar_journal: Path | None = Field(
        None,
        description="Sidecar: file that notes each event that the gateway acknowledged, for "
        "`pactstream verify sent`; none if unset.",
    )
    sidecar_journal_max_bytes: int = Field(
        64 * MIB, ge=MIB, description="Sidecar: most that it and the file before it take together."
    )
    sidecar_gateway_ca: Path | None = Field(
        None, description="Sidecar: CA bundle (PEM) that signs the gateway; system's if unset."
    )
    sidecar_allow_insecure: bool = Field(
        False, description="Sidecar: plain http to a gateway on another machine, in a network you trust."
    )
