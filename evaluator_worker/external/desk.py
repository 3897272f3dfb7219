"""Asks, waits no longer than the deadline, checks what is said, and leaves alone who does not answer."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol, get_args

from evaluator_worker.external.reach import REASONS, Evaluators, NoVerdict
from pactstream import clock, metrics
from pactstream.control.issuers import Issuer
from pactstream.errors import InvalidInput
from pactstream.evaluation.question import Question
from pactstream.evaluation.verdict import Said, verify

KIND: Final = "evaluation"
"""What an issuer must be registered for."""
NO_VERDICT: Final = "no_verdict"

_ASKED = metrics.counter("pactstream_evaluations_total")
for _outcome in (*get_args(Said), *REASONS):
    _ASKED.labels(_outcome)  # from 0 on, or the first would be no increase
_SECONDS = metrics.histogram("pactstream_evaluation_seconds")
_log = logging.getLogger(__name__)


class Issuers(Protocol):
    """Issuers by id: a `Table`."""

    def get(self, key: str) -> Issuer | None: ...  # noqa: D102 - the class says it


class Found(NamedTuple):
    """What came of a question: how it was judged, the signed verdict, or the reason why there is none."""

    outcome: str
    signed: str | None
    reason: str | None


class Asked(NamedTuple):
    """A question on its way; `future` is None where it was not asked, and `reason` says why."""

    question: Question
    future: Future[str] | None
    reason: str
    until_seconds: float
    began_seconds: float


@dataclass(slots=True)
class _Manners:
    """How one evaluator has been answering."""

    failures: int = 0
    resting_until: float = 0.0


@dataclass(frozen=True, slots=True)
class Desk:
    """One for all partitions; used by the loop's thread only."""

    issuers: Issuers
    evaluators: Evaluators
    seconds: float
    failures: int
    rest_seconds: float
    _manners: dict[str, _Manners] = field(default_factory=dict)
    now_seconds: Callable[[], float] = clock.monotonic_seconds

    def ask(self, question: Question) -> Asked:
        """Begin to ask; never blocks."""
        now = self.now_seconds()
        reason = self._why_not(question.issuer, now)
        future = None if reason else self.evaluators[question.issuer].ask(question)
        return Asked(question, future, reason, now + self.seconds, now)

    def found(self, asked: Asked) -> Found:
        """What came of it, as soon as it is there, and at the deadline in any case."""
        try:
            signed = self._waited(asked)
            said = self._checked(signed, asked.question)
            found = Found(said, signed, None)
        except NoVerdict as error:
            found = Found(NO_VERDICT, None, str(error))
        if asked.future is not None:
            self._mark(asked.question.issuer, found)
            _SECONDS.observe(self.now_seconds() - asked.began_seconds)
        _ASKED.labels(found.reason or found.outcome).inc()
        return found

    def _why_not(self, issuer_id: str, now: float) -> str:
        issuer = self.issuers.get(issuer_id)
        if issuer is None or KIND not in issuer.kinds or issuer_id not in self.evaluators:
            return "unknown"
        if issuer.revoked_at_micros is not None:
            return "revoked"
        manners = self._manners.setdefault(issuer_id, _Manners())
        return "resting" if now < manners.resting_until else ""

    def _waited(self, asked: Asked) -> str:
        if asked.future is None:
            raise NoVerdict(asked.reason)
        try:
            return asked.future.result(max(0.0, asked.until_seconds - self.now_seconds()))
        except (TimeoutError, CancelledError):
            asked.future.cancel()
            raise NoVerdict("deadline") from None

    def _checked(self, signed: str, question: Question) -> str:
        issuer = self.issuers.get(question.issuer)
        try:
            if issuer is None:
                raise InvalidInput("the issuer is gone")
            return verify(signed, question, issuer.keys(), now_micros=clock.now_micros()).verdict
        except InvalidInput as error:
            _log.warning("what %s says of %s is refused: %s", question.issuer, question.evaluation_id, error)
            raise NoVerdict("refused") from error

    def _mark(self, issuer_id: str, found: Found) -> None:
        manners = self._manners[issuer_id]
        if found.signed is not None:
            manners.failures = 0
            return
        manners.failures += 1
        if manners.failures >= self.failures:
            manners.failures = 0
            manners.resting_until = self.now_seconds() + self.rest_seconds
            _log.warning("%s is left alone for %g s: %s", issuer_id, self.rest_seconds, found.reason)
