"""Settings of the sealer."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field

from pactstream.errors import Fatal
from pactstream.ledger.cosignature import CosignatureVerifier
from pactstream.ledger.note import NoteError
from pactstream.ledger.witness_client import WitnessAddress
from pactstream.settings import PREFIX, ClickHouseSettings, ServiceSettings
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
    tiles_dir: Path | None = Field(
        None,
        description="Sealer: directory to publish the ledger into; without it, this process publishes nothing. "
        "Sealers share one directory, or one of them publishes for all. Oracle: serves the ledger from there.",
    )
    publish_interval_seconds: float = Field(
        1.0, ge=0, le=3_600, description="Sealer: least time between two published checkpoints of a log."
    )
    witnesses: str = Field(
        "",
        max_length=10_000,
        description="Sealer: witnesses that cosign checkpoints, separated by commas, each `URL VERIFIER-KEY`.",
    )
    witness_quorum: int | None = Field(
        None, ge=0, description="Sealer: how many of them must cosign. Default: all."
    )
    witness_fail_closed: bool = Field(
        True,
        description="Sealer: without the quorum, publish nothing (true), or what there is (false).",
    )
    witness_timeout_seconds: float = Field(
        3.0, gt=0, le=30, description="Sealer: how long to wait for a witness's answer."
    )

    def witness_addresses(self) -> tuple[WitnessAddress, ...]:
        """The configured witnesses.

        Raises:
            Fatal: the setting cannot be understood.
        """
        pairs = [one.split() for one in self.witnesses.split(",") if one.strip()]
        try:
            return tuple(WitnessAddress(_url(url), CosignatureVerifier.from_vkey(vkey)) for url, vkey in pairs)
        except ValueError:
            raise Fatal(f"{PREFIX}WITNESSES: each is a URL, a space and a verifier key") from None
        except NoteError as error:
            raise Fatal(f"{PREFIX}WITNESSES: {error}") from None

    def ledger_key(self) -> SigningKey:
        """The key that signs checkpoints: from the environment if it stands there, else from `key_dir`.

        Raises:
            SigningKeyError: it is missing, exposed or malformed.
        """
        (key,) = load_keys_from_environment(os.environ, "ledger") or load_keys(self.key_dir, "ledger")
        return key


def _url(text: str) -> str:
    if not text.startswith(("https://", "http://")):
        raise ValueError(text)
    return text
