"""The sidecar's HTTP side: the gateway's own paths, so that an SDK only changes its base URL."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Final, TypeVar
from uuid import UUID

import anyio.to_thread
from fastapi import FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import ClientDisconnect

from pactstream import clock, web
from pactstream.bodies import BodyGuard, Room
from pactstream.errors import Backpressure
from pactstream.events import results
from pactstream.sdk.sender import EVENTS_PATH
from pactstream.sdk.transport import Body, NotNow, Transport
from pactstream.sidecar import metrics
from pactstream.sidecar.batch import take
from pactstream.sidecar.store import Store
from pactstream.web import Refused

ASK_SECONDS: Final = 10.0
"""An agent that waits before a call waits no longer; its own time-out is usually shorter."""
_BODY_SECONDS: Final = 10.0
_BODIES_AT_ONCE: Final = 32
T = TypeVar("T")


class Door:
    """Who may send: whoever has the token; without one, any program that reaches the address, no browser."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()

    def check(self, request: Request) -> None:
        """Raises Refused: 400 two tokens, 401 not the right one, 403 a browser's page."""
        if self._token:
            if not hmac.compare_digest(web.presented_key(request).encode(), self._token):
                raise Refused(401, "the sidecar's token is required", headers={"WWW-Authenticate": "Bearer"})
        elif "origin" in request.headers:
            # A page from anywhere can have a browser post to loopback; the browser then says whose page it is.
            raise Refused(403, "this sidecar takes nothing from browsers: give it a token")


def create_app(store: Store, transport: Transport, door: Door, max_body_bytes: int) -> FastAPI:
    """The application on its parts."""
    app = FastAPI(title="Pactstream sidecar", docs_url=None, redoc_url=None, openapi_url=None)
    room = Room(_BODIES_AT_ONCE * max_body_bytes)
    app.add_middleware(BodyGuard, max_bytes=max_body_bytes, timeout_seconds=_BODY_SECONDS, room=room)

    async def ready() -> bool:
        return not await _in_thread(lambda: store.full)

    web.install(app, ready)
    app.add_exception_handler(ClientDisconnect, _gone)

    @app.get("/metrics")
    async def show_metrics() -> Response:
        await _in_thread(lambda: metrics.show(store))
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    @app.post(EVENTS_PATH)
    async def events(request: Request) -> Response:
        door.check(request)
        web.require_json(request)
        taken = take(await request.body(), received_at_micros=clock.now_micros())
        if taken.events:
            # A crash before the answer: the agent sends the batch again, and the pipeline knows its ids.
            await _in_thread(lambda: store.put(taken.body, taken.events))
            metrics.EVENTS.labels("taken").inc(taken.events)
        status, content = results.answer(taken.results)
        return Response(content, status, media_type="application/json")

    async def pass_on(request: Request, path: str) -> Response:
        """Ask the gateway, now or not at all: a verdict that comes later is none."""
        door.check(request)
        sent = Body(await request.body(), {"Content-Type": "application/json"})
        until = clock.monotonic_seconds() + ASK_SECONDS
        # Calls that were made before must count, so they must be there before.
        if not await _in_thread(lambda: store.wait_sent(ASK_SECONDS / 2)):
            raise Backpressure("what was recorded before this call has not reached the gateway yet")
        left = until - clock.monotonic_seconds()
        try:
            answer = await _in_thread(lambda: transport.exchange(request.method, path, sent, left))
        except NotNow as failure:
            raise Backpressure(f"the gateway does not answer: {failure}") from None
        given = {"Content-Type": answer.content_type, "Retry-After": answer.retry_after}
        headers = {name: value for name, value in given.items() if value is not None}
        return Response(answer.content, answer.status, headers)

    @app.post("/api/v1/pacts/{pact_id}/validate-call")
    async def validate_call(request: Request, pact_id: UUID) -> Response:
        return await pass_on(request, f"/api/v1/pacts/{pact_id}/validate-call")

    @app.delete("/api/v1/agents/{agent_id}/reservations/{reservation_id}")
    async def cancel(request: Request, agent_id: UUID, reservation_id: UUID) -> Response:
        return await pass_on(request, f"/api/v1/agents/{agent_id}/reservations/{reservation_id}")

    return app


async def _in_thread(function: Callable[[], T]) -> T:
    return await anyio.to_thread.run_sync(function)


async def _gone(_: Request, __: Exception) -> Response:
    # The client hung up in the middle of its body: nobody reads this.
    return web.error_response(400, "the body was cut off")
