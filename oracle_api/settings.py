"""Settings of the oracle."""

from __future__ import annotations

import os
from pathlib import Path
from uuid import UUID

from pydantic import Field

from pactstream.settings import ClickHouseSettings, ServiceSettings
from pactstream.signing.keys import SigningKey, load_keys, load_keys_from_environment


class OracleSettings(ServiceSettings, ClickHouseSettings):
    """What the oracle adds to the settings of every service."""

    oracle_port: int = Field(8090, description="Oracle: port it listens on.")
    oracle_metrics_port: int = Field(
        9106, ge=0, le=65_535, description="Oracle: port of its metrics; 0: none are served."
    )
    issuer: str = Field(
        "",
        max_length=200,
        description="Name under which reports are signed, which verifiers pin. Default: the deployment's.",
    )
    key_dir: Path = Field(Path("keys"), description="Directory of the signing keys.")
    tiles_dir: Path | None = Field(
        None,
        description="Sealer: directory to publish the ledger into; without it, this process publishes nothing. "
        "Sealers share one directory, or one of them publishes for all. Oracle: serves the ledger from there.",
    )
    tiles_url: str = Field(
        "", description="Oracle: or from this address, where another server has the directory's files."
    )
    oracle_report_seconds: int = Field(
        300, ge=10, le=86_400, description="Oracle: how long a report is valid after it was issued."
    )
    oracle_max_age_seconds: int = Field(
        1, ge=0, le=60, description="Oracle: how long a cache may answer with a report without asking again."
    )
    oracle_requests_per_minute: int = Field(
        600, ge=1, description="Oracle: requests a minute that one address may make,"
    )
    oracle_burst: int = Field(120, ge=1, description="Oracle: and how many of them at once.")
    oracle_files_per_minute: int = Field(
        30_000, ge=1, description="Oracle: published ledger files a minute that one address may fetch,"
    )
    oracle_files_burst: int = Field(2_000, ge=1, description="Oracle: and how many of them at once.")
    oracle_limits_file: Path | None = Field(
        None,
        description="Oracle: file by which its processes on one host share limits; unset: each has its own.",
    )
    oracle_trusted_proxies: int = Field(
        0,
        ge=0,
        le=10,
        description="Oracle: how many proxies of ours stand in front and append to `X-Forwarded-For`.",
    )
    oracle_streams: int = Field(200, ge=1, description="Oracle: live streams at once, over all addresses,")
    oracle_streams_per_address: int = Field(10, ge=1, description="Oracle: and of one address.")
    oracle_poll_seconds: float = Field(
        0.5, ge=0.05, le=10, description="Oracle: how often ClickHouse is asked for news of a watched agent."
    )
    push_port: int = Field(9104, description="Push: port of health and metrics.")
    webhook_allow_private: bool = Field(
        False, description="Push: also post to http and to addresses of private networks; for development only."
    )
    demo_agent: UUID = Field(
        UUID("76cf31d6-ffe3-4a5c-8748-021114aa8066"), description="Agent that /demo shows unless asked."
    )

    @property
    def issuer_name(self) -> str:
        """The issuer, default included."""
        return self.issuer or self.deployment

    @property
    def ledger_source(self) -> str:
        """Where the published ledger is: an address, a directory, or nowhere (empty)."""
        return self.tiles_url or ("" if self.tiles_dir is None else str(self.tiles_dir))

    def report_keys(self) -> tuple[SigningKey, ...]:
        """The keys that sign reports: from the environment if they stand there, else from `key_dir`.

        Raises:
            SigningKeyError: they are missing, exposed or malformed.
        """
        return load_keys_from_environment(os.environ, "report") or load_keys(self.key_dir, "report")
