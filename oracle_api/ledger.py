"""What is published of the ledger, and proofs made from it: an event is in a log, a log only grew.

The files may come from a directory that a sealer writes, or from any other server: each hash is checked against
the checkpoint before a proof is made of it, and whoever gets the proof checks it again.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Any, TypeVar
from uuid import UUID

from pactstream.clickhouse.client import ClickHouse
from pactstream.errors import Fatal, Retryable
from pactstream.ledger import merkle
from pactstream.ledger.note import Checkpoint, parse_note
from pactstream.ledger.tile_reader import TileReader
from pactstream.ledger.tiles import CHECKPOINT, Fetch, Missing, TileError
from pactstream.ledger.tlog_proof import TlogProof
from pactstream.ledger.verification import LEDGER, source

_PLACES = """
SELECT log, leaf_index, toString(agent_id) FROM room_events WHERE event_id = {event:UUID}
ORDER BY log, leaf_index LIMIT 1 BY agent_id LIMIT 100
SETTINGS max_execution_time = 5
"""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Inclusion:
    """That a log has a leaf: its index, its audit path, its bytes, and the published note the path leads to."""

    index: int
    path: tuple[bytes, ...]
    leaf: bytes
    checkpoint: bytes

    def encode(self) -> bytes:
        """As C2SP tlog-proof, the leaf as extra data."""
        return TlogProof(self.index, self.path, self.checkpoint, extra=self.leaf).encode()


class Proofs:
    """Proofs from published files; `fetch` reads them by their paths below `ledger/`.

    Blocking: call it in a thread. Safe from several.

    Raises (any method):
        Missing: nothing is published of that log, or not so far.
        Retryable: the files cannot be had right now, or are damaged.
    """

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._lock = Lock()
        self._trees: dict[int, tuple[bytes, TileReader]] = {}

    def size(self, log: int) -> int:
        """How many leaves of a log are published."""
        return self._checked(lambda: self._tree(log)[1].size)

    def inclusion(self, log: int, index: int) -> Inclusion:
        """The proof that the published tree of a log has the leaf at `index`."""
        return self._checked(partial(self._inclusion, log, index))

    def consistency(self, log: int, old_size: int, new_size: int | None) -> dict[str, Any]:
        """The proof that the tree of `new_size`, by default the published one, extends that of `old_size`."""
        return self._checked(partial(self._consistency, log, old_size, new_size))

    def file(self, path: str) -> bytes:
        """A published file, by its path below the root."""
        try:
            return self._fetch(path)
        except Fatal as error:
            raise Retryable(f"the published ledger cannot be read: {error}") from None

    def _inclusion(self, log: int, index: int) -> Inclusion:
        note, tree = self._tree(log)
        if index >= tree.size:
            raise Missing(f"leaf {index} of log {log} is not published yet")
        return Inclusion(index, tuple(tree.inclusion_proof(index)), tree.entry(index), note)

    def _consistency(self, log: int, old_size: int, new_size: int | None) -> dict[str, Any]:
        note, tree = self._tree(log)
        size = tree.size if new_size is None else new_size
        if size > tree.size:
            raise Missing(f"log {log} has {tree.size} published leaves")
        return {
            "origin": Checkpoint.parse(parse_note(note).text).origin,
            "from": {"size": old_size, "root": _base64(tree.frontier_at(old_size).root())},
            "to": {"size": size, "root": _base64(tree.frontier_at(size).root())},
            "proof": [_base64(one) for one in merkle.consistency_proof(old_size, size, tree.node)],
            "checkpoint": note.decode() if size == tree.size else None,
        }

    def _tree(self, log: int) -> tuple[bytes, TileReader]:
        """The published note of a log and a reader of its tree, which is kept until the note changes."""
        note = self.file(f"{LEDGER}/{log}/{CHECKPOINT}")
        with self._lock:
            kept = self._trees.get(log)
        if kept is None or kept[0] != note:
            tree = Checkpoint.parse(parse_note(note).text)
            read = partial(self._log_file, log)
            kept = (note, TileReader(read, tree.size, tree.root))
            with self._lock:
                self._trees[log] = kept
        return kept

    def _log_file(self, log: int, path: str) -> bytes:
        return self.file(f"{LEDGER}/{log}/{path}")

    def _checked(self, make: Callable[[], _T]) -> _T:
        try:
            return make()
        except merkle.ProofError:
            raise  # the caller asked for what cannot be
        except Missing:
            raise
        except TileError as error:
            # Perhaps only a partial tile that was replaced between two looks; if not, an operator must see it.
            raise Retryable(f"the published ledger does not fit together: {error}") from None


class Places:
    """Where an event stands in the ledger."""

    def __init__(self, database: ClickHouse) -> None:
        self._database = database

    def of(self, event_id: UUID) -> Sequence[tuple[int, int, str]]:
        """Log, leaf index and agent: one for each agent that used this id. Raises `Retryable`."""
        rows = self._database.rows(_PLACES, {"event": str(event_id)})
        return [(log, index, agent) for log, index, agent in rows]


@dataclass(frozen=True, slots=True)
class PublishedLedger:
    """What the routes are made of: `proofs` is None where nothing is published."""

    proofs: Proofs | None
    places: Callable[[UUID], Sequence[tuple[int, int, str]]]


def published_ledger(where: str, database: ClickHouse) -> PublishedLedger:
    """The ledger whose files are in a directory or at an HTTP address; empty: nowhere."""
    return PublishedLedger(Proofs(source(where)) if where else None, Places(database).of)


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()
