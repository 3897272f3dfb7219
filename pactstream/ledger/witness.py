"""A witness of C2SP tlog-witness: it cosigns a log's checkpoint only if that extends all it cosigned before.

Source: c2sp.org/tlog-witness. One rule more than there: of each log it signs one note for a size. A repeated
request gets the same cosignature, and a second note of that size none.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from threading import Lock
from typing import NamedTuple, Protocol

from pactstream import clock
from pactstream.errors import Fatal, InvalidInput
from pactstream.ledger import merkle, note
from pactstream.ledger.cosignature import Cosigner
from pactstream.ledger.note import Checkpoint, NoteError, Verifier

MAX_PROOF_HASHES = 63
MAX_REQUEST_BYTES = 100_000
SIZE_TYPE = "text/x.tlog.size"

_OLD = re.compile(r"old (0|[1-9][0-9]{0,18})", re.ASCII)


class Request(NamedTuple):
    """The body of `add-checkpoint`: the size cosigned last, the proof from there, the log's signed note."""

    old_size: int
    proof: tuple[bytes, ...]
    note: bytes

    def encode(self) -> bytes:
        """The body as it is sent."""
        lines = [f"old {self.old_size}\n", *(f"{base64.b64encode(one).decode()}\n" for one in self.proof)]
        return "".join(lines).encode() + b"\n" + self.note


class Answer(NamedTuple):
    """What the witness answers: an HTTP status, a body and its media type."""

    status: int
    body: bytes
    media_type: str = "text/plain; charset=utf-8"


class Store(Protocol):
    """Where a witness remembers, for each log, the note that it cosigned last, its own cosignature included."""

    def get(self, origin_hash: str) -> bytes | None:
        """The note of the log with this hash; None if there is none."""

    def put(self, origin_hash: str, cosigned: bytes) -> None:
        """Replace it. Durable when this returns."""


class _Refused(InvalidInput):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Witness:
    """One witness. `logs`: the keys of each log that it knows, by origin. Safe to use from several threads.

    The store must be this witness's alone: two on one store could cosign two trees of one size.
    """

    def __init__(
        self,
        cosigner: Cosigner,
        logs: Mapping[str, Sequence[Verifier]],
        store: Store,
        now_micros: Callable[[], int] = clock.now_micros,
    ) -> None:
        self._cosigner = cosigner
        self._logs = logs
        self._store = store
        self._now_micros = now_micros
        self._lock = Lock()

    def add_checkpoint(self, body: bytes) -> Answer:
        """Answer to `POST /add-checkpoint`: 200 and a cosignature line, or a refusal.

        Raises:
            Retryable: the store failed; nothing was answered, so nothing was cosigned.
            Fatal: what the store holds is not what this witness put there.
        """
        try:
            request = _parse(body)
            text, submitted = self._open(request)
            # Checking against the last note and replacing it must be one step, or two requests could both pass.
            with self._lock:
                return self._decide(request, text, submitted)
        except _Refused as refused:
            return Answer(refused.status, f"{refused}\n".encode())

    def latest(self, origin_hash: str) -> bytes | None:
        """The note cosigned last of the log with this hash (`GET /<origin hash>/checkpoint`)."""
        known = {hash_origin(origin) for origin in self._logs}
        return self._store.get(origin_hash) if origin_hash in known else None

    def _open(self, request: Request) -> tuple[str, Checkpoint]:
        """The note's text without unknown signatures, once the log's signature on it is verified."""
        try:
            submitted = Checkpoint.parse(note.parse_note(request.note).text)
        except NoteError as error:
            raise _Refused(400, str(error)) from error
        verifiers = self._logs.get(submitted.origin)
        if verifiers is None:
            raise _Refused(404, "this witness does not know the log")
        try:
            opened = note.open_note(request.note, verifiers)
        except NoteError as error:
            raise _Refused(403, str(error)) from error
        if request.old_size > submitted.size:
            raise _Refused(400, f"the old size {request.old_size} is above the checkpoint's {submitted.size}")
        return note.format_note(opened.text, opened.signatures).decode(), submitted

    def _decide(self, request: Request, signed: str, submitted: Checkpoint) -> Answer:
        origin_hash = hash_origin(submitted.origin)
        last = self._last(submitted.origin, origin_hash)
        last_size = last.checkpoint.size if last else 0
        if request.old_size != last_size:
            return _conflict(last_size)
        if (
            last
            and last_size == submitted.size
            and last.checkpoint.root != submitted.root
            and not request.proof
        ):
            return _conflict(last_size)  # a fork; the specification has 409 for it, and 422 for a wrong proof
        _check_extends(last.checkpoint if last else None, submitted, request.proof)
        text = submitted.text()
        if last and last_size == submitted.size:
            if last.text != text:
                raise _Refused(422, f"another note of size {last_size} is cosigned already")
            return Answer(200, last.cosignature.encode())
        line = self._cosigner.cosign(text, self._now_micros() // clock.MICROS_PER_SECOND).line()
        # A crash here leaves a cosignature that nobody saw, and the state before it.
        self._store.put(origin_hash, (signed + line).encode())
        # A crash here leaves the new state and a client without an answer: it asks again, is told the new size
        # (409), asks with that, and gets this same cosignature.
        return Answer(200, line.encode())

    def _last(self, origin: str, origin_hash: str) -> _Last | None:
        stored = self._store.get(origin_hash)
        if stored is None:
            return None
        ours = self._cosigner.verifier
        try:
            opened = note.open_note(stored, [ours])
            checkpoint = Checkpoint.parse(opened.text)
        except NoteError as error:
            raise Fatal(f"what the witness stored of {origin} is not its own: {error}") from error
        if checkpoint.origin != origin:
            raise Fatal(f"what the witness stored of {origin} is of {checkpoint.origin}")
        return _Last(opened.text, checkpoint, opened.signatures[0].line())


class _Last(NamedTuple):
    text: str
    checkpoint: Checkpoint
    cosignature: str


def hash_origin(origin: str) -> str:
    """The origin as it stands in paths: hexadecimal SHA-256."""
    return sha256(origin.encode()).hexdigest()


def _parse(body: bytes) -> Request:
    if len(body) > MAX_REQUEST_BYTES:
        raise _Refused(413, f"a request has at most {MAX_REQUEST_BYTES} bytes")
    head, separator, rest = body.partition(b"\n\n")
    try:
        old, *lines = head.decode("ascii").split("\n")
        proof = tuple(note.decode_base64(line, "proof hash") for line in lines)
    except (UnicodeDecodeError, NoteError) as error:
        raise _Refused(400, f"the consistency proof cannot be read: {error}") from error
    size = _OLD.fullmatch(old)
    if size is None or not separator:
        raise _Refused(400, "a request is a line `old <size>`, proof lines, an empty line and a checkpoint")
    if len(proof) > MAX_PROOF_HASHES or any(len(one) != merkle.HASH_BYTES for one in proof):
        raise _Refused(400, f"a consistency proof has at most {MAX_PROOF_HASHES} hashes of 32 bytes")
    return Request(int(size[1]), proof, rest)


def _conflict(size: int) -> Answer:
    return Answer(409, f"{size}\n".encode(), SIZE_TYPE)


def _check_extends(last: Checkpoint | None, submitted: Checkpoint, proof: Sequence[bytes]) -> None:
    old_size, old_root = (last.size, last.root) if last else (0, merkle.EMPTY_ROOT)
    try:
        merkle.verify_consistency(old_size, old_root, submitted.size, submitted.root, proof)
    except merkle.ProofError as error:
        raise _Refused(422, str(error)) from error
