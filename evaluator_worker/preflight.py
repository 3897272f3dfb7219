"""Answers to pre-flight questions about the agents whose state this worker holds."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Collection, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final, cast

from evaluator_worker import metrics
from evaluator_worker.holds import AgentHolds, Hold, name_of
from evaluator_worker.judging import Pacts
from evaluator_worker.task import EvaluatorTask
from pactstream import clock
from pactstream.errors import PactstreamError, Retryable
from pactstream.kafka.places import Loan
from pactstream.kafka.processor import Processor
from pactstream.kafka.side_writer import Entry, SideWriter
from pactstream.pacts import SEVERITIES, Call, CompiledPact, Verdict
from pactstream.pacts.figures import Share
from pactstream.pacts.foresight import Foreseen
from pactstream.preflight.wire import Answer, Cancellation, Cancelled, Question, Reservation, Reserve

MAX_HOLD_SECONDS: Final = 3_600
"""No hold lasts longer, whatever is asked or set: half of what `topics.HOLDS_MS` keeps."""

_WAIT_SECONDS: Final = 1.0
_LOOK_SECONDS: Final = 0.001
_NO_EVENT: Final = bytes(16)


class Conflict(PactstreamError):
    """A reservation id that stands for another call."""


class TooMany(PactstreamError):
    """The agent has as many holds as it may have."""


@dataclass(frozen=True, slots=True)
class Limits:
    """On holds: how many an agent may have, and how long one lasts, if nothing is asked and at most."""

    holds_per_agent: int
    default_seconds: float
    max_seconds: float


@dataclass(frozen=True, slots=True)
class _Others:
    """What an agent holds for other calls than the one that is asked about."""

    holds: AgentHolds
    own: frozenset[str]

    def shares(self, measure: str, key: str) -> Iterable[Share]:
        return self.holds.shares(measure, key, but=self.own)

    def keys(self, measure: str) -> Collection[str]:
        return self.holds.keys(measure)


class Preflight:
    """Answers from any thread; the loop waits only while a verdict is found."""

    def __init__(self, processor: Processor, pacts: Pacts, writer: SideWriter, limits: Limits) -> None:
        self._processor = processor
        self._pacts = pacts
        self._writer = writer
        self._limits = limits

    async def ask(self, question: Question) -> Answer:
        """The verdict as of now; what is to be held is durable when this returns.

        Raises:
            NotHeld: the partition is not this worker's, or its state is not back.
            Retryable: what came before the question is not judged yet, or the hold could not be made certain.
            Conflict, TooMany: the hold is refused.
        """
        deadline = clock.monotonic_seconds() + _WAIT_SECONDS
        pact = await self._pact(question, deadline)
        while True:
            with self._processor.lend(question.partition) as loan:
                if loan.caught_up and loan.next_offset > question.after:
                    answer, written = self._decide(question, pact, loan)
                    break
            await _pause(deadline, "what came before is not judged yet")
        if written is not None:
            # A crash before this line leaves a hold that nobody was told of: it lapses.
            await asyncio.wait_for(asyncio.wrap_future(written), _WAIT_SECONDS)
        metrics.PREFLIGHTS.labels("held" if answer.reservation is not None else "told").inc()
        return answer

    async def cancel(self, cancellation: Cancellation) -> Cancelled:
        """Give back what is held; the deletion is durable when this returns. Raises as `ask`."""
        name = name_of(cancellation.tenant_id, cancellation.reservation_id)
        with self._processor.lend(cancellation.partition) as loan:
            task = cast(EvaluatorTask, loan.task)
            task.holds.lapse(_settled(task, loan))
            gone = [hold.key for hold in task.holds.of(cancellation.agent_id).named(name)]
            for key in gone:
                task.holds.remove(key)
            # Also where nothing is here: only the holder of the partition can say that.
            written = self._writer.submit(cancellation.partition, task, [(key, None) for key in gone])
        # A crash before this line may leave the hold: it lapses.
        await asyncio.wait_for(asyncio.wrap_future(written), _WAIT_SECONDS)
        return Cancelled(bool(gone))

    async def _pact(self, question: Question, deadline: float) -> CompiledPact:
        while True:
            pact = self._pacts.compiled(question.pact_id, question.pact_version)
            if pact is not None:
                return pact
            await _pause(deadline, f"version {question.pact_version} of the pact has not arrived yet")

    def _decide(self, question: Question, pact: CompiledPact, loan: Loan) -> tuple[Answer, Future[None] | None]:
        task = cast(EvaluatorTask, loan.task)
        settled = _settled(task, loan)
        task.holds.lapse(settled)
        mine, own, reserve = task.holds.of(question.agent_id), None, question.reserve
        if reserve is not None:
            own = _same(mine, name_of(question.tenant_id, reserve.reservation_id), question)
        others = _Others(mine, frozenset() if own is None else frozenset((own.key,)))
        foreseen = pact.foresee(_call(question), task.remembered(question.agent_id), others)
        written = reservation = None
        if reserve is not None and own is None and _acceptable(foreseen.verdict, reserve):
            own = self._hold(question, reserve, foreseen, mine)
            task.holds.add(own)
        if reserve is not None and own is not None:
            # One that was made before is written again: whether it was then is not known here.
            entries: list[Entry] = [(own.key, own.encode())]
            written = self._writer.submit(question.partition, task, entries)
            reservation = Reservation(reserve.reservation_id, clock.to_iso(own.expires_at_micros))
        return _answer(foreseen.verdict, settled, reservation), written

    def _hold(self, question: Question, reserve: Reserve, foreseen: Foreseen, mine: AgentHolds) -> Hold:
        if len(mine) >= self._limits.holds_per_agent:
            raise TooMany(f"the agent has {len(mine)} reservations, which is the most it may have")
        seconds = self._limits.default_seconds if reserve.seconds is None else reserve.seconds
        seconds = min(seconds, self._limits.max_seconds, MAX_HOLD_SECONDS)
        verdict = foreseen.verdict
        return Hold(
            agent_id=question.agent_id,
            name=name_of(question.tenant_id, reserve.reservation_id),
            made_at_micros=question.received_at_micros,
            expires_at_micros=question.received_at_micros + int(seconds * clock.MICROS_PER_SECOND),
            question=_digest(question),
            pact_id=verdict.pact_id,
            pact_version=verdict.pact_version,
            pact_hash=verdict.pact_hash,
            tool=question.tool,
            claims=foreseen.claims,
        )


async def _pause(deadline: float, reason: str) -> None:
    if clock.monotonic_seconds() > deadline:
        raise Retryable(reason)
    await asyncio.sleep(_LOOK_SECONDS)


def _settled(task: EvaluatorTask, loan: Loan) -> int:
    """All that arrived before this has been judged."""
    return clock.now_micros() if loan.at_end else task.arrived_micros


def _same(mine: AgentHolds, name: str, question: Question) -> Hold | None:
    """The hold that this very request made before. Raises Conflict: the id stands for another call."""
    for hold in mine.named(name):
        if hold.expires_at_micros > question.received_at_micros:
            if hold.question != _digest(question):
                raise Conflict("the reservation id is in use for another call")
            return hold
    return None


def _digest(question: Question) -> bytes:
    parts = (question.pact_id, question.tool, question.session_id or "")
    text = b"".join(len(part.encode()).to_bytes(4, "big") + part.encode() for part in parts)
    return hashlib.blake2b(text + bytes(question.params), digest_size=16).digest()


def _acceptable(verdict: Verdict, reserve: Reserve) -> bool:
    if verdict.severity is None or reserve.block_on is None:
        return verdict.valid
    return SEVERITIES.index(verdict.severity) > SEVERITIES.index(reserve.block_on)


def _call(question: Question) -> Call:
    return Call(
        _NO_EVENT,
        question.tool,
        bytes(question.params),
        outcome=None,
        session_id=question.session_id,
        occurred_at_micros=question.received_at_micros,
    )


def _answer(verdict: Verdict, settled_micros: int, reservation: Reservation | None) -> Answer:
    return Answer(
        verdict.valid, verdict.bound, verdict.severity, verdict, clock.to_iso(settled_micros), reservation
    )
