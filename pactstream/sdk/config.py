"""The settings of one `Telemetry`, checked when it is made: the one moment at which the SDK may raise."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal, get_args
from urllib.parse import urlsplit
from uuid import UUID

from pactstream.sdk.verdict import SEVERITIES, Severity

Unavailable = Literal["block", "allow"]

MAX_BATCH_EVENTS = 500
"""The gateway takes no more in one request."""
_MIN_JOURNAL_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What `Telemetry` was given; `Telemetry` documents each.

    Raises:
        ValueError: a value is out of range. The message never holds the API key.
    """

    api_key: Secret
    base_url: str
    agent_id: UUID
    pact_id: UUID | None
    batch_size: int
    flush_interval_seconds: float
    max_buffered_events: int
    max_buffered_bytes: int
    request_timeout_seconds: float
    close_timeout_seconds: float
    retry_first_seconds: float
    retry_max_seconds: float
    retry_for_seconds: float
    compress_over_bytes: int | None
    block_on: Severity | None
    preflight_unavailable: Unavailable
    preflight_timeout_seconds: float
    reserve: bool
    ca_certs: str | None
    journal: Path | None
    journal_max_bytes: int

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name.endswith("_seconds") and not 0 < value < 86_400:
                raise ValueError(f"{field.name} must be above 0 and below 86,400, not {value!r}")
        if not 1 <= self.batch_size <= MAX_BATCH_EVENTS:
            raise ValueError(f"batch_size must be 1 to {MAX_BATCH_EVENTS}, not {self.batch_size!r}")
        if self.max_buffered_events < self.batch_size:
            raise ValueError("max_buffered_events must be at least batch_size")
        if self.max_buffered_bytes < 1:
            raise ValueError("max_buffered_bytes must be positive")
        if self.journal_max_bytes < _MIN_JOURNAL_BYTES:
            raise ValueError(f"journal_max_bytes must be at least {_MIN_JOURNAL_BYTES}")
        if self.block_on is not None and self.block_on not in SEVERITIES:
            raise ValueError(f"block_on must be one of {', '.join(SEVERITIES)} or None, not {self.block_on!r}")
        if self.reserve and self.block_on is None:
            raise ValueError("reserve asks before each call, so it needs block_on")
        if self.preflight_unavailable not in get_args(Unavailable):
            raise ValueError("preflight_unavailable must be 'block' or 'allow'")


class Secret:
    """An API key that does not show itself in a repr, a log line or a traceback's locals."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        if not isinstance(value, str) or not value.isascii() or not value.isprintable() or " " in value:
            raise ValueError("api_key must be printable ASCII without spaces")
        if not value:
            raise ValueError("api_key is empty")
        self._value = value

    def reveal(self) -> str:
        """The key itself."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"


def checked_url(base_url: str, *, allow_insecure: bool) -> str:
    """`base_url` without a trailing slash.

    Raises:
        ValueError: not an http(s) URL, or plain http to another machine, where the API key could be read on the
            way, without `allow_insecure`.
    """
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("base_url must be an http or https URL without query and fragment")
    if parts.username is not None or parts.password is not None:
        raise ValueError("base_url must not hold credentials")
    if parts.scheme == "http" and not allow_insecure and not is_loopback(parts.hostname):
        raise ValueError(
            f"base_url is plain http to {parts.hostname}, which would show the API key to the network: "
            "use https, or allow_insecure=True if the network is trusted"
        )
    return base_url.rstrip("/")


def checked_uuid(name: str, value: UUID | str) -> UUID:
    """A UUID, given as one or as text.

    Raises:
        ValueError: `value` is not a UUID.
    """
    try:
        return value if isinstance(value, UUID) else UUID(value)
    except (ValueError, AttributeError, TypeError):
        raise ValueError(f"{name} must be a UUID, not {str(value)[:64]!r}") from None


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
