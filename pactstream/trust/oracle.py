"""Talking to an oracle: bounded in time and size, no redirects, one type of error when it cannot be done."""

from __future__ import annotations

from collections.abc import Mapping

import urllib3

from pactstream.deadline import pool_manager
from pactstream.ledger.tiles import MAX_BUNDLE_BYTES, Fetch, Missing
from pactstream.trust.errors import OracleUnavailable, UnknownAgent

MAX_REPORT_BYTES = 262_144
_MAX_KEYS_BYTES = 1_000_000


class Oracle:
    """One oracle's HTTP side. May be shared by threads.

    Raises (any method):
        OracleUnavailable: no answer in time, an answer that is too long, or a status that says so.
    """

    def __init__(self, url: str, timeout_seconds: float, headers: Mapping[str, str] | None = None) -> None:
        self._url = url.rstrip("/")
        self._pool = pool_manager(
            timeout_seconds,
            retries=False,
            maxsize=8,
            headers={"Accept": "application/json", **(headers or {})},
        )

    def report(self, agent_id: str) -> bytes:
        """An agent's report as text. Raises `UnknownAgent`."""
        try:
            return self._get(f"api/v1/trust/{agent_id}", MAX_REPORT_BYTES)
        except Missing:
            raise UnknownAgent(f"the oracle knows nothing of the agent {agent_id}") from None

    def log_keys(self) -> bytes:
        """The verifier keys of all logs, as published. Raises `Missing`."""
        return self._get("ledger/keys", _MAX_KEYS_BYTES)

    def log_files(self, origin: str) -> Fetch:
        """Reads the published files of a log, whose origin ends in its number."""
        number = origin.rpartition("/")[2]
        return lambda path: self._get(f"ledger/{number}/{path}", MAX_BUNDLE_BYTES)

    def close(self) -> None:
        """Close every connection."""
        self._pool.clear()

    def _get(self, path: str, max_bytes: int) -> bytes:
        url = f"{self._url}/{path}"
        try:
            response = self._pool.request("GET", url, preload_content=False, redirect=False)
            try:
                data = response.read(max_bytes + 1, decode_content=True)
                if len(data) > max_bytes:
                    response.close()  # the rest must not be taken for the next answer
            finally:
                response.release_conn()
        except urllib3.exceptions.HTTPError as error:
            raise OracleUnavailable(f"{url} does not answer: {type(error).__name__}") from error
        if response.status == 404:
            raise Missing(f"{path} is missing")
        if response.status != 200:
            raise OracleUnavailable(f"{url} answers {response.status}")
        if len(data) > max_bytes:
            raise OracleUnavailable(f"{url}: the answer is longer than {max_bytes} bytes")
        return bytes(data)
