"""The HTTP side of a witness (services extra): `POST /add-checkpoint`, `GET /<origin hash>/checkpoint`."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from pactstream.errors import Fatal, Retryable
from pactstream.ledger.witness import MAX_REQUEST_BYTES, Witness

_CACHE_SECONDS = 5


def application(witness: Witness) -> Starlette:
    """The witness as an ASGI application."""

    async def add_checkpoint(request: Request) -> Response:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_REQUEST_BYTES:
                return PlainTextResponse(f"a request has at most {MAX_REQUEST_BYTES} bytes\n", 413)
        answer = await run_in_threadpool(witness.add_checkpoint, bytes(body))
        # As a header: for a media type of text/* the framework would add a charset that does not belong.
        return Response(
            answer.body, answer.status, {"Content-Type": answer.media_type, "Cache-Control": "no-store"}
        )

    async def checkpoint(request: Request) -> Response:
        cosigned = await run_in_threadpool(witness.latest, request.path_params["origin_hash"])
        if cosigned is None:
            return PlainTextResponse("no checkpoint of this log is cosigned\n", 404)
        caching = {"Cache-Control": f"public, max-age={_CACHE_SECONDS}"}
        return Response(cosigned, headers=caching, media_type="text/plain; charset=utf-8")

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("OK\n")

    async def on_failure(_: Request, error: Exception) -> Response:
        return PlainTextResponse(f"{error}\n", 500)

    routes = [
        Route("/add-checkpoint", add_checkpoint, methods=["POST"]),
        Route("/healthz", healthz),
        Route("/{origin_hash}/checkpoint", checkpoint),
    ]
    return Starlette(routes=routes, exception_handlers={Fatal: on_failure, Retryable: on_failure})
