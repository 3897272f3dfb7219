"""Posting to strangers: to public addresses only, no redirects, no proxies.

Everything has one deadline, so a receiver that answers a byte at a time holds a connection for that long and no
longer. What it answers beyond its head is not read, unless a sender is made to, and then to a limit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import Future
from threading import Thread
from typing import Final, NamedTuple

import aiohttp

from pactstream import __version__
from pactstream.webhooks.addresses import AddressRefused, PublicResolver, check_url

SECONDS: Final = 15.0
AT_ONCE: Final = 64

_HEADERS = {"User-Agent": f"pactstream/{__version__}", "Content-Type": "application/json"}


class Answer(NamedTuple):
    """What came back: a status, or None and the reason why there is none."""

    status: int | None
    reason: str
    body: bytes = b""

    @property
    def delivered(self) -> bool:
        """Whether the receiver has it."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def gone(self) -> bool:
        """Whether the receiver wants no more."""
        return self.status == 410


class Sender:
    """Posts from an event loop of its own, in a thread; `post` may be called from any other.

    A body of more than `max_body_bytes` is no answer; with 0, none is read.
    """

    def __init__(
        self, *, allow_private: bool = False, seconds: float = SECONDS, max_body_bytes: int = 0
    ) -> None:
        self._allow_private = allow_private
        self._seconds = seconds
        self._max_body_bytes = max_body_bytes
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="webhook sender", daemon=True)
        self._thread.start()
        self._session = asyncio.run_coroutine_threadsafe(self._open(), self._loop).result()

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Future[Answer]:
        """Post once; the future never fails."""
        return asyncio.run_coroutine_threadsafe(self._post(url, headers, body), self._loop)

    def close(self) -> None:
        """Break off what is under way, and stop."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _open(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            # No cache and no connection kept: what was public a minute ago is looked up again.
            resolver=PublicResolver(allow_private=self._allow_private),
            use_dns_cache=False,
            force_close=True,
            limit=AT_ONCE,
        )
        return aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=self._seconds),
            headers=_HEADERS,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
        )

    async def _close(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._session.close()

    async def _body(self, answer: aiohttp.ClientResponse) -> bytes:
        """The body, or a byte more than its limit of a longer one."""
        body = bytearray()
        while self._max_body_bytes and len(body) <= self._max_body_bytes:
            chunk = await answer.content.read(self._max_body_bytes + 1 - len(body))
            if not chunk:
                break
            body += chunk
        return bytes(body)

    async def _post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        try:
            # An address in the URL itself is never looked up: it is checked here.
            check_url(url, allow_private=self._allow_private)
            async with self._session.post(url, data=body, headers=headers, allow_redirects=False) as answer:
                read = await self._body(answer)
                answer.close()
                if len(read) > self._max_body_bytes:
                    return Answer(None, f"its answer is longer than {self._max_body_bytes} bytes")
                return Answer(answer.status, f"it answered {answer.status}", read)
        except AddressRefused as error:
            return Answer(None, str(error))
        except TimeoutError:
            return Answer(None, f"no answer within {self._seconds:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Answer(None, type(error).__name__)
        except asyncio.CancelledError:
            return Answer(None, "broken off")
