"""Verifies all logs of a deployment as published, against what was seen of them before."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import urllib3

from pactstream.deadline import pool_manager
from pactstream.errors import Fatal, InvalidInput
from pactstream.ledger.audit import Fault, Finding
from pactstream.ledger.cosignature import NO_WITNESSES, Policy
from pactstream.ledger.log_keys import LogKey, parse_keys
from pactstream.ledger.pins import Pin, PinBook, make_pin
from pactstream.ledger.published import LogVerification, Result, Seen
from pactstream.ledger.tiles import MAX_BUNDLE_BYTES, Fetch, Missing

LEDGER = "ledger"
"""Folder of the published files; each log has its number as a folder in it."""
KEYS = f"{LEDGER}/keys"
"""Path of the verifier keys of all logs of a deployment, one a line."""

MAX_KEYS_BYTES = 1_000_000
_TIMEOUT_SECONDS = 30.0  # a whole file, of at most 17 MB
_TRANSIENT = (429, 500, 502, 503, 504)


def source(url: str) -> Fetch:
    """Reads published files from an HTTP address, or from a directory with the same layout."""
    return _http(url.rstrip("/")) if url.startswith(("http://", "https://")) else _directory(Path(url))


def log_files(fetch: Fetch, origin: str) -> Fetch:
    """Reads the published files of one log of a deployment. Raises `InvalidInput`: the origin names none."""
    number = origin.rpartition("/")[2]
    if not (number.isascii() and number.isdecimal()):
        raise InvalidInput(f"the origin {origin!r} does not end in a log's number")
    return lambda path: fetch(f"{LEDGER}/{int(number)}/{path}")


@dataclass(frozen=True, slots=True)
class Verification:
    """How to verify a deployment's logs.

    `keys` replace those pinned; without them and without pins, those that the deployment publishes are trusted.
    Cut-offs that it publishes apply to pinned keys too.
    `since`: what is taken as verified, by origin; a log that is not in it is verified from its first leaf.
    """

    url: str
    fetch: Fetch
    book: PinBook
    keys: Mapping[str, Sequence[LogKey]] | None = None
    policy: Policy = NO_WITNESSES
    since: Mapping[str, Seen] = field(default_factory=dict)
    on_progress: Callable[[str, int, int], None] = lambda origin, done, total: None
    on_leaf: Callable[[str, int, bytes], None] = lambda origin, index, entry: None
    """Called with each log's leaves, in order: what stands there if the run finds no fault in that log."""

    def run(self) -> list[Result]:
        """Verify every log, and remember those without faults.

        Raises:
            Fatal: a file cannot be had for another reason than that it is not there.
            InvalidInput: the published list of keys is none.
        """
        pins = self.book.all()
        published = self.keys if self.keys is not None else self._published_keys()
        results = [self._run_log(origin, keys, pins.get(origin)) for origin, keys in sorted(published.items())]
        if self.keys is None:
            gone = (pin for pin in pins.values() if pin.url == self.url and pin.origin not in published)
            results += [_vanished(pin) for pin in gone]
        return results

    def _published_keys(self) -> dict[str, list[LogKey]]:
        try:
            return parse_keys(self.fetch(KEYS))
        except Missing:
            raise Fatal(f"{self.url} publishes no ledger: {KEYS} is missing") from None

    def _run_log(self, origin: str, published: Sequence[LogKey], pin: Pin | None) -> Result:
        trusted = published if pin is None or self.keys is not None else _limited(pin.keys, published)
        result = LogVerification(
            origin=origin,
            verifiers=trusted,
            fetch=log_files(self.fetch, origin),
            policy=self.policy,
            seen=pin.seen if pin else None,
            since=self.since.get(origin),
            on_progress=lambda done, total: self.on_progress(origin, done, total),
            on_leaf=lambda index, entry: self.on_leaf(origin, index, entry),
        ).run()
        if not result.faults:
            self.book.put(make_pin(self.url, trusted, result))
        elif {key.key_id for key in published} - {key.key_id for key in trusted}:
            message = (
                "its published keys are not those pinned: if you have the new ones from its operator, pass them"
            )
            result.add(Finding(origin=origin, fault=Fault.SIGNATURE, message=message))
        return result


def _limited(pinned: Sequence[LogKey], published: Sequence[LogKey]) -> list[LogKey]:
    """The pinned keys with the cut-offs that are declared by now. A cut-off only takes trust away."""
    by_id = {key.key_id: key for key in published}
    return [key.limited_by(by_id.get(key.key_id, key)) for key in pinned]


def _vanished(pin: Pin) -> Result:
    result = Result(pin.origin)
    message = "the log was published here when last seen, and is no longer"
    result.add(Finding(origin=pin.origin, fault=Fault.REMOVED, message=message))
    return result


def _http(url: str) -> Fetch:
    retries = urllib3.Retry(
        total=5, redirect=3, backoff_factor=0.2, status_forcelist=_TRANSIENT, raise_on_status=False
    )
    pool = pool_manager(_TIMEOUT_SECONDS, retries=retries, maxsize=8)
    headers = {"Accept-Encoding": "gzip, identity"}

    def fetch(path: str) -> bytes:
        try:
            response = pool.request("GET", f"{url}/{path}", headers=headers, preload_content=False)
            data = response.read(MAX_BUNDLE_BYTES + 1, decode_content=True)
            response.release_conn()
        except urllib3.exceptions.HTTPError as error:
            raise Fatal(f"{url}/{path} cannot be had: {error}") from None
        if response.status in (404, 410):
            raise Missing(f"{path} is missing")
        if response.status != 200:
            raise Fatal(f"{url}/{path} answers {response.status}")
        if len(data) > MAX_BUNDLE_BYTES:
            raise Fatal(f"{url}/{path} is longer than {MAX_BUNDLE_BYTES} bytes")
        return data

    return fetch


def _directory(root: Path) -> Fetch:
    def fetch(path: str) -> bytes:
        try:
            return (root / path).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            raise Missing(f"{path} is missing") from None
        except OSError as error:
            raise Fatal(f"{root / path} cannot be read: {error.strerror}") from None

    return fetch
