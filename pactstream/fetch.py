"""Fetching over HTTP for the commands: bounded, with errors that a person understands."""

from __future__ import annotations

from typing import Any

import msgspec
import urllib3

from pactstream.deadline import pool_manager
from pactstream.errors import Fatal

_MAX_BYTES = 16 * 1024 * 1024
_TIMEOUT_SECONDS = 10.0
_pool = pool_manager(_TIMEOUT_SECONDS, retries=False)


def fetch(url: str, method: str = "GET", *, body: Any = None, headers: dict[str, str] | None = None) -> bytes:
    """The body of a successful answer; `body` is sent as JSON.

    Raises:
        Fatal: nobody answers, the answer is an error (its text is passed on), or it is too long.
    """
    sent = dict(headers or {})
    content = None
    if body is not None:
        content = msgspec.json.encode(body)
        sent["Content-Type"] = "application/json"
    try:
        response = _pool.request(method, url, body=content, headers=sent, preload_content=False)
        data = response.read(_MAX_BYTES + 1, decode_content=True)
        response.release_conn()
    except urllib3.exceptions.HTTPError as error:
        raise Fatal(f"{url} does not answer: {error}") from None
    if len(data) > _MAX_BYTES:
        raise Fatal(f"{url}: the answer is longer than {_MAX_BYTES} bytes")
    if response.status >= 400:
        raise Fatal(f"{url} answers {response.status}: {_reason(data)}")
    return bytes(data)


def _reason(data: bytes) -> str:
    try:
        return str(msgspec.json.decode(data)["error"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return data[:200].decode("utf-8", "replace")
