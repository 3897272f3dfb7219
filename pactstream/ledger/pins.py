"""What a verifier remembers of each log: the keys it trusted first, the last checkpoint, every agent's head.

One JSON file for each log. Whoever can write there can make the verifier forget; nobody else can.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Literal

import msgspec

from pactstream.errors import Fatal
from pactstream.ledger import files
from pactstream.ledger.leaf import AgentHead
from pactstream.ledger.log_keys import LogKey
from pactstream.ledger.note import Checkpoint, NoteError, parse_note
from pactstream.ledger.published import Result, Seen

_MAX_BYTES = 1 << 30
_SUFFIX = ".pin.json"


class Pin(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One log: its keys, the note verified last, and each agent's sequence number and leaf hash."""

    v: Literal[1] = 1
    url: str
    origin: str
    vkeys: list[str]
    note: str | None = None
    heads: dict[str, tuple[int, str]] | None = None

    @property
    def keys(self) -> list[LogKey]:
        """The pinned keys."""
        return [LogKey.parse(vkey) for vkey in self.vkeys]

    @property
    def seen(self) -> Seen | None:
        """What was verified last; None while the log had no checkpoint. Its signature was verified then."""
        if self.note is None:
            return None
        checkpoint = Checkpoint.parse(parse_note(self.note.encode()).text)
        if self.heads is None:
            return Seen(checkpoint)
        heads = {
            agent: AgentHead(number, bytes.fromhex(hashed)) for agent, (number, hashed) in self.heads.items()
        }
        return Seen(checkpoint, heads)


def make_pin(url: str, keys: Sequence[LogKey], result: Result) -> Pin:
    """What to remember after a verification without faults."""
    heads = result.heads
    return Pin(
        url=url,
        origin=result.origin,
        vkeys=[key.line() for key in keys],
        note=None if result.note is None else result.note.decode(),
        heads=None
        if heads is None
        else {agent: (head.sequence, head.leaf_hash.hex()) for agent, head in heads.items()},
    )


class PinBook:
    """The pins in a directory that the caller holds (`files.held`).

    Raises (any method):
        Fatal: a pin is damaged.
        StorageFailed: a pin cannot be read or written.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def all(self) -> dict[str, Pin]:
        """Every pin, by origin."""
        pins = (self._read(path) for path in sorted(self._directory.glob(f"*{_SUFFIX}")))
        return {pin.origin: pin for pin in pins}

    def put(self, pin: Pin) -> None:
        """Remember, in place of what was remembered of this log."""
        # A crash here leaves the older pin: what it lets pass is no fork of it either, and is verified again.
        files.replace(self._path(pin.origin), msgspec.json.encode(pin))

    def _read(self, path: Path) -> Pin:
        try:
            pin = msgspec.json.decode(files.read(path, _MAX_BYTES) or b"", type=Pin)
            _ = (pin.keys, pin.seen)
        except (msgspec.DecodeError, UnicodeDecodeError, NoteError, ValueError) as error:
            raise Fatal(
                f"{path.name} is damaged ({error}): restore it, or delete it to trust the log anew"
            ) from None
        if path != self._path(pin.origin):
            raise Fatal(f"{path.name} is the pin of another log: {pin.origin}")
        return pin

    def _path(self, origin: str) -> Path:
        return self._directory / f"{sha256(origin.encode()).hexdigest()[:32]}{_SUFFIX}"
