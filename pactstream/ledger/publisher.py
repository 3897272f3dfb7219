"""Publishes the sealed segments of one log: files first, then the witnesses' word, the checkpoint last.

What is sealed is decided elsewhere and durable there; this can begin again at any point and publishes the same
bytes. A checkpoint is published only when every file that it needs is durable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

from pactstream.errors import Fatal, InvalidInput
from pactstream.ledger import segment
from pactstream.ledger.note import Verifier, open_checkpoint
from pactstream.ledger.segment import ChainEnd
from pactstream.ledger.tile_reader import TileReader
from pactstream.ledger.tile_writer import SegmentWriter, TileWriter
from pactstream.ledger.tiles import CHECKPOINT, SEGMENTS, TILE_WIDTH, Missing, Published, TilePath, fetch_tile
from pactstream.ledger.witness_client import Cosigners, QuorumMissed


class Sealed(NamedTuple):
    """A segment as it was sealed: the header's bytes, the signed note, its leaves in order."""

    header_bytes: bytes
    note: bytes
    entries: Sequence[bytes]


Verifiers = Callable[[], Sequence[Verifier]]
"""The log's keys as they are now: another sealer may sign with a newer one than this process began with."""


class Store(Protocol):
    """Where one log's files are served from: a directory, or an object store with conditional writes.

    Every method raises `Retryable` when the storage fails.
    """

    def fetch(self, path: str) -> bytes:
        """A file's content. Raises `Missing` where there is none."""

    def put(self, files: Iterable[Published]) -> None:
        """Create files that never change (`If-None-Match: *`); durable when this returns.

        Raises `Fatal` where another content is under the name.
        """

    def replace_checkpoint(self, old: bytes | None, new: bytes) -> None:
        """Put `new` in place of exactly `old` (`If-Match`); durable when this returns.

        Raises `Fatal` if `old` is not there: of two publishers, one meets this.
        """

    def prune(self, paths: Iterable[str]) -> None:
        """Delete, if it likes, the partial forms of these full tiles."""


class LogPublisher:
    """One log's publisher; `cosigners` are its witnesses.

    The state is what the store has published. After any failure it is read again from there.
    """

    def __init__(
        self, origin: str, verifiers: Verifiers, store: Store, cosigners: Cosigners | None = None
    ) -> None:
        self._origin = origin
        self._verifiers = verifiers
        self._store = store
        self._cosigners = cosigners
        self._state: _State | None = None

    @property
    def next_segment(self) -> int:
        """Index of the first segment that is neither published nor held, waiting for witnesses."""
        return self._restored().end.next_index

    @property
    def wants_cosignatures(self) -> bool:
        """Whether the checkpoint was published with fewer than the quorum: publishing nothing asks again."""
        return self._state is not None and self._state.short

    @property
    def note(self) -> bytes | None:
        """The published checkpoint, cosignatures included; None before the first."""
        return self._restored().published

    def publish(self, batch: Iterable[Sealed]) -> None:
        """Publish segments in order, and the checkpoint of the last one; those published already are skipped.

        Raises:
            QuorumMissed: too few witnesses cosigned. The segments are kept and nothing is published: try again
                with those that came since, because a witness ahead of this checkpoint cosigns only a later one.
            Retryable: the storage failed. Begin again with `next_segment`.
            Fatal: a segment is missing or not the log's, its leaves do not lead to its root, or the store holds
                another history: publishing would fork the log.
        """
        state = self._restored()
        self._state = None  # a failure below leaves it halfway
        try:
            for sealed in batch:
                self._add(state, sealed)
            if state.short or state.note != state.published:
                self._finish(state)
        except QuorumMissed:
            self._state = state  # whole: only the witnesses' word is missing
            raise
        except InvalidInput as error:
            raise Fatal(f"{self._origin} cannot be published: {error}") from error
        self._state = state

    def _add(self, state: _State, sealed: Sealed) -> None:
        header = segment.open_sealed(sealed.header_bytes, sealed.note, self._origin, self._verifiers())
        if header.index < state.end.next_index:
            return
        segment.check_chain(header, state.end)
        full = [*state.tiles.extend(sealed.entries), *state.segments.append(sealed.header_bytes)]
        if (state.tiles.size, state.tiles.root().hex()) != (header.tree_size, header.root):
            raise InvalidInput(f"the leaves of segment {header.index} do not lead to its root")
        self._store.put(full)
        state.full += (file.path for file in full)
        state.end = segment.chain_end(header, segment.header_hash(sealed.header_bytes))
        state.note = sealed.note
        # A crash here leaves full tiles beyond the published checkpoint: nobody asks for them, and the same
        # bytes are put again.

    def _finish(self, state: _State) -> None:
        self._store.put([*state.tiles.edge(), *state.segments.edge()])
        # A crash here leaves partial tiles of a tree that may never be published: harmless, and tiny.
        note = state.note or b""
        if self._cosigners is not None:
            reader = TileReader(self._store.fetch, state.tiles.size, state.tiles.root())
            note = self._cosigners.cosign(note, reader.consistency_proof)
            # A crash here leaves a checkpoint that witnesses know and nobody else: it is sealed, so it will be
            # published, and they give the same cosignatures again.
        if state.short and len(note) <= len(_same(state)):
            return  # asked again for the same checkpoint, and no witness more has cosigned it
        self._store.replace_checkpoint(state.published, note)
        # A crash here leaves it published: we begin after it, and some partial tiles stay for ever.
        self._store.prune(state.full)
        state.full.clear()
        state.published = note
        state.short = self._cosigners is not None and not self._cosigners.satisfied(note)
        if not state.short:
            state.note = note

    def _restored(self) -> _State:
        if self._state is None:
            try:
                self._state = self._restore()
            except InvalidInput as error:
                raise Fatal(f"{self._origin}: what is published is damaged: {error}") from error
        return self._state

    def _restore(self) -> _State:
        fetch = self._store.fetch
        try:
            note = fetch(CHECKPOINT)
        except Missing:
            return _State(TileWriter(), SegmentWriter(), segment.CHAIN_START, None)
        checkpoint = open_checkpoint(note, self._origin, self._verifiers())
        index, hashed = segment.last_segment(checkpoint)
        bundle, at = divmod(index, TILE_WIDTH)
        header = segment.parse_header(fetch_tile(fetch, TilePath(SEGMENTS, bundle, at + 1))[at])
        tiles = TileWriter.restore(checkpoint.size, checkpoint.root, fetch)
        return _State(tiles, SegmentWriter.restore(index + 1, fetch), segment.chain_end(header, hashed), note)


def _same(state: _State) -> bytes:
    """What is published, if it is the checkpoint that is to be, with whatever cosignatures; else nothing."""
    published = state.published or b""
    return published if published.startswith(state.note or b"") else b""


class _State:
    """The writers' state, and the note that is published and the one that is to be."""

    def __init__(
        self, tiles: TileWriter, segments: SegmentWriter, end: ChainEnd, published: bytes | None
    ) -> None:
        self.tiles = tiles
        self.segments = segments
        self.end = end
        self.published = published
        self.note = published
        self.short = False
        """Whether what is published has fewer cosignatures than the quorum; then `note` has none."""
        self.full: list[str] = []
        """The full tiles since the published checkpoint."""
