"""Settings of the console."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from pydantic import Field

from pactstream.settings import ClickHouseSettings, ServiceSettings
from pactstream.signing.keys import CONSOLE_FILE, load_secret

KEY_VARIABLE: Final = "PACTSTREAM_KEY_CONSOLE"


class ConsoleSettings(ServiceSettings, ClickHouseSettings):
    """What the console adds to the settings of every service."""

    console_port: int = Field(8091, description="Console: port it listens on.")
    console_metrics_port: int = Field(
        9109, ge=0, le=65_535, description="Console: port of its metrics; 0: none are served."
    )
    console_url: str = Field(
        "",
        pattern=r"^(https?://[A-Za-z0-9.-]{1,200}(:[0-9]{1,5})?)?$",
        description="Console: its address as browsers see it, such as `https://console.example.org`, without a "
        "path. Unset: it answers on loopback only.",
    )
    gateway_url: str = Field(
        "http://127.0.0.1:8080",
        description="Console: the gateway, which makes every change. Sidecar: where it sends to. Command line: "
        "default of `--url` where that is the gateway's.",
    )
    console_idle_minutes: int = Field(
        60, ge=1, le=1_440, description="Console: a session that asks for nothing ends after so long,"
    )
    console_session_hours: int = Field(12, ge=1, le=168, description="Console: and any session after so long.")
    console_logins_per_minute: int = Field(
        10, ge=1, le=1_000, description="Console: attempts to log in that one address may make."
    )
    console_requests_per_minute: int = Field(
        1_200, ge=60, description="Console: requests that one API key may make."
    )
    console_poll_seconds: float = Field(
        0.5, ge=0.05, le=10, description="Console: how often ClickHouse is asked for news of a watched tenant."
    )
    console_trusted_proxies: int = Field(
        0,
        ge=0,
        le=10,
        description="Console: how many proxies of ours stand in front and append to `X-Forwarded-For`.",
    )
    key_dir: Path = Field(Path("keys"), description="Directory of the signing keys.")
    tiles_dir: Path | None = Field(None, description="As the oracle's.")
    tiles_url: str = Field("", description="As the oracle's.")

    @property
    def ledger_source(self) -> str:
        """Where the published ledger is: an address, a directory, or nowhere (empty)."""
        return self.tiles_url or ("" if self.tiles_dir is None else str(self.tiles_dir))

    def session_key(self) -> bytes | None:
        """The key that seals sessions, from the environment or `key_dir`; None where there is none.

        Raises:
            Fatal: it is readable by others, or malformed.
        """
        path = self.key_dir / CONSOLE_FILE
        if KEY_VARIABLE not in os.environ and not path.exists():
            return None
        return load_secret(path, KEY_VARIABLE, os.environ)
