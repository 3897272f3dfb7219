"""What a request body may be: so large, so slow, so compressed. Around every route that takes one.

Whatever a route reads has passed through here, decompressed and within the limits; a route that reads nothing
(because the key is wrong, say) costs nothing.
"""

from __future__ import annotations

import asyncio
import sys
import zlib
from collections.abc import Callable
from typing import Any, Protocol

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pactstream import clock
from pactstream.web import retry_after

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

# RFC 9659: a window beyond 8 MiB must not be expected of a receiver of the zstd content coding.
_ZSTD_OPTIONS: dict[int, int] = {zstd.DecompressionParameter.window_log_max: 23}
_GZIP_WINDOW = 16 + zlib.MAX_WBITS
# What is taken in and thrown away, so that a client which is still writing reads the answer and no reset.
_DRAIN_BYTES = 16 << 20
_DRAIN_SECONDS = 2.0
_ACCEPTED = {"Accept-Encoding": "gzip, zstd"}


class _Decoder(Protocol):
    eof: bool
    unused_data: bytes

    def decompress(self, data: bytes, max_length: int = ..., /) -> bytes: ...


class Room:
    """What all bodies that requests under way have read may take together."""

    def __init__(self, buffer_bytes: int) -> None:
        self._left = buffer_bytes

    def take(self, count: int) -> None:
        """So many bytes. Raises HTTPException: 503, there is no room for them."""
        if count > self._left:
            raise HTTPException(503, "too many bodies at once; try again", retry_after(1))
        self._left -= count

    def give_back(self, count: int) -> None:
        """So many bytes."""
        self._left += count


class BodyGuard:
    """ASGI middleware that holds every body to the limits.

    `max_bytes` holds for the body as sent and as decompressed, `timeout_seconds` from its first read to its
    end, `room` for all bodies that requests under way have read.
    """

    def __init__(self, app: ASGIApp, *, max_bytes: int, timeout_seconds: float, room: Room) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._timeout_seconds = timeout_seconds
        self._room = room

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application with a guarded `receive`."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = _Body(Headers(scope=scope), receive, self._max_bytes, self._timeout_seconds, self._room.take)

        async def send_after_body(message: Message) -> None:
            if message["type"] == "http.response.start":
                await body.drain()
            await send(message)

        try:
            await self._app(scope, body.receive, send_after_body)
        finally:
            self._room.give_back(body.buffered)


class _Body:
    def __init__(
        self,
        headers: Headers,
        receive: Receive,
        max_bytes: int,
        timeout_seconds: float,
        reserve: Callable[[int], None],
    ) -> None:
        self._headers = headers
        self._receive = receive
        self._max_bytes = max_bytes
        self._timeout_seconds = timeout_seconds
        self._reserve = reserve
        self._deadline: float | None = None
        self._decoder: _Decoder | None = None
        self._taken = 0
        self._begun = False
        self._ended = False
        self.buffered = 0

    async def receive(self) -> Message:
        """The next message; body bytes are decompressed.

        Raises:
            HTTPException: 400, 408, 413, 415 or 503, as the class says. It is Starlette's because FastAPI makes
                a 400 of any other error in a body.
        """
        if self._ended:
            return await self._receive()
        if self._deadline is None:
            self._begin()
        message = await self._next()
        if message["type"] != "http.request":
            self._ended = True
            return message
        self._ended = not message.get("more_body", False)
        return {**message, "body": self._accept(message.get("body", b""))}

    async def drain(self) -> None:
        """Take in what the client is still sending, within bounds, before it is answered (RFC 9112, 9.6)."""
        if self._ended or (not self._begun and self._sends_nothing_unasked()):
            return
        try:
            async with asyncio.timeout(_DRAIN_SECONDS):
                left = _DRAIN_BYTES
                while left > 0 and not self._ended:
                    message = await self._receive()
                    left -= len(message.get("body", b""))
                    self._ended = not message.get("more_body", False)
        except TimeoutError:
            return

    def _sends_nothing_unasked(self) -> bool:
        has_body = "transfer-encoding" in self._headers or self._headers.get("content-length", "0") != "0"
        return not has_body or "expect" in self._headers

    def _begin(self) -> None:
        self._deadline = clock.monotonic_seconds() + self._timeout_seconds
        self._decoder = _decoder(self._headers.get("content-encoding", "identity"))
        length = self._headers.get("content-length", "")
        if length.isascii() and length.isdigit() and int(length[:20]) > self._max_bytes:
            self._refuse_size()

    async def _next(self) -> Message:
        self._begun = True
        left = (self._deadline or 0) - clock.monotonic_seconds()
        try:
            async with asyncio.timeout(left):
                return await self._receive()
        except TimeoutError:
            message = f"the body did not arrive within {self._timeout_seconds:g} s"
            self._ended = True
            raise HTTPException(408, message, {"Connection": "close"}) from None

    def _accept(self, chunk: bytes) -> bytes:
        self._taken += len(chunk)
        if self._taken > self._max_bytes:
            self._refuse_size()
        data = chunk if self._decoder is None else self._decompress(self._decoder, chunk)
        self._reserve(len(data))
        self.buffered += len(data)
        if self.buffered > self._max_bytes:
            self._refuse_size()
        return data

    def _decompress(self, decoder: _Decoder, chunk: bytes) -> bytes:
        data, follows = b"", bool(chunk) and decoder.eof
        try:
            if chunk and not follows:
                # One byte more than allowed is enough to know: a bomb is never unpacked any further.
                data = decoder.decompress(chunk, self._max_bytes - self.buffered + 1)
        except (zlib.error, zstd.ZstdError) as error:
            raise HTTPException(400, f"the body is not what Content-Encoding says: {error}") from None
        if follows or decoder.unused_data:
            raise HTTPException(400, "bytes follow the compressed body; one gzip member or zstd frame is taken")
        if self._ended and not decoder.eof and self.buffered + len(data) <= self._max_bytes:
            raise HTTPException(400, "the compressed body is cut off")
        return data

    def _refuse_size(self) -> None:
        message = f"the body is larger than {self._max_bytes} bytes"
        if self._decoder is not None:
            message += ", as sent or decompressed"
        raise HTTPException(413, message)


def _decoder(coding: str) -> _Decoder | None:
    made: Any
    match coding.strip().lower():
        case "" | "identity":
            return None
        case "gzip" | "x-gzip":
            made = zlib.decompressobj(_GZIP_WINDOW)
        case "zstd":
            made = zstd.ZstdDecompressor(options=_ZSTD_OPTIONS)
        case _:
            raise HTTPException(415, "Content-Encoding must be gzip, zstd or absent", _ACCEPTED)
    decoder: _Decoder = made
    return decoder
