"""What the evaluator remembers of an agent: its chain of leaves, the events it has judged, its windows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from pactstream import clock
from pactstream.ledger.leaf import GENESIS, AgentHead
from pactstream.pacts import PactState

ID_BYTES = 16

_FULL_BLOCK: Final = 64
_BLOCK_MICROS: Final = 3_600 * clock.MICROS_PER_SECOND

# What an agent takes in memory, measured (docs/adr/0016): itself, an id seen, a byte of an entry's record.
_AGENT_BYTES: Final = 1_600
_SEEN_BYTES: Final = 140
_ENTRY_FACTOR: Final = 6


class SeenBlock(NamedTuple):
    """Event ids judged in a row; `ids` holds them end to end, 16 bytes each. The time is the latest arrival."""

    received_at_micros: int
    ids: bytes

    def __len__(self) -> int:
        """How many ids."""
        return len(self.ids) // ID_BYTES

    def goes_on_with(self, block: SeenBlock) -> bool:
        """Whether a later block is to be one with this."""
        same_hour = self.received_at_micros // _BLOCK_MICROS == block.received_at_micros // _BLOCK_MICROS
        return same_hour and len(self) < _FULL_BLOCK

    def split(self) -> Iterator[bytes]:
        """The ids one by one."""
        return (self.ids[at : at + ID_BYTES] for at in range(0, len(self.ids), ID_BYTES))


class SeenEvents:
    """The ids of an agent's latest events, in blocks by age.

    Blocks and not single ids: the changelog has some hundred small records of an agent, and forgetting is
    deleting the oldest. Small batches of one hour share a block, so an id may be remembered for up to an hour
    longer. Age goes by the arrival time recorded in the batches, so a replay forgets the same.
    """

    def __init__(self) -> None:
        self._blocks: dict[int, SeenBlock] = {}  # by sequence of the first event, oldest first
        self._ids: set[bytes] = set()
        self._changed: dict[int, None] = {}

    def __contains__(self, event_id: bytes) -> bool:
        """Whether an event with this id has been judged."""
        return event_id in self._ids

    def __len__(self) -> int:
        """How many ids are remembered."""
        return len(self._ids)

    def add(self, first_sequence: int, block: SeenBlock) -> None:
        """Remember a block, the newest."""
        self._ids.update(block.split())
        last = next(reversed(self._blocks), None)
        if last is not None and self._blocks[last].goes_on_with(block):
            before = self._blocks[last]
            first_sequence = last
            block = SeenBlock(max(before.received_at_micros, block.received_at_micros), before.ids + block.ids)
        self._blocks[first_sequence] = block
        self._changed[first_sequence] = None

    def drain(self) -> Iterator[tuple[int, SeenBlock | None]]:
        """What has changed since the last call; None: the block is gone."""
        changed, self._changed = self._changed, {}
        return ((first_sequence, self._blocks.get(first_sequence)) for first_sequence in changed)

    def restore(self, first_sequence: int, block: SeenBlock | None) -> None:
        """Take one item of `drain`; the last of a sequence number counts."""
        if block is None:
            self._forget(first_sequence)
        else:
            self._blocks[first_sequence] = block
            self._ids.update(block.split())

    def expire(self, *, older_than_micros: int, keep: int) -> list[int]:
        """Forget what is too old, and the oldest beyond `keep` ids; returns the blocks' first sequences."""
        gone = []
        left = len(self._ids)
        for first_sequence, block in self._blocks.items():
            if block.received_at_micros >= older_than_micros and left - len(block) < keep:
                break
            left -= len(block)
            gone.append(first_sequence)
        for first_sequence in gone:
            self._forget(first_sequence)
            self._changed[first_sequence] = None
        return gone

    def _forget(self, first_sequence: int) -> None:
        block = self._blocks.pop(first_sequence, None)
        if block is not None:
            self._ids.difference_update(block.split())


class AgentState:
    """One agent's chain and memory; `received_at_micros` is the arrival of its latest batch here."""

    __slots__ = ("_entry_bytes", "_sizes", "head", "pacts", "received_at_micros", "seen")

    def __init__(self) -> None:
        self.head: AgentHead = GENESIS
        self.seen = SeenEvents()
        self.pacts = PactState()
        self.received_at_micros = 0
        self._sizes: dict[str, int] = {}
        self._entry_bytes = 0

    @property
    def weight(self) -> int:
        """About how many bytes of memory this takes."""
        return _AGENT_BYTES + _SEEN_BYTES * len(self.seen) + _ENTRY_FACTOR * self._entry_bytes

    def extend(self, head: AgentHead, marks: list[bytes], received_at_micros: int) -> None:
        """Move the chain's head past the leaves of events, and remember those."""
        self.seen.add(self.head.sequence + 1, SeenBlock(received_at_micros, b"".join(marks)))
        self.head = head

    def resize(self, name: str, record: bytes | None) -> None:
        """Note how large what a condition remembers has become."""
        size = 0 if record is None else len(record)
        self._entry_bytes += size - self._sizes.pop(name, 0)
        if record is not None:
            self._sizes[name] = size
