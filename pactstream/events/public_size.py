"""How much of an event is public: a leaf must fit into an entry of the published ledger (65,535 bytes).

Values are private, but the names of members stand in the leaf, each beside a commitment of 64 characters. In
bytes, a leaf has at most 28,000 of names and their commitments (refused here beyond), 8,192 of an attestation,
14,000 of violations, 9,300 of their commitments, and 4,000 of everything else: ids, times, tool, session, room.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import msgspec

from pactstream import canonical
from pactstream.errors import InvalidInput
from pactstream.ledger.openings import MAX_COMMITTED_KEY_CHARS, MAX_COMMITTED_KEYS

MAX_NAMES_BYTES: Final = 28_000
"""What the names of parameters and metadata, with their commitments, may take in a leaf."""

# `"metadata.` and `":"`, the hash, `",`
_BESIDE_A_NAME: Final = 9 + 4 + 64 + 2
# The most that a character takes in JSON, as an escape does.
_ESCAPED: Final = 6


def names_bytes(params: bytes | None, metadata: Collection[str]) -> int:
    """How many bytes these names take in a leaf: of the parameters, a JSON object, and of metadata.

    Never too low; exact where it could be more than a leaf has room for.
    """
    at_most = _ESCAPED * sum(map(len, metadata)) + len(metadata) * _BESIDE_A_NAME
    if params is not None:
        at_most += len(params) + MAX_COMMITTED_KEYS * _BESIDE_A_NAME
    if at_most <= MAX_NAMES_BYTES:
        return at_most
    return _of(metadata) + (0 if params is None else _of(_names(params)))


def _names(raw: bytes) -> Collection[str]:
    try:
        members = canonical.parse_exact(raw)
    except InvalidInput:
        return ()  # committed to as one value
    return members if isinstance(members, dict) else ()


def _of(names: Collection[str]) -> int:
    if len(names) > MAX_COMMITTED_KEYS or sum(map(len, names)) > MAX_COMMITTED_KEY_CHARS:
        return _BESIDE_A_NAME  # one commitment for all of it
    return sum(len(msgspec.json.encode(name)) + _BESIDE_A_NAME for name in names)
