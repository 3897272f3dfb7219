"""The verdict before the call: `POST /api/v1/pacts/{pactId}/validate-call`, in the caller's own time."""

from __future__ import annotations

import logging
from threading import Thread
from typing import Protocol
from uuid import UUID

import msgspec
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt

from pactstream import clock
from pactstream.sdk.answer import Foreseen, Unreadable, read_foreseen
from pactstream.sdk.config import Config
from pactstream.sdk.errors import PactViolation, PreflightUnavailable
from pactstream.sdk.plain import Snapshot
from pactstream.sdk.reports import Reports
from pactstream.sdk.transport import Body, DeliveryFailed, NotNow, Transport, Unreachable, json_body
from pactstream.sdk.verdict import Severity, Verdict

_MAX_GIVEN_UP = 1_000

_logger = logging.getLogger("pactstream.sdk")


class _Question(msgspec.Struct, rename="camel", omit_defaults=True):
    agent_id: UUID
    session_id: str
    tool: str
    params: msgspec.Raw
    reserve: bool = False
    reservation_id: UUID | None = None
    block_on: Severity | None = None


class Unsettled(Protocol):
    """What has been recorded, and may not have arrived."""

    def has_unsettled(self) -> bool:
        """Whether there is any that may be waited for."""

    def settle(self, timeout_seconds: float) -> bool:
        """Send it and wait; whether all has arrived."""


class Preflight:
    """Asks before a call, and refuses what the pact forbids at `block_on` or graver."""

    def __init__(self, config: Config, transport: Transport, reports: Reports, earlier: Unsettled) -> None:
        self._config = config
        self._transport = transport
        self._reports = reports
        self._earlier = earlier
        self._looking_back: set[UUID] = set()
        self._given_up: dict[UUID, None] = {}

    def check(
        self,
        *,
        pact: UUID | str,
        agent_id: UUID,
        session_id: str,
        tool: str,
        params: Snapshot,
        reservation_id: UUID | None = None,
    ) -> None:
        """Return if the call may go ahead under `pact`: its id, or why the one that was meant has none.

        With a `reservation_id`, what it takes of budgets is then held under this id.

        Raises:
            PactViolation: it breaks the pact at the severity of `block_on` or graver.
            PreflightUnavailable: nobody can say, and `preflight_unavailable` is "block".
        """
        threshold = self._config.block_on
        if threshold is None:
            return
        question = _Question(agent_id, session_id, tool, msgspec.Raw(params.encoded))
        if reservation_id is not None:
            question.reserve, question.block_on = True, threshold
            question.reservation_id = reservation_id
        try:
            verdict = self._foresee(pact, question, exact=params.exact)
        except PreflightUnavailable as unavailable:
            if self._config.preflight_unavailable == "block":
                raise
            self._reports.report("preflight", str(unavailable))
            return
        if verdict.at_least(threshold):
            raise PactViolation(verdict)

    def verdict(
        self, *, pact: UUID | str, agent_id: UUID, session_id: str, tool: str, params: Snapshot
    ) -> Verdict:
        """What the pact would say of a call that nobody makes yet; nothing is held.

        Raises:
            PreflightUnavailable: nobody can say.
        """
        question = _Question(agent_id, session_id, tool, msgspec.Raw(params.encoded))
        return self._foresee(pact, question, exact=params.exact)

    def _foresee(self, pact: UUID | str, question: _Question, *, exact: bool) -> Verdict:
        try:
            if isinstance(pact, str):
                raise Unreadable(pact)
            if not exact:
                # Judging a stand-in could allow what the real value forbids.
                raise Unreadable("the arguments have no exact JSON form (too large, or not plain data)")
            return self._ask(pact, question).verdict
        except (DeliveryFailed, Unreadable) as failure:
            raise PreflightUnavailable(f"no verdict before calling {question.tool}: {failure}") from None

    def give_back(self, agent_id: UUID, reservation_id: UUID) -> None:
        """Have a reservation cancelled, in the background: whoever gave the call up is not kept waiting.

        If that fails, the reservation lapses by itself.
        """
        # A question that is still on its way (its task was cancelled) gives back what it gets.
        self._given_up[reservation_id] = None
        while len(self._given_up) > _MAX_GIVEN_UP:
            self._given_up.pop(next(iter(self._given_up)), None)
        Thread(
            target=self._cancel, args=(agent_id, reservation_id), name="pactstream-cancel", daemon=True
        ).start()

    def _cancel(self, agent_id: UUID, reservation_id: UUID) -> None:
        path = f"/api/v1/agents/{agent_id}/reservations/{reservation_id}"
        try:
            self._transport.delete(path, self._config.preflight_timeout_seconds)
        except DeliveryFailed as failure:
            # Mostly because there is none.
            _logger.debug("a reservation was not cancelled: %s", failure)

    def _ask(self, pact: UUID, question: _Question) -> Foreseen:
        """The verdict, with what this process has recorded before taken into account."""
        deadline = clock.monotonic_seconds() + self._config.preflight_timeout_seconds
        path = f"/api/v1/pacts/{pact}/validate-call"
        body = json_body(msgspec.json.encode(question))
        unsettled = self._earlier.has_unsettled()
        if unsettled and pact in self._looking_back:
            self._settle(deadline)
            unsettled = False
        foreseen = self._answer(path, body, deadline)
        if foreseen.looked_back:
            self._looking_back.add(pact)
            if unsettled:
                # It was not known that earlier calls matter. To ask again holds nothing more.
                self._settle(deadline)
                foreseen = self._answer(path, body, deadline)
        if question.reservation_id is not None:
            if question.reservation_id in self._given_up:
                self._cancel(question.agent_id, question.reservation_id)
            elif not foreseen.held and not foreseen.verdict.at_least(question.block_on or "info"):
                raise Unreadable("the gateway allows the call, and holds nothing for it")
        return foreseen

    def _settle(self, deadline: float) -> None:
        if not self._earlier.settle(max(deadline - clock.monotonic_seconds(), 0)):
            raise NotNow("what was recorded before is not delivered yet")

    def _answer(self, path: str, body: Body, deadline: float) -> Foreseen:
        # To ask twice changes nothing, so a connection that the server closed meanwhile is worth a second try.
        attempts = Retrying(
            retry=retry_if_exception_type(Unreachable), stop=stop_after_attempt(2), reraise=True
        )
        return read_foreseen(attempts(self._post, path, body, deadline))

    def _post(self, path: str, body: Body, deadline: float) -> bytes:
        left = deadline - clock.monotonic_seconds()
        if left <= 0:
            raise NotNow("no answer in time")
        return self._transport.post(path, body, left)
