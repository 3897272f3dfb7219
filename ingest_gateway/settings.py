"""Settings of the gateway."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from pactstream.events.parse import MAX_EVENTS
from pactstream.preflight.settings import PreflightSettings
from pactstream.settings import ServiceSettings


class GatewaySettings(ServiceSettings, PreflightSettings):
    """What the gateway adds to the settings of every service."""

    gateway_port: int = Field(8080, description="Gateway: port it listens on.")
    gateway_metrics_port: int = Field(
        9105, ge=0, le=65_535, description="Gateway: port of its metrics; 0: none are served."
    )
    gateway_start_seconds: float = Field(
        60, gt=0, description="Gateway: how long it waits for Kafka at its start before it gives up."
    )
    gateway_admin_key_sha256: str = Field(
        "",
        pattern="^([0-9a-fA-F]{64})?$",
        description="Gateway: hex SHA-256 of the administrators' key. Unset: nobody administers.",
    )
    gateway_max_body_bytes: int = Field(
        1 << 20,
        ge=1_024,
        le=4 << 20,
        description="Gateway: largest request body, compressed and decompressed alike.",
    )
    gateway_body_timeout_seconds: float = Field(
        10, gt=0, le=300, description="Gateway: a body must have arrived after this time."
    )
    gateway_buffer_bytes: int = Field(
        256 << 20, ge=4 << 20, description="Gateway: memory for all bodies under way; beyond it, 503."
    )
    gateway_publish_timeout_seconds: float = Field(
        5,
        gt=0,
        le=60,
        description="Gateway: Kafka must have acknowledged after this time, or the answer is 503.",
    )
    gateway_events_per_second: int = Field(
        1_000, ge=1, description="Gateway: events a second that one API key may send,"
    )
    gateway_events_burst: int = Field(
        10_000, ge=MAX_EVENTS, description="Gateway: and how many of them at once."
    )
    gateway_preflights_per_second: int = Field(
        200, ge=1, description="Gateway: pre-flight questions a second that one API key may ask."
    )
    gateway_preflight_timeout_seconds: float = Field(
        2.5, gt=0, le=30, description="Gateway: an evaluator must have answered after this time, or it is 503."
    )
    gateway_pact_writes_per_minute: int = Field(
        60, ge=1, description="Gateway: pact versions a minute that one API key may write."
    )
    gateway_pact_versions_per_tenant: int = Field(
        1_000, ge=1, description="Gateway: pact versions a tenant may have: every process keeps them all."
    )
    gateway_failures_per_minute: int = Field(
        60, ge=1, description="Gateway: failed authentications a minute of one address; beyond, 429 for 401."
    )
    key_dir: Path = Field(Path("keys"), description="Directory of the signing keys.")
    paging_allow_private: bool = Field(
        False,
        description="Paging: also deliver to http and to addresses of private networks; for development, or "
        "where all tenants are your own.",
    )
    gateway_cors_origins: str = Field(
        "",
        pattern=r"^(https?://[^/,*\s]+(,https?://[^/,*\s]+)*)?$",
        description="Gateway: origins whose pages may ask it, as in `https://agents.example.org`, separated by "
        "commas. Unset: none.",
    )
    gateway_trusted_proxies: int = Field(
        0,
        ge=0,
        le=10,
        description="Gateway: how many proxies of ours stand in front and append to `X-Forwarded-For`.",
    )
