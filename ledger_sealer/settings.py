"""Settings of the sealer."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field

from pactstream.settings import ClickHouseSettings, ServiceSettings
from pactstream.signing.keys import SigningKey, load_keys, load_keys_from_environment


class SealerSettings(ServiceSettings, ClickHouseSettings):
    """What the sealer adds to the settings of every service."""

    sealer_port: int = Field(9102, description="Sealer: port of health and metrics.")
    segment_max_leaves: int = Field(
        4_096, ge=1, le=100_000, description="Sealer: a segment closes after this many leaves."
    )
    segment_interval_seconds: float = Field(
        0.25, ge=0.01, le=60, description="Sealer: or this long after its first one."
    )
    key_dir: Path = Field(Path("keys"), description="Directory of the signing keys.")

    def ledger_key(self) -> SigningKey:
        """The key that signs checkpoints: from the environment if it stands there, else from `key_dir`.

        Raises:
            SigningKeyError: it is missing, exposed or malformed.
        """
        (key,) = load_keys_from_environment(os.environ, "ledger") or load_keys(self.key_dir, "ledger")
        return key
