"""Answers that come a byte at a time are late like any other."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest
import urllib3

from pactstream.deadline import pool_manager
from pactstream.trust import OracleUnavailable, TrustClient
from tests.unit.test_sdk_tls import certificate

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"


@contextmanager
def answering(
    at_once: bytes, slowly: bytes, tls: ssl.SSLContext | None = None
) -> Iterator[tuple[str, list[int]]]:
    """A server that says the one at once and the other a byte every 20 ms; its address and its connections."""
    stop = Event()
    connections: list[int] = []

    def handle(connection: socket.socket) -> None:
        while connection.recv(65_536):
            connection.sendall(at_once)
            for byte in slowly:
                if stop.wait(0.02):
                    return
                connection.sendall(bytes([byte]))

    def serve() -> None:
        while not stop.is_set():
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            connections.append(connection.fileno())
            connection.settimeout(5)
            try:
                with connection if tls is None else tls.wrap_socket(connection, server_side=True) as stream:
                    handle(stream)
            except OSError:
                continue

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)
        thread = Thread(target=serve)
        thread.start()
        try:
            yield f"http{'s' if tls else ''}://127.0.0.1:{listener.getsockname()[1]}", connections
        finally:
            stop.set()
            thread.join()


@pytest.mark.parametrize(
    ("at_once", "slowly"),
    [
        (b"", HEAD + b"X: " + b"y" * 1_000),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"x" * 1_000),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 200),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", b"x" * 1_000),
    ],
)
def test_head_and_body_have_one_deadline(at_once: bytes, slowly: bytes) -> None:
    with answering(at_once, slowly) as (url, _), pool_manager(0.3, retries=False) as pool:
        began = time.monotonic()
        with pytest.raises(urllib3.exceptions.ReadTimeoutError):
            pool.request("GET", url, preload_content=False).read(2_000)
        assert time.monotonic() - began < 3


def test_an_answer_in_time_is_read_and_its_connection_kept() -> None:
    with answering(HEAD + b"\r\n", b"hello") as (url, connections), pool_manager(5, retries=False) as pool:
        assert [pool.request("GET", url).data for _ in range(3)] == [b"hello"] * 3
        assert len(connections) == 1
    old = b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello"
    with answering(old, b"") as (url, _), pool_manager(5, retries=False) as pool:
        assert pool.request("GET", url).data == b"hello"


def test_under_tls_it_is_the_same(tmp_path: Path) -> None:
    context, authority = certificate(tmp_path, "127.0.0.1")
    head = HEAD + b"\r\n"
    for slowly, seconds in ((b"hello", 5), (b"hello" * 200, 0.3)):
        long = head.replace(b"5", b"1000") if len(slowly) > 5 else head
        with (
            answering(long, slowly, context) as (url, _),
            pool_manager(seconds, retries=False, ca_certs=authority) as pool,
        ):
            response = pool.request("GET", url, preload_content=False)
            if len(slowly) == 5:
                assert response.read() == b"hello"
            else:
                with pytest.raises(urllib3.exceptions.ReadTimeoutError):
                    response.read()


def test_an_oracle_cannot_hold_a_counterparty() -> None:
    with (
        answering(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"{" * 1_000) as (url, _),
        TrustClient(issuer="x", jwks={"keys": []}, url=url, timeout_seconds=0.3) as client,
    ):
        began = time.monotonic()
        with pytest.raises(OracleUnavailable):
            client.get("76cf31d6-ffe3-4a5c-8748-021114aa8066")
        assert time.monotonic() - began < 3
