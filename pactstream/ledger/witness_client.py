"""Gathers cosignatures: submits a log's new checkpoint to its witnesses, all at once (C2SP tlog-witness)."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import urllib3

from pactstream.deadline import pool_manager
from pactstream.errors import InvalidInput, Retryable
from pactstream.ledger import note
from pactstream.ledger.cosignature import CosignatureVerifier, Policy
from pactstream.ledger.note import Checkpoint, NoteError, NoteSignature
from pactstream.ledger.witness import Request

_MAX_ATTEMPTS = 3
_MAX_ANSWER_BYTES = 100_000
_MAX_SHOWN_BYTES = 200
_SIZE = re.compile(rb"(0|[1-9][0-9]{0,18})\n")
_log = logging.getLogger(__name__)


class Reply(NamedTuple):
    """A witness's HTTP answer."""

    status: int
    body: bytes


Send = Callable[[str, bytes], Reply]
"""`send(url, body)`: one POST and its answer; raises `Retryable` when none comes."""

Prove = Callable[[int], list[bytes]]
"""`prove(old_size)`: the consistency proof from there to the checkpoint in hand."""


class QuorumMissed(Retryable):
    """Too few witnesses cosigned, and the log is to publish nothing without them."""


class WitnessFailed(InvalidInput):
    """A witness gave no cosignature that counts; the text says why."""


@dataclass(frozen=True, slots=True)
class WitnessAddress:
    """A witness and its submission prefix, such as `https://witness.example/pactstream`."""

    url: str
    verifier: CosignatureVerifier


class Cosigners:
    """The witnesses of one log. Remembers what size each cosigned last, and learns it where it does not know.

    `quorum` cosignatures are asked for; without them `cosign` raises (`fail_closed`), or returns what it has.
    """

    def __init__(
        self, witnesses: Sequence[WitnessAddress], quorum: int, send: Send, *, fail_closed: bool = True
    ) -> None:
        self._policy = Policy(tuple(one.verifier for one in witnesses), quorum)  # refuses what cannot be met
        self._witnesses = tuple(witnesses)
        self._send = send
        self._fail_closed = fail_closed
        self._sizes = dict.fromkeys(self._witnesses, 0)

    def cosign(self, signed: bytes, prove: Prove) -> bytes:
        """The note `signed` with the cosignatures of all witnesses that gave theirs.

        Raises:
            QuorumMissed: there are fewer than the quorum, and `fail_closed`.
            NoteError: `signed` is no signed checkpoint.
        """
        opened = note.parse_note(signed)
        checkpoint = Checkpoint.parse(opened.text)
        if not self._witnesses:
            return signed

        def submit(witness: WitnessAddress) -> NoteSignature | None:
            try:
                return self._submit(witness, signed, opened.text, checkpoint.size, prove)
            except (Retryable, InvalidInput) as error:
                _log.warning("%s: no cosignature by %s: %s", checkpoint.origin, witness.verifier.name, error)
                return None

        with ThreadPoolExecutor(len(self._witnesses)) as pool:
            given = [one for one in pool.map(submit, self._witnesses) if one is not None]
        if len(given) < self._policy.quorum and self._fail_closed:
            raise QuorumMissed(
                f"{checkpoint.origin}: {len(given)} of {len(self._witnesses)} witnesses cosigned size "
                f"{checkpoint.size}, the quorum is {self._policy.quorum}"
            )
        return note.format_note(opened.text, [*opened.signatures, *given])

    def satisfied(self, signed: bytes) -> bool:
        """Whether as many of the witnesses as the quorum have a line in the note."""
        known = {(one.verifier.name, one.verifier.key_id) for one in self._witnesses}
        given = {(one.name, one.key_id) for one in note.parse_note(signed).signatures}
        return len(known & given) >= self._policy.quorum

    def _submit(
        self, witness: WitnessAddress, signed: bytes, text: str, size: int, prove: Prove
    ) -> NoteSignature:
        for _ in range(_MAX_ATTEMPTS):
            old_size = self._sizes[witness]
            if old_size > size:
                # A rollback of ours, or a second publisher: either way an operator must look.
                raise WitnessFailed(f"it has cosigned size {old_size} already, ours is {size}")
            request = Request(old_size, tuple(prove(old_size)), signed)
            reply = self._send(f"{witness.url.rstrip('/')}/add-checkpoint", request.encode())
            if reply.status == 200:
                cosignature = _own_cosignature(reply.body, witness.verifier, text)
                self._sizes[witness] = size
                return cosignature
            conflict = _SIZE.fullmatch(reply.body) if reply.status == 409 else None
            if conflict is None:
                reason = ascii(reply.body[:_MAX_SHOWN_BYTES].decode(errors="replace").strip())
                raise WitnessFailed(f"it answers {reply.status}: {reason}")
            if int(conflict[1]) == old_size:
                raise WitnessFailed(f"it has cosigned another tree of size {old_size}: the log was forked")
            self._sizes[witness] = int(conflict[1])
        raise WitnessFailed(f"it names another size at each of {_MAX_ATTEMPTS} attempts")


def http_send(timeout_seconds: float) -> Send:
    """A `Send` over HTTP that keeps its connections."""
    pool = pool_manager(timeout_seconds, retries=False, maxsize=8)

    def send(url: str, body: bytes) -> Reply:
        try:
            response = pool.request("POST", url, body=body, preload_content=False, redirect=False)
            data = response.read(_MAX_ANSWER_BYTES)
            response.release_conn()
        except urllib3.exceptions.HTTPError as error:
            raise Retryable(f"it does not answer: {type(error).__name__}") from None
        return Reply(response.status, data)

    return send


def _own_cosignature(body: bytes, verifier: CosignatureVerifier, text: str) -> NoteSignature:
    """The witness's signature on `text` among the lines of its answer; those of unknown keys are ignored."""
    try:
        lines = [note.parse_signature_line(line) for line in body.decode().splitlines()]
    except (UnicodeDecodeError, NoteError) as error:
        raise WitnessFailed(f"its answer is not signature lines: {error}") from error
    for one in lines:
        if (one.name, one.key_id) == (verifier.name, verifier.key_id) and verifier.verifies(
            text, one.signature
        ):
            return one
    raise WitnessFailed("its answer has no good cosignature of its key")
