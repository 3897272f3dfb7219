"""The keys of logs as text, one a line: a verifier key, and perhaps the largest tree that it may vouch for.

`<vkey>` or `<vkey> until <size>`. The second form declares a cut-off: of a stolen key, all that it signs beyond
the last honest checkpoint is refused, whatever time it claims.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Self

from pactstream.errors import InvalidInput
from pactstream.ledger.note import Checkpoint, NoteError, NoteVerifier

_LINE = re.compile(r"(\S+)(?: until (0|[1-9][0-9]{0,18}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class LogKey:
    """A log's key; with `max_size`, it vouches for trees of up to so many leaves. A `note.Verifier`."""

    verifier: NoteVerifier
    max_size: int | None = None

    @property
    def name(self) -> str:
        """The key's name: the log's origin."""
        return self.verifier.name

    @property
    def key_id(self) -> bytes:
        """The key's 4-byte id."""
        return self.verifier.key_id

    def verifies(self, text: str, signature: bytes) -> bool:
        """Whether `signature` is this key's over a checkpoint. Raises `NoteError` beyond the cut-off."""
        if self.max_size is not None and Checkpoint.parse(text).size > self.max_size:
            named = f"{self.name}+{self.key_id.hex()}"
            raise NoteError(f"the key {named} vouches for trees of up to {self.max_size} leaves only")
        return self.verifier.verifies(text, signature)

    def limited_by(self, other: LogKey) -> LogKey:
        """This key with the lower of its own cut-off and that of `other`, the same key."""
        limits = [one.max_size for one in (self, other) if one.max_size is not None]
        return replace(self, max_size=min(limits, default=None))

    def line(self) -> str:
        """The key as text, without a newline."""
        limit = "" if self.max_size is None else f" until {self.max_size}"
        return f"{self.verifier.vkey()}{limit}"

    @classmethod
    def parse(cls, line: str) -> Self:
        """The key in a line. Raises `NoteError` unless it is exactly one."""
        match = _LINE.fullmatch(line)
        if match is None:
            raise NoteError("it is a verifier key, or one with `until` and a number of leaves")
        return cls(NoteVerifier.from_vkey(match[1]), None if match[2] is None else int(match[2]))


def parse_keys(data: bytes) -> dict[str, list[LogKey]]:
    """The keys of each log by origin; empty lines and lines that begin with # do not count.

    Raises:
        InvalidInput: a line is no key, or there is none.
    """
    known: dict[str, list[LogKey]] = {}
    try:
        for line in data.decode().splitlines():
            if line.strip() and not line.startswith("#"):
                key = LogKey.parse(line.strip())
                known.setdefault(key.name, []).append(key)
    except (UnicodeDecodeError, NoteError) as error:
        raise InvalidInput(f"a line is no verifier key: {error}") from error
    if not known:
        raise InvalidInput("there is no verifier key")
    return known
