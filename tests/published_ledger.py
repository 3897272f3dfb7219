"""A ledger as an honest operator publishes it, and as one who tampers and signs again would."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pactstream import canonical
from pactstream.ledger import merkle, segment
from pactstream.ledger.leaf import GENESIS, AgentHead, Leaf, Source, build_leaf, parse_leaf
from pactstream.ledger.note import Checkpoint, NoteSigner, parse_note, sign_checkpoint
from pactstream.ledger.segment import ChainEnd
from pactstream.ledger.tile_writer import SegmentWriter, TileWriter
from pactstream.ledger.tiles import Fetch, Missing

DEPLOYMENT = "dev"
AGENTS = tuple(f"0196c9a4-0000-7000-8000-00000000000{number}" for number in range(3))
_BLANK = dict.fromkeys(
    (
        "pact_id",
        "pact_version",
        "parent_event_id",
        "room_id",
        "params",
        "outcome",
        "latency_ms",
        "error_message",
        "input",
        "output",
        "token_count",
        "reason",
        "metadata",
    )
)


def signer_of(log: int) -> NoteSigner:
    return NoteSigner(f"{DEPLOYMENT}/ledger/{log}", Ed25519PrivateKey.from_private_bytes(bytes([log + 1]) * 32))


def event_id(number: int) -> str:
    return f"018f0000-0000-7000-8000-{number:012}"


def leaves(count: int, first: int = 0, tool: str = "lookup") -> list[bytes]:
    """Leaves of three agents in turn, each in a batch of its own; a deterministic history."""
    heads: dict[str, AgentHead] = {}
    built = []
    for number in range(first + count):
        agent = AGENTS[number % 3]
        event: dict[str, Any] = {
            **_BLANK,
            "type": "tool_call",
            "event_id": event_id(number),
            "session_id": "s",
            "occurred_at_micros": 1_778_666_400_000_000 + number,
            "tool": tool,
        }
        leaf = build_leaf(
            event,
            None,
            agent_id=agent,
            tenant="t",
            received_at="2026-05-13T10:00:01.000000Z",
            source=Source(0, number, 0, "telemetry.batches"),
            head=heads.get(agent, GENESIS),
        )
        heads[agent] = leaf.head
        built.append(leaf.leaf)
    return built[first:]


def changed(entry: bytes, **members: Any) -> bytes:
    """The leaf with other members, in canonical form."""
    return canonical.dumps({**json.loads(entry), **members})


def relinked(entries: Iterable[bytes]) -> list[bytes]:
    """The leaves with sequence numbers and links made right again: a thorough forger's work."""
    heads: dict[str, AgentHead] = {}
    result = []
    for entry in entries:
        leaf: Leaf = parse_leaf(entry)
        head = heads.get(leaf.agent_id, GENESIS)
        entry = changed(entry, sequence=head.sequence + 1, previous=head.leaf_hash.hex())
        heads[leaf.agent_id] = AgentHead(head.sequence + 1, merkle.leaf_hash(entry))
        result.append(entry)
    return result


@dataclass
class Published:
    """One log's files under `ledger/<log>/`, as `publish` leaves them."""

    log: int = 0
    files: dict[str, bytes] = field(default_factory=dict)
    tiles: TileWriter = field(default_factory=TileWriter)
    segments: SegmentWriter = field(default_factory=SegmentWriter)
    end: ChainEnd = segment.CHAIN_START
    key: NoteSigner | None = None
    sealed: list[tuple[bytes, bytes, Sequence[bytes]]] = field(default_factory=list)
    """Header, note and leaves of each segment."""

    @property
    def prefix(self) -> str:
        return f"ledger/{self.log}/"

    @property
    def signer(self) -> NoteSigner:
        return self.key or signer_of(self.log)

    @property
    def note(self) -> bytes:
        return self.files[self.prefix + "checkpoint"]

    @property
    def checkpoint(self) -> Checkpoint:
        return Checkpoint.parse(parse_note(self.note).text)

    def publish(self, entries: Sequence[bytes], *, skip_offsets: int = 0) -> Published:
        """Seal a segment with these leaves and publish it; `skip_offsets` leaves a gap in the source."""
        for file in [*self.tiles.extend(entries), *self.tiles.edge()]:
            self.files[self.prefix + file.path] = file.data
        sealed = segment.seal(
            self.end,
            origin=self.signer.name,
            leaves=len(entries),
            root=self.tiles.root(),
            topic="telemetry.evaluated",
            partition=self.log,
            next_offset=self.end.next_offset + len(entries) + 1,
            sealed_at_micros=1_778_666_402_000_000,
            signers=[self.signer],
        )
        header, note = sealed.header_bytes, sealed.note
        if skip_offsets:
            source = json.loads(header)["source"]
            source["firstOffset"] += skip_offsets
            header = changed(header, source=source)
            note = sign_checkpoint(segment.checkpoint_of(segment.parse_header(header), header), [self.signer])
        self.end = segment.chain_end(sealed.header, segment.header_hash(header))
        for file in [*self.segments.append(header), *self.segments.edge()]:
            self.files[self.prefix + file.path] = file.data
        self.files[self.prefix + "checkpoint"] = note
        self.sealed.append((header, note, entries))
        return self

    def keys(self) -> None:
        """List the key of this log, as a deployment of this log only does."""
        self.files["ledger/keys"] = f"{self.signer.verifier.vkey()}\n".encode()

    def log_fetch(self, path: str) -> bytes:
        return fetch_from(self.files)(self.prefix + path)


def published(entries: Sequence[bytes], cuts: Sequence[int], log: int = 0) -> Published:
    """The log of these leaves, sealed after each of the counts in `cuts` and at the end."""
    result = Published(log)
    ends = [*(cut for cut in cuts if cut < len(entries)), len(entries)]
    for first, end in zip([0, *ends], ends, strict=False):
        result.publish(entries[first:end])
    result.keys()
    return result


def fetch_from(files: dict[str, bytes]) -> Fetch:
    def fetch(path: str) -> bytes:
        try:
            return files[path]
        except KeyError:
            raise Missing(f"{path} is missing") from None

    return fetch


def write(files: dict[str, bytes], directory: Path) -> None:
    """Write the files where a web server would serve them."""
    for path, data in files.items():
        target = directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)


Tamper = Callable[[list[bytes]], list[bytes]]
