"""The gateway, asked with the key of whoever is logged in: it alone makes changes, and judges who may."""

from __future__ import annotations

from typing import Any, Final

import aiohttp
import msgspec

from pactstream.errors import Backpressure, Detail
from pactstream.web import Refused, retry_after

MAX_ANSWER_BYTES: Final = 4 << 20
_TIMEOUT_SECONDS = 15.0
_CONNECTIONS = 32
_PASSED_HEADERS = ("Retry-After", "X-RateLimit-Reset")


class Gateway:
    """One gateway, for one event loop."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._session: aiohttp.ClientSession | None = None

    async def ask(self, method: str, path: str, api_key: str, body: bytes | None = None) -> tuple[int, Any]:
        """Status and JSON of a successful answer; `path` must be made of checked parts only.

        Raises:
            Refused: the gateway's own words, with its status.
            Backpressure: it does not answer.
        """
        headers = {"X-Pact-Key": api_key} | ({} if body is None else {"Content-Type": "application/json"})
        try:
            async with self._client().request(
                method, self._url + path, data=body, headers=headers, allow_redirects=False
            ) as answer:
                data = await answer.content.read(MAX_ANSWER_BYTES + 1)
                while not answer.content.at_eof() and len(data) <= MAX_ANSWER_BYTES:
                    data += await answer.content.read(MAX_ANSWER_BYTES)
                status, passed = answer.status, answer.headers
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Backpressure(f"the gateway does not answer ({type(error).__name__})") from error
        if status >= 400:
            kept = {name: passed[name] for name in _PASSED_HEADERS if name in passed}
            raise _refused(status, data, kept)
        try:
            return status, msgspec.json.decode(data) if data else None
        except msgspec.DecodeError as error:
            raise Refused(503, "the gateway's answer is not JSON", headers=retry_after(1)) from error

    async def close(self) -> None:
        """Hang up."""
        if self._session is not None:
            await self._session.close()

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=_CONNECTIONS),
                timeout=aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS),
            )
        return self._session


class _Detail(msgspec.Struct):
    path: str
    message: str


class _Refusal(msgspec.Struct):
    error: str
    details: list[_Detail] = []


def _refused(status: int, data: bytes, headers: dict[str, str]) -> Refused:
    try:
        said = msgspec.json.decode(data, type=_Refusal)
    except msgspec.DecodeError:
        said = _Refusal(f"the gateway answers {status}")
    # 401 would say that the session is over; the gateway means that this key does not do here.
    passed = 403 if status == 401 else status
    return Refused(passed, said.error, [Detail(one.path, one.message) for one in said.details], headers)
