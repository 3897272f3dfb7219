"""The server itself, over real sockets: what comes before an application sees a request, and the stop."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI

from pactstream import server
from pactstream.errors import Fatal
from tests.stack import eventually

_SERVER = """
import logging, sys
from contextlib import asynccontextmanager
from fastapi import FastAPI, Request
from pactstream import server
logging.basicConfig(level="INFO", stream=sys.stdout, format="%(message)s")
@asynccontextmanager
async def lifespan(app):
    print("up", flush=True)
    yield
    print("down", flush=True)
app = FastAPI(lifespan=lifespan)
@app.api_route("/", methods=["GET", "POST"])
async def echo(request: Request) -> int:
    return len(await request.body())
def stopping():
    print("stopping", flush=True)
sys.exit(server.serve(app, "127.0.0.1", 0, stopping, head_seconds=float(sys.argv[1])))
"""
_GET = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"


def _start(head_seconds: float) -> tuple[subprocess.Popen[str], int]:
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVER, str(head_seconds)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        env=dict(os.environ),
    )
    assert process.stdout is not None
    port = None
    for line in process.stdout:
        found = re.search(r"listening on .*:(\d+)", line)
        port = int(found[1]) if found else port
        if line == "up\n":
            break
    assert port is not None
    return process, port


@pytest.fixture(scope="module")
def patient() -> Iterator[int]:
    """The port of a server whose patience no test exhausts."""
    process, port = _start(60)
    with process:
        yield port
        process.kill()


@pytest.fixture(scope="module")
def hasty() -> Iterator[int]:
    """The port of a server that waits a fifth of a second for a head."""
    process, port = _start(0.2)
    with process:
        yield port
        process.kill()


def _connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def _everything(connection: socket.socket) -> bytes:
    """What the server says until it hangs up."""
    said = b""
    while True:
        try:
            chunk = connection.recv(65_536)
        except ConnectionResetError:
            return said
        if not chunk:
            return said
        said += chunk


def _answer(connection: socket.socket) -> bytes:
    """One answer; the connection stays open."""
    said = b""
    while not _is_whole(said):
        chunk = connection.recv(65_536)
        assert chunk, said
        said += chunk
    return said


def _is_whole(answer: bytes) -> bool:
    head, _, content = answer.partition(b"\r\n\r\n")
    length = re.search(rb"\ncontent-length: (\d+)", head)
    return length is not None and len(content) == int(length[1])


@pytest.mark.parametrize("started", [b"GET / HT", b"GET / HTTP/1.1\r\nHost: h", b"\r\n"])
def test_a_slow_head_is_408(hasty: int, started: bytes) -> None:
    with _connect(hasty) as connection:
        connection.sendall(started)
        said = _everything(connection)
    assert said.startswith(b"HTTP/1.1 408 ")
    assert b'"code": "TIMEOUT"' in said
    assert b"connection: close" in said


def test_a_trickle_is_no_progress(hasty: int) -> None:
    with _connect(hasty) as connection:
        connection.settimeout(0.02)
        said, sent = b"", 0
        for letter in _GET[:-2] + b"x: " + b"y" * 400:
            try:
                connection.sendall(bytes([letter]))
                sent += 1
                said = connection.recv(100)
                break
            except TimeoutError:
                continue
    assert said.startswith(b"HTTP/1.1 408 ")
    assert sent < 100


def test_a_silent_connection_is_closed(hasty: int) -> None:
    with _connect(hasty) as connection:
        assert _everything(connection) == b""


def test_the_second_heads_time_is_measured_too(hasty: int) -> None:
    with _connect(hasty) as connection:
        connection.sendall(_GET)
        assert _answer(connection).startswith(b"HTTP/1.1 200 ")
        connection.sendall(b"GET /")
        assert _everything(connection).startswith(b"HTTP/1.1 408 ")


def test_a_slow_body_is_the_applications_matter(hasty: int) -> None:
    with _connect(hasty) as connection:
        connection.settimeout(0.5)
        connection.sendall(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\na")
        with pytest.raises(TimeoutError):
            connection.recv(100)
        connection.settimeout(10)
        connection.sendall(b"b")
        assert _answer(connection).endswith(b"2")


@pytest.mark.parametrize("endless", [b"GET /" + b"a" * 4_096, b"GET / HTTP/1.1\r\nx: ", b"\r\n" * 512])
def test_an_endless_head_is_431(patient: int, endless: bytes) -> None:
    with _connect(patient) as connection:
        try:
            connection.sendall(endless)
            for _ in range(100):
                connection.sendall(b"\r\n" * 2_048 if endless[:1] == b"\r" else b"a" * 4_096)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it hung up on us: the answer may be lost with it
        said = _everything(connection)
    assert said == b"" or said.startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize(
    "nonsense",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nx: a\x00b\r\n\r\n",
        b"GET / HTTP/1.1\nHost: bare line feeds\n\n",
        b"GET /\xff HTTP/1.1\r\n\r\n",
        # What two servers in a row could cut differently (RFC 9112, section 11.2).
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\na",
    ],
)
def test_what_is_not_http_is_400_in_our_form(patient: int, nonsense: bytes) -> None:
    with _connect(patient) as connection:
        connection.sendall(nonsense)
        said = _everything(connection)
    assert said.startswith(b"HTTP/1.1 400 "), said
    assert b'{"error": "the request is not HTTP/1.1", "code": "INVALID_INPUT"}' in said


def test_requests_that_follow_at_once_are_answered_in_order(patient: int) -> None:
    post = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
    last = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    with _connect(patient) as connection:
        connection.sendall(post + _GET + last)
        said = _everything(connection)
    assert re.findall(rb"\r\n\r\n(\d)", said) == [b"3", b"0", b"0"]


def test_an_upgrade_is_declined_and_the_request_answered_whole(patient: int) -> None:
    head = b"POST / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    with _connect(patient) as connection:
        for length in (0, 3, 200_000):
            connection.sendall(head + b"Content-Length: %d\r\n\r\n" % length + b"a" * length)
            said = _answer(connection)
            assert said.startswith(b"HTTP/1.1 200 ")
            assert said.endswith(b"\n%d" % length)


def test_it_is_no_proxy(patient: int) -> None:
    with _connect(patient) as connection:
        connection.sendall(b"CONNECT elsewhere:443 HTTP/1.1\r\nHost: elsewhere\r\n\r\n")
        assert _everything(connection).startswith(b"HTTP/1.1 405 ")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server_in_order_with_exit_code_zero(number: signal.Signals) -> None:
    process, _ = _start(60)
    with process:
        process.send_signal(number)
        rest, _ = process.communicate(timeout=30)
    assert rest.index("stopping\n") < rest.index("down\n")
    assert process.returncode == 0


def test_a_port_in_use_is_said_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        message = f"cannot listen on 127.0.0.1:{port}: Address already in use"
        with pytest.raises(Fatal, match=message):
            server.serve(FastAPI(), "127.0.0.1", port)
        with pytest.raises(Fatal, match=message), server.metrics("127.0.0.1", port):
            pass


def test_metrics_have_a_port_of_their_own() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with server.metrics("127.0.0.1", port), _connect(port) as connection:
        connection.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        assert b"python_info" in _everything(connection)
    eventually(lambda: _is_closed(port), timeout=10)
    with server.metrics("127.0.0.1", 0):
        assert _is_closed(port)


def _is_closed(port: int) -> bool:
    try:
        _connect(port).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_signal_that_comes_before_it_serves_stops_it_all_the_same() -> None:
    early = """
import signal
import uvicorn
run = uvicorn.Server.run
def signalled(self, sockets=None):
    signal.raise_signal(signal.SIGTERM)
    run(self, sockets=sockets)
uvicorn.Server.run = signalled
"""
    command = [sys.executable, "-c", early + _SERVER, "60"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, cwd=Path(__file__).parents[2], check=False
    )
    lines = [line for line in done.stdout.splitlines() if line in {"up", "stopping", "down"}]
    assert (lines, done.returncode) == (["up", "stopping", "down"], 0)
