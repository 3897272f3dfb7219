"""C2SP tlog-proof: a text that proves offline that a log has an entry. Source: c2sp.org/tlog-proof.

Ours carry the entry itself, a leaf, as extra data: so the text, the log's key and perhaps its witnesses' keys
are all that a verifier needs.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from pactstream.errors import InvalidInput
from pactstream.ledger import merkle, note
from pactstream.ledger.cosignature import NO_WITNESSES, Cosigned, Policy, open_cosigned
from pactstream.ledger.note import Checkpoint, NoteError, Verifier

MAX_PATH = 63
"""Hashes in the inclusion proof; a log of 2^63 entries needs no more."""
MAX_EXTRA_BYTES = 1_000_000

_MAX_BYTES = note.MAX_NOTE_BYTES + 2 * MAX_EXTRA_BYTES
_HEADER = "c2sp.org/tlog-proof@v1"
_INDEX = re.compile(r"index (0|[1-9][0-9]{0,18})", re.ASCII)
_EXTRA = "extra "


class TlogProofError(InvalidInput):
    """A proof that is malformed, or proves nothing."""


@dataclass(frozen=True, slots=True)
class TlogProof:
    """An entry's index, its audit path, the signed checkpoint it leads to, and unauthenticated extra data."""

    index: int
    path: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes = b""

    def encode(self) -> bytes:
        """The proof as text. Raises `TlogProofError` when its parts do not form one."""
        lines = [_HEADER]
        if self.extra:
            lines.append(_EXTRA + base64.b64encode(self.extra).decode())
        lines.append(f"index {self.index}")
        lines += [base64.b64encode(one).decode() for one in self.path]
        data = "".join(f"{line}\n" for line in lines).encode() + b"\n" + self.checkpoint
        self.parse(data)
        return data

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """The proof in a text, unverified. Raises `TlogProofError` unless every byte is in place."""
        if len(data) > _MAX_BYTES:
            raise TlogProofError(f"a tlog-proof has at most {_MAX_BYTES} bytes")
        head, separator, checkpoint = data.partition(b"\n\n")
        try:
            first, *lines = head.decode("ascii").split("\n")
            Checkpoint.parse(note.parse_note(checkpoint).text)
            extra = _extra(lines.pop(0)) if lines and lines[0].startswith(_EXTRA) else b""
            index = _INDEX.fullmatch(lines[0]) if lines else None
            path = tuple(note.decode_base64(line, "proof hash") for line in lines[1:])
        except (UnicodeDecodeError, NoteError) as error:
            raise TlogProofError(f"not a tlog-proof: {error}") from error
        if first != _HEADER or not separator or index is None:
            raise TlogProofError(f"not a tlog-proof: it begins {_HEADER!r} and has an index and a checkpoint")
        if len(path) > MAX_PATH or any(len(one) != merkle.HASH_BYTES for one in path):
            raise TlogProofError(f"not a tlog-proof: the path has at most {MAX_PATH} hashes of 32 bytes")
        return cls(int(index[1]), path, checkpoint, extra)

    def verify(
        self, entry: bytes, origin: str, verifiers: Sequence[Verifier], policy: Policy = NO_WITNESSES
    ) -> Cosigned:
        """Check that log `origin` has `entry` at this index; the checkpoint that says so.

        Raises `NoteError` when the checkpoint is not the log's or not cosigned as the policy asks, `ProofError`
        when the path does not lead to it.
        """
        cosigned = open_cosigned(self.checkpoint, origin, verifiers, policy)
        tree = cosigned.checkpoint
        merkle.verify_inclusion(merkle.leaf_hash(entry), self.index, tree.size, self.path, tree.root)
        return cosigned


def _extra(line: str) -> bytes:
    extra = note.decode_base64(line.removeprefix(_EXTRA), "extra data")
    if not 0 < len(extra) <= MAX_EXTRA_BYTES:
        raise TlogProofError(f"not a tlog-proof: extra data has 1 to {MAX_EXTRA_BYTES} bytes")
    return extra
