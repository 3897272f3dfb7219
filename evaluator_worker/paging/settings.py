"""Settings of paging."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr

from pactstream.settings import ClickHouseSettings, ServiceSettings


class PagingSettings(ServiceSettings, ClickHouseSettings):
    """What paging adds to the settings of every service."""

    paging_port: int = Field(9110, description="Paging: port of health and metrics.")
    key_dir: Path = Field(Path("keys"), description="Directory of the signing keys.")
    paging_max_events: int = Field(
        2_000, ge=1, description="Paging: a transaction closes after this many events,"
    )
    paging_linger_seconds: float = Field(
        0.005, ge=0, le=1, description="Paging: or this long after its first record."
    )
    paging_max_age_hours: int = Field(
        24, ge=1, description="Paging: a violation that arrived longer ago opens no page any more."
    )
    paging_gateway_url: str = Field(
        "", description="Paging: address of the gateway, for links that act. Unset: pages have none."
    )
    paging_oracle_url: str = Field("", description="Paging: address of the oracle, for links to proofs.")
    paging_console_url: str = Field("", description="Paging: address of the console, for links to pages.")
    paging_link_hours: int = Field(24, ge=1, le=168, description="Paging: how long a link in a page works.")
    paging_allow_private: bool = Field(
        False,
        description="Paging: also deliver to http and to addresses of private networks; for development, or "
        "where all tenants are your own.",
    )
    paging_seconds: float = Field(5, gt=0, le=60, description="Paging: a receiver must have answered by then.")
    paging_fallback_kind: Literal["alertmanager", "pagerduty", "slack", "webhook"] = Field(
        "alertmanager", description="Paging: kind of the operator's own route, for pages that reach nobody."
    )
    paging_fallback_url: str = Field("", description="Paging: its address; it may be private. Unset: none.")
    paging_fallback_secret: SecretStr = Field(
        SecretStr(""), description="Paging: its secret: a bearer token, a routing key, or Slack's address."
    )
    paging_smtp_host: str = Field("", description="Paging: mail server. Unset: mail is not delivered.")
    paging_smtp_port: int = Field(587, ge=1, le=65_535, description="Paging: its port.")
    paging_smtp_user: str = Field("", description="Paging: its user; unset: no login.")
    paging_smtp_password: SecretStr = Field(SecretStr(""), description="Paging: its password.")
    paging_smtp_starttls: bool = Field(True, description="Paging: STARTTLS; anything but loopback wants it.")
    paging_smtp_from: str = Field(
        "pactstream@localhost", pattern="^[^\r\n]+@[^\r\n]+$", description="Paging: From of mails."
    )
