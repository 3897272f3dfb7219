"""The evaluator's server and the gateway's client, over real sockets: HTTPS, the secret, a clean stop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any
from uuid import UUID

import pytest
from pydantic import SecretStr

from evaluator_worker.preflight_server import PreflightServer
from ingest_gateway.evaluators import Evaluators
from pactstream.errors import Backpressure, Fatal
from pactstream.preflight.settings import PreflightSettings
from pactstream.preflight.wire import Cancellation, Cancelled
from tests.unit.test_sdk_tls import certificate

AGENT = "76cf31d6-ffe3-4a5c-8748-021114aa8066"
RESERVATION = UUID("01920000-0000-7000-8000-000000000001")


class Fixed:
    """`Preflight` that finds every reservation, and `Owners` that knows one address."""

    def __init__(self, address: str = "") -> None:
        self._address = address

    async def ask(self, question: object) -> object:
        raise AssertionError(question)

    async def cancel(self, cancellation: Cancellation) -> Cancelled:
        return Cancelled(cancellation.reservation_id == str(RESERVATION))

    def partition_of(self, agent_id: str) -> int:
        return 0

    async def address(self, partition: int, *, stale: str | None = None) -> str:
        return self._address


@contextmanager
def serving(settings: PreflightSettings, advertised: str = "") -> Iterator[str]:
    stop, server, fixed = Event(), PreflightServer(settings, "127.0.0.1", 0, advertised), Fixed()
    answering: Any = fixed
    thread = Thread(target=server.serve, args=(answering, stop))
    thread.start()
    try:
        yield server.address
    finally:
        stop.set()
        thread.join(10)
    assert not thread.is_alive()


def cancel(settings: PreflightSettings, address: str) -> bool:
    async def ask() -> bool:
        parts: Any = Fixed(address)
        evaluators = Evaluators(parts, parts, settings, 5)
        try:
            return await evaluators.cancel(tenant_id="t", agent_id=AGENT, reservation_id=RESERVATION)
        finally:
            await evaluators.close()

    return asyncio.run(ask())


def test_over_plain_http_on_loopback() -> None:
    with serving(PreflightSettings()) as address:
        assert address.startswith("http://127.0.0.1:")
        assert cancel(PreflightSettings(), address)
    with pytest.raises(Backpressure, match="does not answer"):
        cancel(PreflightSettings(), address)


def test_over_https_with_a_secret(tmp_path: Path) -> None:
    _, authority = certificate(tmp_path, "127.0.0.1")
    files: dict[str, Any] = {
        "preflight_ssl_certificate": tmp_path / "certificate.pem",
        "preflight_ssl_key": tmp_path / "key.pem",
    }
    secret: dict[str, Any] = {"preflight_secret": SecretStr("s3cret")}
    trust: dict[str, Any] = {"preflight_ssl_ca": Path(authority)}
    with serving(PreflightSettings(**files, **secret)) as address:
        assert address.startswith("https://127.0.0.1:")
        assert cancel(PreflightSettings(**secret, **trust), address)
        with pytest.raises(Backpressure, match="does not answer"):
            cancel(PreflightSettings(**secret), address)  # nobody vouches for the certificate
        with pytest.raises(Backpressure, match="does not take"):
            cancel(PreflightSettings(**trust), address)


def test_an_address_in_use_is_said_in_one_line() -> None:
    with serving(PreflightSettings(), "worker.example") as address:
        name, _, port = address.rpartition(":")
        assert name == "http://worker.example"
        with pytest.raises(Fatal, match=f"cannot listen on 127.0.0.1:{port}"):
            PreflightServer(PreflightSettings(), "127.0.0.1", int(port), "")
