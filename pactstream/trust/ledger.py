"""What a report says of the ledger, checked: signatures, the agent's leaf, what was seen before."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from pactstream.ledger import merkle
from pactstream.ledger.cosignature import NO_WITNESSES, Policy, TooFewCosignatures, open_cosigned
from pactstream.ledger.log_keys import LogKey, parse_keys
from pactstream.ledger.merkle import ProofError
from pactstream.ledger.note import Checkpoint, NoteError, open_checkpoint
from pactstream.ledger.pins import Pin
from pactstream.ledger.tile_reader import TileReader
from pactstream.ledger.tiles import CHECKPOINT, Fetch, Missing, TileError
from pactstream.scores.claims import HeadClaim
from pactstream.trust.errors import LedgerForked, LedgerUnproven, ReportMalformed
from pactstream.trust.memory import MAX_HEADS, Memory
from pactstream.trust.oracle import Oracle


class LedgerClaim(msgspec.Struct, frozen=True, rename="camel"):
    """The member `ledger` of a report, and whose report it is."""

    head: HeadClaim | None
    checkpoint: str | None
    inclusion_proof: list[str] | None = None


class LedgerCheck:
    """Checks reports one after another against one memory. Not for several threads at once.

    `log_keys` are the logs' verifier keys as text, pinned by the caller; without them, the first ones that the
    oracle publishes are trusted and remembered. `policy` says how many witnesses must have cosigned.
    """

    def __init__(
        self, oracle: Oracle, memory: Memory, log_keys: bytes | None, policy: Policy = NO_WITNESSES
    ) -> None:
        self._oracle = oracle
        self._memory = memory
        self._keys = None if log_keys is None else parse_keys(log_keys)
        self._policy = policy

    def check(self, agent_id: str, claim: LedgerClaim, *, observed: bool) -> None:
        """Check, and remember what holds. `observed`: the report says something of what the agent did.

        Raises:
            LedgerUnproven: a signature, the inclusion proof or a published file does not hold or is missing, or
                too few witnesses cosigned.
            LedgerForked: it holds, and contradicts what was seen before.
            ReportMalformed: head and checkpoint do not go together.
        """
        if claim.head is None or claim.checkpoint is None:
            if claim.head is not None or claim.checkpoint is not None:
                raise ReportMalformed("a report names a head and its checkpoint, or neither")
            if observed and self._policy.quorum:
                raise LedgerUnproven("the report names no checkpoint that a witness could have cosigned")
            return
        origin, note = claim.head.log, claim.checkpoint.encode()
        pin = self._memory.get(origin)
        keys = self._keys_of(origin, pin)
        try:
            checkpoint = open_checkpoint(note, origin, keys)
            leaf = bytes.fromhex(claim.head.leaf_hash)
            files = self._oracle.log_files(origin)
            seen = None if pin is None or pin.seen is None else pin.seen.checkpoint
            _compare(seen, checkpoint, files)
            self._check_cosigned(note, checkpoint, keys, files)
            _prove(leaf, claim, checkpoint, files)
        except (NoteError, ProofError, TileError, ValueError) as error:
            raise LedgerUnproven(f"the report's ledger is not proven: {error}") from error
        _compare_heads(pin, agent_id, claim.head)
        kept = note.decode() if seen is None or checkpoint.size > seen.size else None
        self._remember(origin, keys, pin, kept, agent_id, claim.head)

    def _check_cosigned(
        self, note: bytes, checkpoint: Checkpoint, keys: Sequence[LogKey], files: Fetch
    ) -> None:
        """Whether enough witnesses cosigned this tree, or what is published now, if that extends it.

        A report keeps the note under which its head was proved first; a cosignature that came later, and that
        of a mirror, stands under the published one only.
        """
        try:
            open_cosigned(note, checkpoint.origin, keys, self._policy)
        except TooFewCosignatures as short:
            published = open_cosigned(files(CHECKPOINT), checkpoint.origin, keys, self._policy).checkpoint
            if published.size < checkpoint.size:
                raise NoteError(f"{short}, and published are {published.size} so far") from None
            _compare(published, checkpoint, files)

    def _keys_of(self, origin: str, pin: Pin | None) -> Sequence[LogKey]:
        if self._keys is not None:
            keys: Sequence[LogKey] = self._keys.get(origin, ())
        elif pin is not None:
            keys = pin.keys
        else:
            try:
                keys = parse_keys(self._oracle.log_keys()).get(origin, ())
            except Missing:
                raise LedgerUnproven("the oracle publishes no log keys, and none were given") from None
        if not keys:
            raise LedgerUnproven(f"no key of the log {origin!r} is known")
        return keys

    def _remember(
        self,
        origin: str,
        keys: Sequence[LogKey],
        pin: Pin | None,
        note: str | None,
        agent_id: str,
        head: HeadClaim,
    ) -> None:
        heads = {} if pin is None or pin.heads is None else dict(pin.heads)
        known = heads.pop(agent_id, (0, ""))
        if note is None and pin is not None and known == (head.sequence, head.leaf_hash):
            return
        heads[agent_id] = max(known, (head.sequence, head.leaf_hash))
        while len(heads) > MAX_HEADS:
            heads.pop(next(iter(heads)))
        vkeys = [key.line() for key in keys]
        kept = note if note is not None or pin is None else pin.note
        self._memory.put(Pin(url="", origin=origin, vkeys=vkeys, note=kept, heads=heads))


def _compare(seen: Checkpoint | None, now: Checkpoint, files: Fetch) -> None:
    """Whether the two are one log: the smaller tree is the beginning of the larger one.

    A smaller checkpoint than before is no fault: another process of the oracle may be a moment behind.
    """
    if seen is None:
        return
    older, newer = sorted((seen, now), key=lambda one: one.size)
    if older.size == newer.size:
        same = older.root == newer.root
    else:
        reader = TileReader(files, newer.size, newer.root)
        same = reader.frontier_at(older.size).root() == older.root
    if not same:
        raise LedgerForked(
            f"log {now.origin!r}: the tree of {now.size} leaves is not the one seen with {seen.size} leaves"
        )


def _prove(leaf: bytes, claim: LedgerClaim, checkpoint: Checkpoint, files: Fetch) -> None:
    if claim.head is None:
        return
    index = claim.head.leaf_index
    if claim.inclusion_proof is None:
        path = TileReader(files, checkpoint.size, checkpoint.root).inclusion_proof(index)
    else:
        path = [bytes.fromhex(one) for one in claim.inclusion_proof]
    merkle.verify_inclusion(leaf, index, checkpoint.size, path, checkpoint.root)


def _compare_heads(pin: Pin | None, agent_id: str, head: HeadClaim) -> None:
    known = None if pin is None or pin.heads is None else pin.heads.get(agent_id)
    if known is not None and known[0] == head.sequence and known[1] != head.leaf_hash:
        raise LedgerForked(f"the agent's leaf {head.sequence} is not the one seen before")
