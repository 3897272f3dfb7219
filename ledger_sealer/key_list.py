"""The ledger's public keys as they are now: to check with, and for everybody in `ledger/keys`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pactstream.errors import InvalidInput
from pactstream.ledger import files
from pactstream.ledger.log_keys import LogKey, parse_keys
from pactstream.ledger.verification import KEYS, MAX_KEYS_BYTES
from pactstream.signing.jwks import PublicKey
from pactstream.signing.keys import SigningKeyError, load_keys, load_retired, note_verifier


class KeyList:
    """The key that this process signs with, and those in the key directory, which a rotation changes."""

    def __init__(self, own: PublicKey, key_dir: Path, deployment: str) -> None:
        self._own = own
        self._key_dir = key_dir
        self._deployment = deployment

    def origin(self, log: int) -> str:
        """The name of a log."""
        return f"{self._deployment}/ledger/{log}"

    def verifiers(self, log: int) -> list[LogKey]:
        """All keys of a log, with the cut-offs that are declared by now.

        Raises:
            SigningKeyError: a retired key is malformed.
        """
        public = {key.kid: key for key in load_retired(self._key_dir, "ledger")}
        for key in (self._own, *self._current()):
            public.setdefault(key.kid, key)
        return [note_verifier(key, self.origin(log)) for key in public.values()]

    def publish(self, directory: Path, logs: Iterable[int]) -> None:
        """Bring `ledger/keys` in `directory` up to date. A line never goes away, a cut-off is only lowered.

        So sealers that know of different keys, during a rotation, agree in the end.

        Raises:
            StorageFailed: it cannot be read or written, or is damaged.
        """
        path = directory / KEYS
        present = files.read(path, MAX_KEYS_BYTES)
        try:
            known = {} if present is None else parse_keys(present)
        except InvalidInput as error:
            raise files.StorageFailed(f"{KEYS} is damaged: {error}; delete it to have it made anew") from None
        for log in logs:
            origin = self.origin(log)
            known[origin] = _merged([*known.get(origin, ()), *self.verifiers(log)])
        lines = (key.line() for keys in known.values() for key in keys)
        content = "".join(f"{line}\n" for line in lines).encode()
        if content != present:
            # A crash here leaves the old list or the new one; so does a second sealer at the same moment, and
            # the one whose line is missing adds it at the next look.
            files.replace(path, content)

    def _current(self) -> list[PublicKey]:
        try:
            return [key.public for key in load_keys(self._key_dir, "ledger")]
        except SigningKeyError:
            return []  # our own came from the environment; where it did not, it was checked at the start


def _merged(keys: Iterable[LogKey]) -> list[LogKey]:
    by_id: dict[bytes, LogKey] = {}
    for key in keys:
        by_id[key.key_id] = key.limited_by(by_id.get(key.key_id, key))
    return list(by_id.values())
