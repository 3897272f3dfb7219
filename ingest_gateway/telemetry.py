"""`POST /api/v1/telemetry/events`: a plain Starlette route, because this is the hot path."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ingest_gateway import metrics
from ingest_gateway.access import Access, Principal
from ingest_gateway.admission import Admission, admit
from pactstream import avro, clock
from pactstream.control.pacts import PactBook
from pactstream.events import results
from pactstream.kafka import topics
from pactstream.kafka.publisher import Publisher
from pactstream.web import RateLimiter, require_json

PATH = "/api/v1/telemetry/events"


class Telemetry:
    """The endpoint: authenticate, admit, publish, answer."""

    def __init__(self, access: Access, pacts: PactBook, publisher: Publisher, limiter: RateLimiter) -> None:
        self._access = access
        self._pacts = pacts
        self._publisher = publisher
        self._limiter = limiter

    async def post(self, request: Request) -> Response:
        """The route: `take`, as a response."""
        status, content = await self.take(request)
        return Response(content, status, media_type="application/json")

    async def take(self, request: Request) -> tuple[int, bytes]:
        """Take a batch; returns once every accepted event is acknowledged by all in-sync replicas.

        What is returned is the answer's status and its JSON.

        Raises:
            Refused, InvalidInput, HTTPException: the request as a whole is refused.
            Backpressure: Kafka did not acknowledge. Events may have been written all the same; the same body
                sent again names the same events, and the pipeline judges each id once.
        """
        principal = self.begin(request)
        require_json(request)
        body = await request.body()
        return results.answer(await self.submit(body, principal, request.state.request_id))

    def begin(self, request: Request) -> Principal:
        """Who sends, before the body is read: who is over the limit costs no more than this.

        Raises:
            Refused: 401, 403 or 429.
        """
        principal = self._access.principal(request, "telemetry:write")
        self._limiter.check(principal.key.key_id)
        return principal

    async def submit(self, body: bytes, principal: Principal, request_id: str) -> list[results.Result]:
        """The result of each event of a body, once all accepted ones are acknowledged; one is counted already.

        Raises: as `take`.
        """
        received_at = clock.now_micros()
        admission = admit(body, principal.tenant, self._pacts, received_at_micros=received_at)
        if len(admission.results) > 1:
            self._limiter.check(principal.key.key_id, len(admission.results) - 1)
        if admission.events_by_agent:
            await self._publish(admission, principal, request_id, received_at)
        _count(admission)
        return admission.results

    async def _publish(
        self, admission: Admission, principal: Principal, request_id: str, received_at: int
    ) -> None:
        began = clock.monotonic_seconds()
        writes = [
            self._publisher.publish(
                topics.BATCHES,
                agent_id.encode(),
                _batch(principal, agent_id, request_id, received_at, events),
            )
            for agent_id, events in admission.events_by_agent.items()
        ]
        # A crash between two of these leaves a part of the body written and the client without an answer:
        # it sends the body again, and the pipeline drops the ids it has seen.
        try:
            if len(writes) == 1:
                await writes[0]
            else:
                await asyncio.gather(*writes)
        finally:
            metrics.PUBLISH_SECONDS.observe(clock.monotonic_seconds() - began)


def _batch(
    principal: Principal,
    agent_id: str,
    request_id: str,
    received_at_micros: int,
    events: Sequence[dict[str, Any]],
) -> bytes:
    record = {
        "tenant_id": principal.tenant.tenant_id,
        "tenant_pseudonym": principal.tenant.pseudonym,
        "agent_id": agent_id,
        "key_id": principal.key.key_id,
        "request_id": request_id,
        "received_at_micros": received_at_micros,
        "events": events,
    }
    return avro.encode("TelemetryBatch", record)


def _count(admission: Admission) -> None:
    # Added up first: finding a metric by its labels costs more than the rest of counting.
    taken = Counter((kind, metrics.verdict_label(verdict)) for kind, verdict in admission.verdicts)
    for (kind, label), count in taken.items():
        metrics.EVENTS.labels(kind, label).inc(count)
    for one in admission.results:
        if isinstance(one, results.Rejected):
            metrics.REJECTED.labels(one.error.code).inc()
