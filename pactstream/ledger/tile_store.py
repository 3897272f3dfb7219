"""A directory of published files, which any web server can serve as it is."""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pactstream.errors import Fatal
from pactstream.ledger import files
from pactstream.ledger.note import MAX_NOTE_BYTES
from pactstream.ledger.tiles import CHECKPOINT, MAX_BUNDLE_BYTES, Missing, Published, parse_path

_WRITES_AT_ONCE = 8


class TileDirectory:
    """One log's files; a `publisher.Store`. The publisher must hold the directory (`files.held`)."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def fetch(self, path: str) -> bytes:
        """A file's content. Raises `Missing` where there is none, `TileError` for a path that names no file."""
        if path != CHECKPOINT:
            parse_path(path)
        data = files.read(self._directory / path, MAX_BUNDLE_BYTES)
        if data is None:
            raise Missing(f"{path} is missing")
        return data

    def put(self, published: Iterable[Published]) -> None:
        """Store files that never change; all are durable when this returns.

        Raises:
            Fatal: another content is under a name.
            StorageFailed: the disk is full, or failing.
        """
        # A disk syncs many files in little more time than one.
        with ThreadPoolExecutor(_WRITES_AT_ONCE) as pool:
            folders = set(pool.map(self._put, published))
            # A crash here leaves some of the files, each whole. Those that are there are not written again, but
            # their names are made durable once more: perhaps they were not yet.
            above = {self._directory / parent for folder in folders for parent in folder.parents}
            deque(pool.map(files.sync, above.union(self._directory / one for one in folders)), maxlen=0)

    def _put(self, file: Published) -> Path:
        """Store a file; the folder it is in, relative to the log's directory."""
        target = self._directory / file.path
        present = files.read(target, MAX_BUNDLE_BYTES)
        if present is None:
            files.place(target, file.data)
        elif present != file.data:
            raise Fatal(f"{file.path} is published with another content: going on would fork the log")
        return Path(file.path).parent

    def replace_checkpoint(self, old: bytes | None, new: bytes) -> None:
        """Put `new` in place of exactly `old`.

        Raises:
            Fatal: another checkpoint is there: somebody else publishes this log.
            StorageFailed: the disk is full, or failing; the old one is there, or the new one.
        """
        target = self._directory / CHECKPOINT
        # One process holds the directory: nobody comes between this look and the replacement.
        if files.read(target, MAX_NOTE_BYTES) != old:
            raise Fatal("the published checkpoint is not the one this publisher put: another one is at work")
        files.replace(target, new)

    def prune(self, published: Iterable[str]) -> None:
        """Delete the partial forms of full tiles, once a checkpoint that has the full ones is published.

        Raises:
            StorageFailed: the disk is failing.
        """
        for path in published:
            partials = self._directory / f"{path}.p"
            try:
                shutil.rmtree(partials)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise files.StorageFailed(f"{partials.name} cannot be deleted: {error.strerror}") from None
