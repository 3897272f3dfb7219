"""How evaluators are reached: over HTTP, or in this process, each with a deadline."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Final, Protocol
from uuid import UUID

import msgspec
from msgspec import Meta

from pactstream.errors import Fatal, InvalidInput
from pactstream.evaluation import Opinion, Question, request, sign
from pactstream.ledger import files
from pactstream.signing.keys import SigningKey
from pactstream.webhooks.addresses import check_url
from pactstream.webhooks.sender import Answer, Sender

GROUP: Final = "pactstream.evaluators"
"""Of the entry points of evaluators that run in this process."""
MAX_ANSWER_BYTES: Final = 8_192

_MAX_FILE_BYTES: Final = 1_000_000
_THREADS: Final = 4
_log = logging.getLogger(__name__)


class NoVerdict(InvalidInput):
    """There is none; the text is the reason, one of `REASONS`."""


REASONS: Final = ("deadline", "unavailable", "refused", "malformed", "failed", "resting", "unknown", "revoked")
"""Not there in time; not reached, or another status than 200; a verdict that does not verify; an answer that
cannot be read; the plugin raised; left alone after many failures; not configured, or not registered; registered
no more."""


class Reached(Protocol):
    """One evaluator."""

    def ask(self, question: Question) -> Future[str]:
        """Begin to ask: a compact JWS, or `NoVerdict`. Asking blocks nobody."""


class Place(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where an issuer is: one of the two."""

    url: Annotated[str, Meta(max_length=2_048)] = ""
    plugin: Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_.-]{0,64}\Z")] = ""


def read_places(path: Path, *, allow_private: bool) -> dict[str, Place]:
    """Where each issuer is, by its id: `{"<issuer>": {"url": "https://…"}}` or `{"plugin": "<name>"}`.

    Raises:
        Fatal: the file is missing or malformed, or an address may not be called.
    """
    data = files.read(path, _MAX_FILE_BYTES)
    if data is None:
        raise Fatal(f"{path} is missing: it says how each evaluator is reached")
    try:
        found = msgspec.json.decode(data, type=dict[UUID, Place])
        for issuer, place in found.items():
            if bool(place.url) == bool(place.plugin):
                raise InvalidInput(f"{issuer} has either a url or a plugin")
            if place.url:
                check_url(place.url, allow_private=allow_private)
    except (msgspec.DecodeError, UnicodeDecodeError, InvalidInput) as error:
        raise Fatal(f"{path}: {error}") from None
    return {str(issuer): place for issuer, place in found.items()}


class OverHttp:
    """An evaluator at an address; each request is signed as a webhook is (standardwebhooks.com)."""

    def __init__(self, sender: Sender, url: str, secret: bytes) -> None:
        self._sender = sender
        self._url = url
        self._secret = secret

    def ask(self, question: Question) -> Future[str]:
        """As `Reached`."""
        body = question.encode()
        headers = request.headers(question, body, self._secret)
        asked: Future[str] = Future()

        def answered(done: Future[Answer]) -> None:
            if not asked.set_running_or_notify_cancel():
                return  # nobody waits any more
            try:
                asked.set_result(_signed(done.result()))
            except NoVerdict as error:
                asked.set_exception(error)

        self._sender.post(self._url, headers, body).add_done_callback(answered)
        return asked


class _Body(msgspec.Struct, frozen=True):
    evaluation: str


def _signed(answer: Answer) -> str:
    if answer.status is None:
        raise NoVerdict("deadline" if answer.reason.startswith("no answer within") else "unavailable")
    if answer.status != 200:
        raise NoVerdict("unavailable")
    try:
        return msgspec.json.decode(answer.body, type=_Body).evaluation
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise NoVerdict("malformed") from error


class InProcess:
    """An evaluator that is a function here, found by its entry point; what it says is signed for it.

    It runs in threads of its own. One that never returns keeps a thread: after `_THREADS` of them its questions
    wait, and are past their deadline.
    """

    def __init__(self, name: str, evaluate: Callable[[Question], Opinion], key: SigningKey) -> None:
        self._name = name
        self._evaluate = evaluate
        self._key = key
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix=f"evaluator {name}")

    def ask(self, question: Question) -> Future[str]:
        """As `Reached`."""
        return self._pool.submit(self._asked, question)

    def close(self) -> None:
        """Ask it no more; what is under way is left to end by itself."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _asked(self, question: Question) -> str:
        try:
            opinion = self._evaluate(question)
            # What a function returns is checked like what comes over a network.
            checked = msgspec.convert(msgspec.to_builtins(opinion), Opinion)
        except Exception as error:  # another's code: whatever it raises, it is no verdict
            _log.warning("the evaluator %s failed: %s: %s", self._name, type(error).__name__, error)
            raise NoVerdict("failed") from error
        return sign(question, checked, self._key)


def plugin(name: str) -> Callable[[Question], Opinion]:
    """The function behind an entry point of the group `pactstream.evaluators`.

    Raises:
        Fatal: none is installed under this name, or several are, or it cannot be loaded.
    """
    found = tuple(entry_points(group=GROUP, name=name))
    if len(found) != 1:
        raise Fatal(f"{len(found)} evaluators are installed as {name!r} in the entry points {GROUP}")
    try:
        loaded: Callable[[Question], Opinion] = found[0].load()
    except (ImportError, AttributeError) as error:
        raise Fatal(f"the evaluator {name!r} cannot be loaded: {error}") from error
    return loaded


Evaluators = Mapping[str, Reached]
"""By issuer."""
