"""A witness's memory: one file for each log, the note it cosigned last."""

from __future__ import annotations

from pathlib import Path

from pactstream.ledger import files
from pactstream.ledger.note import MAX_NOTE_BYTES


class WitnessFiles:
    """A `witness.Store` in a directory that the caller holds (`files.held`).

    Losing a file makes the witness cosign that log anew, whatever it shows; never restore an older copy.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def get(self, origin_hash: str) -> bytes | None:
        """As `Store`. Raises `StorageFailed` when the file cannot be read."""
        return files.read(self._path(origin_hash), MAX_NOTE_BYTES)

    def put(self, origin_hash: str, cosigned: bytes) -> None:
        """As `Store`. Raises `StorageFailed` when it cannot be written."""
        files.replace(self._path(origin_hash), cosigned)

    def _path(self, origin_hash: str) -> Path:
        return self._directory / f"{origin_hash}.checkpoint"
