"""Mirrors one log: every file checked against the log's signature and against all that was mirrored before.

The order of C2SP's witnesses, with the files: what a checkpoint needs is durable, then the checkpoint with our
cosignature is, then it is served. So our cosignature says: I have this tree whole, and it extends all I had.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from threading import Lock

from pactstream import clock
from pactstream.errors import Fatal, InvalidInput, Retryable
from pactstream.ledger import merkle, note, segment
from pactstream.ledger.cosignature import Cosigner
from pactstream.ledger.note import MAX_SIGNATURES, Checkpoint, NoteError, NoteSignature, Verifier
from pactstream.ledger.segment import SegmentError
from pactstream.ledger.tile_reader import TileReader
from pactstream.ledger.tile_store import TileDirectory
from pactstream.ledger.tile_writer import SegmentWriter, TileWriter
from pactstream.ledger.tiles import (
    CHECKPOINT,
    ENTRIES,
    SEGMENTS,
    TILE_WIDTH,
    Fetch,
    Missing,
    Published,
    TileError,
    TilePath,
    fetch_tile,
    parse_bundle,
    paths_of,
)

_BATCH_BYTES = 4 * 1024 * 1024


class LogRefused(InvalidInput):
    """What the log shows now contradicts what was mirrored: it was rolled back, forked or withdrawn."""


class LogMirror:
    """One log. `fetch` reads its files at their source; `store` is ours alone. For several threads.

    Raises (when made):
        Fatal: what is stored is not what this mirror put there.
    """

    def __init__(
        self,
        origin: str,
        verifiers: Sequence[Verifier],
        fetch: Fetch,
        store: TileDirectory,
        cosigner: Cosigner,
        now_micros: Callable[[], int] = clock.now_micros,
    ) -> None:
        self.origin = origin
        self._verifiers = verifiers
        self._fetch = fetch
        self._store = store
        self._cosigner = cosigner
        self._now_micros = now_micros
        self._one_at_a_time = Lock()
        self._served, self._checkpoint, self._cosignature = self._restored()

    @property
    def note(self) -> bytes | None:
        """The checkpoint to serve, cosigned; None before the first. It and its files are durable."""
        return self._served

    @property
    def size(self) -> int:
        """How many leaves are mirrored."""
        return self._checkpoint.size if self._checkpoint else 0

    def file(self, path: str) -> bytes:
        """A mirrored file but the checkpoint. Raises `Missing`, or `TileError` for no path of a tile."""
        return self._store.fetch(path)

    def advance(self) -> bool:
        """Mirror the log as it stands now; whether its checkpoint changed.

        Raises:
            LogRefused, TileError, NoteError, SegmentError: the source does not show a log that extends what is
                mirrored. What is served stays as it is.
            Retryable: the source or the disk does not answer.
            Fatal: a file on disk is not what this mirror put there, or was signed for with two contents.
        """
        with self._one_at_a_time:
            try:
                signed = self._fetch(CHECKPOINT)
            except Missing:
                if self._checkpoint is not None:
                    raise LogRefused(f"{self.origin} is no longer published") from None
                return False
            shown = note.parse_note(signed)
            checkpoint = note.open_checkpoint(signed, self.origin, self._verifiers)
            if shown.text == self._text:
                return self._serve(checkpoint, shown.signatures, self._cosignature, ())
            full = self._extend(checkpoint)
            seconds = self._now_micros() // clock.MICROS_PER_SECOND
            cosignature = self._cosigner.cosign(shown.text, seconds)
            # A crash here leaves files that nobody asks for, and a cosignature that nobody saw.
            return self._serve(checkpoint, shown.signatures, cosignature, full)

    @property
    def _text(self) -> str | None:
        return self._checkpoint.text() if self._checkpoint else None

    def _serve(
        self,
        checkpoint: Checkpoint,
        shown: Sequence[NoteSignature],
        cosignature: NoteSignature | None,
        full: Iterable[str],
    ) -> bool:
        """Put the checkpoint with our cosignature in place of the one that is served."""
        if cosignature is None:
            raise Fatal(f"{self.origin}: a checkpoint is mirrored without our cosignature")
        ours = self._cosigner.verifier
        known = {(one.name, one.key_id) for one in self._verifiers}
        # The log's own signatures first: of others there may be more than a note can have.
        others = sorted(
            (one for one in shown if (one.name, one.key_id) != (ours.name, ours.key_id)),
            key=lambda one: (one.name, one.key_id) not in known,
        )
        cosigned = note.format_note(checkpoint.text(), [*others[: MAX_SIGNATURES - 1], cosignature])
        if cosigned == self._served:
            return False
        try:
            self._store.replace_checkpoint(self._served, cosigned)
        except Retryable:
            # The old one is there, or the new one: whole in either case.
            self._served, self._checkpoint, self._cosignature = self._restored()
            raise
        # A crash here leaves it durable and not served yet: the next start serves it.
        self._served, self._checkpoint, self._cosignature = cosigned, checkpoint, cosignature
        self._store.prune(full)
        return True

    def _extend(self, checkpoint: Checkpoint) -> list[str]:
        """Mirror what the checkpoint adds; the paths of the full files."""
        last = self._checkpoint
        size, root = (last.size, last.root) if last else (0, merkle.EMPTY_ROOT)
        if checkpoint.size < size:
            raise LogRefused(
                f"{self.origin} was rolled back: {size} leaves are mirrored, {checkpoint.size} are shown"
            )
        if checkpoint.size == size:
            raise LogRefused(f"{self.origin} was forked: two checkpoints of {size} leaves are signed")
        reader = TileReader(self._fetch, checkpoint.size, checkpoint.root)
        if reader.frontier_at(size).root() != root:
            raise LogRefused(f"{self.origin} was forked: its first {size} leaves are not those mirrored")
        return self._copy(checkpoint, reader)

    def _copy(self, checkpoint: Checkpoint, reader: TileReader) -> list[str]:
        tiles, segments, end = self._writers()
        last_index, last_hash = segment.last_segment(checkpoint)
        entries = self._entries(reader, tiles.size)
        batch = _Batch(self._store)
        for header_bytes in self._headers(end.next_index, last_index + 1):
            header = segment.parse_header(header_bytes)
            segment.check_chain(header, end)
            left = header.leaves
            while left > 0 and (some := list(islice(entries, min(left, TILE_WIDTH)))):
                batch.add(tiles.extend(some))
                left -= len(some)
            if (tiles.size, tiles.root().hex()) != (header.tree_size, header.root):
                raise SegmentError(f"the leaves of segment {header.index} do not lead to its root")
            batch.add(segments.append(header_bytes))
            end = segment.chain_end(header, segment.header_hash(header_bytes))
        if (end.next_index, end.header_hash) != (last_index + 1, last_hash):
            raise SegmentError(f"segment {last_index} is not the one that the checkpoint names")
        if (tiles.size, tiles.root()) != (checkpoint.size, checkpoint.root):
            raise TileError("the segments do not lead to the checkpoint's root")
        full = batch.finish()
        self._store.put([*tiles.edge(), *segments.edge()])
        return full

    def _writers(self) -> tuple[TileWriter, SegmentWriter, segment.ChainEnd]:
        """The edge of what is mirrored, from our own files."""
        last = self._checkpoint
        if last is None:
            return TileWriter(), SegmentWriter(), segment.CHAIN_START
        try:
            index, hashed = segment.last_segment(last)
            segments = SegmentWriter.restore(index + 1, self._store.fetch)
            bundle, at = divmod(index, TILE_WIDTH)
            header = fetch_tile(self._store.fetch, TilePath(SEGMENTS, bundle, at + 1))[at]
            end = segment.chain_end(segment.parse_header(header), hashed)
            return TileWriter.restore(last.size, last.root, self._store.fetch), segments, end
        except InvalidInput as error:
            raise Fatal(f"{self.origin}: what is mirrored is damaged on disk: {error}") from error

    def _headers(self, first: int, count: int) -> Iterator[bytes]:
        for path in paths_of(SEGMENTS, count, first):
            headers = fetch_tile(self._fetch, path)
            yield from headers[max(0, first - path.number * TILE_WIDTH) :]

    def _entries(self, reader: TileReader, first: int) -> Iterator[bytes]:
        for path in paths_of(ENTRIES, reader.size, first):
            entries = self._kept(reader, path)
            if entries is None:
                entries = reader.entries(path.number)
            yield from entries[max(0, first - path.number * TILE_WIDTH) :]

    def _kept(self, reader: TileReader, path: TilePath) -> list[bytes] | None:
        """A full bundle that an attempt before this one stored already."""
        if path.width != TILE_WIDTH:
            return None
        try:
            data = self._store.fetch(str(path))
        except Missing:
            return None
        hashes = reader.tile(0, path.number)
        try:
            kept = parse_bundle(data, path.width)
        except TileError as error:
            raise Fatal(f"{self.origin}: {path} is damaged on disk: {error}") from error
        if [merkle.leaf_hash(one) for one in kept] != hashes:
            raise Fatal(
                f"{self.origin}: {path} on disk is not what the log shows: it is damaged, or was forked"
            )
        return kept

    def _restored(self) -> tuple[bytes | None, Checkpoint | None, NoteSignature | None]:
        try:
            stored = self._store.fetch(CHECKPOINT)
        except Missing:
            return None, None, None
        try:
            # Ours alone counts: a key of the log may have been taken back since.
            opened = note.open_note(stored, [self._cosigner.verifier])
            checkpoint = Checkpoint.parse(opened.text)
        except NoteError as error:
            raise Fatal(f"{self.origin}: the stored checkpoint is not this mirror's: {error}") from error
        if checkpoint.origin != self.origin:
            raise Fatal(f"{self.origin}: the stored checkpoint is of {checkpoint.origin}")
        return stored, checkpoint, opened.signatures[0]


class _Batch:
    """Full files on their way to the disk, so many at once that it syncs them together."""

    def __init__(self, store: TileDirectory) -> None:
        self._store = store
        self._waiting: list[Published] = []
        self._bytes = 0
        self._paths: list[str] = []

    def add(self, files: Iterable[Published]) -> None:
        for file in files:
            self._waiting.append(file)
            self._bytes += len(file.data)
            self._paths.append(file.path)
        if self._bytes >= _BATCH_BYTES:
            self._put()

    def finish(self) -> list[str]:
        """Store the rest; the paths of all."""
        self._put()
        return self._paths

    def _put(self) -> None:
        self._store.put(self._waiting)
        # A crash here leaves full files beyond the checkpoint: the next attempt reads them instead of fetching.
        self._waiting, self._bytes = [], 0
