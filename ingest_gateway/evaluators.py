"""Asking the evaluator that holds an agent's state."""

from __future__ import annotations

import logging
import ssl
from typing import Final
from uuid import UUID

import aiohttp
import msgspec

from pactstream import clock
from pactstream.errors import Backpressure
from pactstream.kafka.owners import Owners
from pactstream.kafka.publisher import Publisher
from pactstream.preflight.settings import PreflightSettings
from pactstream.preflight.wire import (
    ASK,
    CANCEL,
    NOT_HELD,
    Cancellation,
    Cancelled,
    Question,
    ReadAnswer,
    Refusal,
    Reserve,
)
from pactstream.web import Refused, retry_after

_ATTEMPTS: Final = 2
_CONNECTIONS: Final = 256
_KEEP_SECONDS: Final = 30
_JSON: Final = msgspec.json.Encoder()

_log = logging.getLogger(__name__)


class Evaluators:
    """The evaluators of this deployment, for one event loop.

    An evaluator that does not answer is asked again once, after a look at who holds the partition now: nothing
    that is asked takes effect twice, because a reservation has its id before it is first asked for.
    """

    def __init__(
        self, owners: Owners, publisher: Publisher, settings: PreflightSettings, timeout_seconds: float
    ) -> None:
        self._owners = owners
        self._publisher = publisher
        self._timeout_seconds = timeout_seconds
        secret = settings.preflight_secret.get_secret_value()
        self._headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        ca = settings.preflight_ssl_ca
        self._tls = ssl.create_default_context(cafile=None if ca is None else str(ca))
        self._session: aiohttp.ClientSession | None = None

    async def ask(
        self,
        *,
        tenant_id: str,
        agent_id: str,
        pact_id: str,
        pact_version: int,
        tool: str,
        params: bytes,
        session_id: str | None,
        reserve: Reserve | None,
    ) -> ReadAnswer:
        """The verdict on a call to come, as of now.

        Raises:
            Backpressure: nobody who could say answers. A reservation may have been made; it lapses.
            Refused: 409 the reservation id stands for another call, 429 the agent has too many.
        """
        partition = self._publisher.partition_of(agent_id)
        question = Question(
            partition=partition,
            after=self._publisher.reached(partition),
            received_at_micros=clock.now_micros(),
            tenant_id=tenant_id,
            agent_id=agent_id,
            pact_id=pact_id,
            pact_version=pact_version,
            tool=tool,
            params=msgspec.Raw(params),
            session_id=session_id,
            reserve=reserve,
        )
        return msgspec.json.decode(await self._post(partition, ASK, question), type=ReadAnswer)

    async def cancel(self, *, tenant_id: str, agent_id: str, reservation_id: UUID) -> bool:
        """Give back what is held; whether there was anything. Raises as `ask`."""
        partition = self._publisher.partition_of(agent_id)
        wanted = Cancellation(partition, tenant_id, agent_id, str(reservation_id))
        return msgspec.json.decode(await self._post(partition, CANCEL, wanted), type=Cancelled).found

    async def close(self) -> None:
        """Hang up."""
        if self._session is not None:
            await self._session.close()

    async def _post(self, partition: int, path: str, content: msgspec.Struct) -> bytes:
        deadline = clock.monotonic_seconds() + self._timeout_seconds
        body, stale, reason = _JSON.encode(content), None, ""
        for _ in range(_ATTEMPTS):
            address = await self._owners.address(partition, stale=stale)
            if address is None:
                raise Backpressure("no evaluator holds the agent's state at present")
            try:
                status, answer = await self._send(address + path, body, deadline)
            except (aiohttp.ClientError, TimeoutError) as error:
                stale, reason = address, f"{type(error).__name__}: {error}"
                continue
            if status != NOT_HELD:
                return _checked(status, answer)
            stale, reason = address, _reason(answer)
        _log.warning("partition %d: no evaluator answers: %s", partition, reason)
        raise Backpressure("the evaluator that holds the agent's state does not answer")

    async def _send(self, url: str, body: bytes, deadline: float) -> tuple[int, bytes]:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=_CONNECTIONS, keepalive_timeout=_KEEP_SECONDS, ssl=self._tls
                ),
                headers=self._headers | {"Content-Type": "application/json"},
                auto_decompress=False,
            )
        left = max(deadline - clock.monotonic_seconds(), 0.001)
        limit = aiohttp.ClientTimeout(total=left)
        async with self._session.post(url, data=body, timeout=limit, allow_redirects=False) as answer:
            return answer.status, await answer.read()


def _checked(status: int, answer: bytes) -> bytes:
    if status == 200:
        return answer
    reason = _reason(answer)
    if status == 409:
        raise Refused(409, reason)
    if status == 429:
        raise Refused(429, reason, headers=retry_after(1))
    if status != 503:
        _log.error("an evaluator refuses what this gateway asks: %d, %s", status, reason)
        reason = "the evaluator does not take this gateway's question"
    raise Backpressure(reason)


def _reason(answer: bytes) -> str:
    try:
        return msgspec.json.decode(answer, type=Refusal).error
    except msgspec.MsgspecError:
        return "no reason given"
