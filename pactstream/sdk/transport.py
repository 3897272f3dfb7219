"""HTTP to the gateway: one request, one bounded answer. What a failure means is in its type."""

from __future__ import annotations

# The socket module loads this codec with the first connection. A fork at that moment, on another thread, would
# leave the child the lock of an import that nobody is at any more, and no connection would ever be made in it.
import encodings.idna  # noqa: F401
import gzip
from collections.abc import Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec
import urllib3
from urllib3.exceptions import HTTPError

from pactstream import __version__, clock
from pactstream.sdk.config import Secret

MAX_ANSWER_BYTES = 8 * 1024 * 1024
MAX_RETRY_AFTER_SECONDS = 300.0
_MAX_IDLE_CONNECTIONS = 32
_CHUNK_BYTES = 64 * 1024
_MAX_REASON = 500
_OVERLOADED = frozenset({429, 502, 503, 504})
"""The server (or a proxy before it) cannot take anything now; RFC 6585 and RFC 9110, section 15.6."""


class DeliveryFailed(Exception):
    """A request that did not achieve what it was for."""


class Refused(DeliveryFailed):
    """The server refuses this request and will refuse it again (4xx, or a redirect); `content` says more."""

    def __init__(self, reason: str, status: int, content: bytes) -> None:
        super().__init__(reason)
        self.status = status
        self.content = content


class NotNow(DeliveryFailed):
    """The request may succeed later. `retry_after_seconds` is the server's wish, if it had one.

    `suspicious` is set where the request itself may be what the server fails on, so that trying for ever would
    hold up everything behind it.
    """

    def __init__(
        self, reason: str, *, retry_after_seconds: float | None = None, suspicious: bool = False
    ) -> None:
        super().__init__(reason)
        self.retry_after_seconds = retry_after_seconds
        self.suspicious = suspicious


class Unreachable(NotNow):
    """No connection, or one that broke or was silent before the answer was complete."""


class Body(NamedTuple):
    """A request body as it goes out: the same bytes at every attempt."""

    content: bytes
    headers: dict[str, str]


def json_body(content: bytes, compress_over_bytes: int | None = None) -> Body:
    """A JSON body, gzipped where it is longer than `compress_over_bytes`."""
    headers = {"Content-Type": "application/json"}
    if compress_over_bytes is not None and len(content) > compress_over_bytes:
        content = gzip.compress(content, compresslevel=6, mtime=0)
        headers["Content-Encoding"] = "gzip"
    return Body(content, headers)


class Answer(NamedTuple):
    """A whole answer, whatever it says; `retry_after` is the header as it came."""

    status: int
    content: bytes
    content_type: str | None
    retry_after: str | None


class _ErrorBody(msgspec.Struct):
    error: str
    code: str = ""
    details: Sequence[object] = ()


class Transport:
    """Posts to one gateway over kept-alive connections, with verified TLS and without redirects."""

    def __init__(self, base_url: str, api_key: Secret, ca_certs: str | None = None) -> None:
        self._base_url = base_url
        self._prefix = urlsplit(base_url).path
        self._api_key = api_key
        self._ca_certs = ca_certs
        self.reset()

    def reset(self) -> None:
        """Begin anew without connections, in a process just forked: the sockets are the parent's."""
        options: dict[str, Any] = {"maxsize": _MAX_IDLE_CONNECTIONS}
        if self._base_url.startswith("https:"):
            options |= {"cert_reqs": "CERT_REQUIRED", "ca_certs": self._ca_certs}
        self._pool = urllib3.connection_from_url(self._base_url, **options)

    def close(self) -> None:
        """Close idle connections; a later request makes new ones."""
        pool = self._pool
        self.reset()
        pool.close()

    def post(self, path: str, body: Body, timeout_seconds: float) -> bytes:
        """POST and read the whole answer (2xx); its content.

        Raises:
            Refused: 3xx or 4xx.
            NotNow: no connection, no answer in time, an answer too long, 429 or 5xx.
        """
        return self._request("POST", path, body, timeout_seconds)

    def delete(self, path: str, timeout_seconds: float) -> None:
        """DELETE. Raises as `post`."""
        self._request("DELETE", path, Body(b"", {}), timeout_seconds)

    def _request(self, method: str, path: str, body: Body, timeout_seconds: float) -> bytes:
        answer = self.exchange(method, path, body, timeout_seconds)
        self._check(answer)
        return answer.content

    def exchange(self, method: str, path: str, body: Body, timeout_seconds: float) -> Answer:
        """Make one request and read the whole answer, good or bad.

        Raises:
            NotNow: no connection, no answer in time, or an answer too long.
        """
        deadline = clock.monotonic_seconds() + timeout_seconds
        headers = {
            **body.headers,
            "X-Pact-Key": self._api_key.reveal(),
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": f"pactstream-python/{__version__}",
        }
        try:
            response = self._pool.urlopen(
                method,
                self._prefix + path,
                body=body.content or None,
                headers=headers,
                timeout=urllib3.Timeout(total=timeout_seconds),
                retries=False,
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
            content = _read(response, deadline)
        except (HTTPError, OSError) as error:
            raise Unreachable(f"no answer: {self._safe(str(error) or type(error).__name__)}") from None
        found = response.headers
        return Answer(response.status, content, found.get("Content-Type"), found.get("Retry-After"))

    def _check(self, answer: Answer) -> None:
        status = answer.status
        if 200 <= status < 300:
            return
        reason = f"HTTP {status}: {self._safe(_reason(answer.content))}"
        if status in _OVERLOADED or status >= 500:
            wish = retry_after_seconds(answer.retry_after)
            raise NotNow(reason, retry_after_seconds=wish, suspicious=status not in _OVERLOADED)
        raise Refused(reason, status, answer.content)

    def _safe(self, reason: str) -> str:
        """A server's or a library's words, fit for a log: short, on one line, without the key."""
        without_key = reason.replace(self._api_key.reveal(), "***")
        return "".join(c if c.isprintable() else "�" for c in without_key[:_MAX_REASON])


def _read(response: urllib3.BaseHTTPResponse, deadline: float) -> bytes:
    """The answer's content. A connection that was not read to its end is closed, not used again."""
    content = bytearray()
    try:
        while chunk := response.read1(_CHUNK_BYTES):
            content += chunk
            if len(content) > MAX_ANSWER_BYTES:
                raise NotNow(f"the answer is longer than {MAX_ANSWER_BYTES} bytes", suspicious=True)
            if clock.monotonic_seconds() > deadline:
                raise NotNow("the answer came too slowly")
    except BaseException:
        response.close()
        raise
    response.release_conn()
    return bytes(content)


def _reason(content: bytes) -> str:
    try:
        body = msgspec.json.decode(content, type=_ErrorBody)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return content[:_MAX_REASON].decode("utf-8", "replace")
    details = f" {msgspec.json.encode(body.details).decode()}" if body.details else ""
    return f"{body.error} ({body.code}){details}"


def retry_after_seconds(header: str | None) -> float | None:
    """`Retry-After` (RFC 9110, section 10.2.3) as seconds from now, 0 to `MAX_RETRY_AFTER_SECONDS`."""
    if header is None:
        return None
    header = header.strip()
    if header.isascii() and header.isdigit():
        return min(float(header), MAX_RETRY_AFTER_SECONDS)
    try:
        moment = parsedate_to_datetime(header)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    seconds = (clock.to_micros(moment) - clock.now_micros()) / clock.MICROS_PER_SECOND
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_SECONDS)
