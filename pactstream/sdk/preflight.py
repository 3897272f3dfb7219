"""The verdict before the call: `POST /api/v1/pacts/{pactId}/validate-call`, in the caller's own time."""

from __future__ import annotations

from uuid import UUID

import msgspec
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt

from pactstream import clock
from pactstream.sdk.answer import Unreadable, read_verdict
from pactstream.sdk.config import Config
from pactstream.sdk.errors import PactViolation, PreflightUnavailable
from pactstream.sdk.plain import Snapshot
from pactstream.sdk.reports import Reports
from pactstream.sdk.transport import Body, DeliveryFailed, NotNow, Transport, Unreachable, json_body
from pactstream.sdk.verdict import Verdict


class _Question(msgspec.Struct, rename="camel"):
    agent_id: UUID
    tool: str
    params: msgspec.Raw


class Preflight:
    """Asks before a call, and refuses what the pact forbids at `block_on` or graver."""

    def __init__(self, config: Config, transport: Transport, reports: Reports) -> None:
        self._config = config
        self._transport = transport
        self._reports = reports

    def check(self, *, pact: UUID | str, agent_id: UUID, tool: str, params: Snapshot) -> None:
        """Return if the call may go ahead under `pact`: its id, or why the one that was meant has none.

        Raises:
            PactViolation: it breaks the pact at the severity of `block_on` or graver.
            PreflightUnavailable: nobody can say, and `preflight_unavailable` is "block".
        """
        threshold = self._config.block_on
        if threshold is None:
            return
        try:
            verdict = self._ask(pact, agent_id, tool, params)
        except (DeliveryFailed, Unreadable) as failure:
            reason = f"no verdict before calling {tool}: {failure}"
            if self._config.preflight_unavailable == "block":
                raise PreflightUnavailable(reason) from None
            self._reports.report("preflight", reason)
            return
        if verdict.at_least(threshold):
            raise PactViolation(verdict)

    def _ask(self, pact: UUID | str, agent_id: UUID, tool: str, params: Snapshot) -> Verdict:
        if isinstance(pact, str):
            raise Unreadable(pact)
        if not params.exact:
            # Judging a stand-in could allow what the real value forbids.
            raise Unreadable("the arguments have no exact JSON form (too large, or not plain data)")
        question = _Question(agent_id=agent_id, tool=tool, params=msgspec.Raw(params.encoded))
        path = f"/api/v1/pacts/{pact}/validate-call"
        body = json_body(msgspec.json.encode(question))
        # Asking changes nothing, so a connection that the server closed meanwhile is worth a second try.
        attempts = Retrying(
            retry=retry_if_exception_type(Unreachable), stop=stop_after_attempt(2), reraise=True
        )
        deadline = clock.monotonic_seconds() + self._config.preflight_timeout_seconds
        return read_verdict(attempts(self._post, path, body, deadline))

    def _post(self, path: str, body: Body, deadline: float) -> bytes:
        left = deadline - clock.monotonic_seconds()
        if left <= 0:
            raise NotNow("no answer in time")
        return self._transport.post(path, body, left)
