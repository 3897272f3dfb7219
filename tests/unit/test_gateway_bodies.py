"""Request bodies: how large, how slow, how compressed; and what is answered to those that are too much."""

from __future__ import annotations

import asyncio
import gzip
import json
import sys
import zlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.types import Message

from tests.gateway_tools import ATLAS, EVENTS, TestGateway, body, call, make_gateway

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MAX = 1 << 20
TOO_LARGE = {"error": f"the body is larger than {MAX} bytes", "code": "TOO_LARGE"}
TOO_LARGE_PACKED = {
    "error": f"the body is larger than {MAX} bytes, as sent or decompressed",
    "code": "TOO_LARGE",
}


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> TestGateway:
    return make_gateway(monkeypatch, gateway_body_timeout_seconds=0.2)


async def chunks(content: bytes, size: int = 10_000) -> AsyncIterator[bytes]:
    for at in range(0, len(content), size):
        yield content[at : at + size]


def padded(size: int) -> bytes:
    content = body(call(errorMessage=""))
    return content + b" " * (size - len(content))


def test_one_mebibyte_is_taken_and_a_byte_more_is_not(gateway: TestGateway) -> None:
    assert gateway.post_events(padded(MAX)).status_code == 200
    answer = gateway.post_events(padded(MAX + 1))
    assert (answer.status_code, answer.json()) == (413, TOO_LARGE)
    assert len(gateway.publisher.events) == 1


@pytest.mark.parametrize("size", [MAX + 1, 10_000_000, 40_000_000])
def test_a_chunked_body_is_counted_as_it_comes(gateway: TestGateway, size: int) -> None:
    answer = gateway.post_events(chunks(bytes(size), 500_000))
    assert (answer.status_code, answer.json()) == (413, TOO_LARGE)


def test_a_chunked_body_is_taken(gateway: TestGateway) -> None:
    assert gateway.post_events(chunks(body(call()), 7)).status_code == 200


def test_a_length_that_promises_too_much_is_refused_unread(gateway: TestGateway) -> None:
    answer = gateway.post_events(b"x", headers={"Content-Length": str(10**12)})
    assert (answer.status_code, answer.json()) == (413, TOO_LARGE)


def test_a_length_that_promises_too_little_does_not_help(gateway: TestGateway) -> None:
    # A server refuses this before us; the limit holds even where one does not.
    answer = gateway.post_events(chunks(bytes(2 * MAX)), headers={"Content-Length": "10"})
    assert (answer.status_code, answer.json()) == (413, TOO_LARGE)


@pytest.mark.parametrize(
    ("coding", "pack"),
    [("gzip", gzip.compress), ("GZIP", gzip.compress), ("x-gzip", gzip.compress), ("zstd", zstd.compress)],
)
@pytest.mark.parametrize("chunk", [1, 100_000])
def test_packed_bodies(gateway: TestGateway, coding: str, pack: Any, chunk: int) -> None:
    packed = pack(body(call(), call()))
    answer = gateway.post_events(chunks(packed, chunk), headers={"Content-Encoding": coding})
    assert (answer.status_code, answer.json()["accepted"]) == (200, 2)


@pytest.mark.parametrize(("coding", "pack"), [("gzip", gzip.compress), ("zstd", zstd.compress)])
def test_a_bomb_is_not_unpacked(gateway: TestGateway, coding: str, pack: Any) -> None:
    bomb = pack(bytes(200 << 20))
    assert len(bomb) < MAX
    answer = gateway.post_events(bomb, headers={"Content-Encoding": coding})
    assert (answer.status_code, answer.json()) == (413, TOO_LARGE_PACKED)


@pytest.mark.parametrize(("coding", "pack"), [("gzip", gzip.compress), ("zstd", zstd.compress)])
def test_the_limit_unpacked_is_the_same(gateway: TestGateway, coding: str, pack: Any) -> None:
    fits, over = pack(padded(MAX)), pack(padded(MAX + 1))
    assert gateway.post_events(fits, headers={"Content-Encoding": coding}).status_code == 200
    assert gateway.post_events(over, headers={"Content-Encoding": coding}).status_code == 413


@pytest.mark.parametrize(("coding", "pack"), [("gzip", gzip.compress), ("zstd", zstd.compress)])
@pytest.mark.parametrize("chunk", [50, 100_000])
def test_packed_bodies_must_be_whole_and_alone(
    gateway: TestGateway, coding: str, pack: Any, chunk: int
) -> None:
    packed = pack(body(call()))
    for content, reason in (
        (packed[:-3], "cut off"),
        (b"", "cut off"),
        (packed + b"x", "bytes follow"),
        (packed + packed, "bytes follow"),
        (b"not packed at all", "not what Content-Encoding says"),
    ):
        answer = gateway.post_events(chunks(content, chunk), headers={"Content-Encoding": coding})
        assert answer.status_code == 400, content
        assert reason in answer.json()["error"]
        assert answer.json()["code"] == "INVALID_INPUT"
    assert gateway.publisher.records == []


def test_a_zstd_window_beyond_8_mib_is_refused(gateway: TestGateway) -> None:
    options: dict[int, int] = {zstd.CompressionParameter.window_log: 27}
    compressor = zstd.ZstdCompressor(options=options)
    packed = compressor.compress(body(call())) + compressor.flush()
    answer = gateway.post_events(packed, headers={"Content-Encoding": "zstd"})
    assert answer.status_code == 400
    assert "not what Content-Encoding says" in answer.json()["error"]


@pytest.mark.parametrize("coding", ["br", "deflate", "gzip, gzip", "zip"])
def test_another_coding_is_415(gateway: TestGateway, coding: str) -> None:
    answer = gateway.post_events(zlib.compress(body(call())), headers={"Content-Encoding": coding})
    assert answer.status_code == 415
    assert answer.headers["accept-encoding"] == "gzip, zstd"
    assert answer.json() == {
        "error": "Content-Encoding must be gzip, zstd or absent",
        "code": "UNSUPPORTED_MEDIA_TYPE",
    }


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/jsonp"])
def test_another_type_is_415(gateway: TestGateway, kind: str) -> None:
    answer = gateway.post_events(body(call()), headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()["code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8", ""])
def test_json_by_its_names(gateway: TestGateway, kind: str) -> None:
    assert gateway.post_events(body(call()), headers={"Content-Type": kind}).status_code == 200


def exchange(gateway: TestGateway, headers: dict[str, str], *messages: Message) -> tuple[list[Message], int]:
    """Talk ASGI: `messages` arrive, then nothing ever again. Returns the answer, and how many were read."""
    sent: list[Message] = []
    left = list(messages)

    async def receive() -> Message:
        if left:
            return left.pop(0)
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "path": EVENTS,
        "raw_path": EVENTS.encode(),
        "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "client": ("192.0.2.1", 50_000),
        "scheme": "http",
        "server": ("gateway", 80),
    }
    asyncio.run(gateway.app(scope, receive, send))
    return sent, len(messages) - len(left)


def chunk(content: bytes, *, last: bool = False) -> Message:
    return {"type": "http.request", "body": content, "more_body": not last}


def test_a_body_that_does_not_come_is_408(gateway: TestGateway) -> None:
    headers = {"X-Pact-Key": gateway.key, "Content-Length": "1000"}
    (head, content), _ = exchange(gateway, headers, chunk(b'{"events": ['))
    assert head["status"] == 408
    assert json.loads(content["body"]) == {"error": "the body did not arrive within 0.2 s", "code": "TIMEOUT"}
    assert (b"connection", b"close") in head["headers"]


def test_a_client_that_hangs_up_leaves_nothing_behind(
    gateway: TestGateway, caplog: pytest.LogCaptureFixture
) -> None:
    headers = {"X-Pact-Key": gateway.key, "Content-Length": "1000"}
    exchange(gateway, headers, chunk(b'{"events": ['), {"type": "http.disconnect"})
    assert gateway.publisher.records == []
    assert "unexpected" not in caplog.text
    assert gateway.post_events(body(call())).status_code == 200


def test_without_a_key_the_body_is_drained_but_not_kept(gateway: TestGateway) -> None:
    # Otherwise a client that is still writing would see a reset in place of the answer.
    some = [chunk(bytes(500_000)) for _ in range(3)] + [chunk(b"", last=True)]
    (head, _), read = exchange(gateway, {"Content-Length": "1500000"}, *some)
    assert (head["status"], read) == (401, 4)


def test_a_client_that_waits_for_our_word_is_answered_at_once(gateway: TestGateway) -> None:
    headers = {"Content-Length": "1500000", "Expect": "100-continue"}
    (head, _), read = exchange(gateway, headers, chunk(bytes(500_000)))
    assert (head["status"], read) == (401, 0)


def test_all_bodies_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = make_gateway(monkeypatch, gateway_buffer_bytes=4 << 20, gateway_max_body_bytes=1 << 20)
    answers: list[int] = []

    async def one(gate: asyncio.Event, arrived: list[int]) -> None:
        given = [chunk(bytes(1 << 19)), chunk(bytes(1 << 19), last=True)]

        async def receive() -> Message:
            if len(given) == 1:
                arrived.append(1)
                if len(arrived) < 10:
                    await gate.wait()
                gate.set()
            return given.pop(0)

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                answers.append(message["status"])

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "path": EVENTS,
            "raw_path": EVENTS.encode(),
            "query_string": b"",
            "headers": [(b"x-pact-key", gateway.key.encode()), (b"transfer-encoding", b"chunked")],
            "client": ("192.0.2.1", 50_000),
            "scheme": "http",
            "server": ("gateway", 80),
        }
        await gateway.app(scope, receive, send)

    async def many() -> None:
        gate, arrived = asyncio.Event(), list[int]()
        await asyncio.gather(*(one(gate, arrived) for _ in range(10)))

    asyncio.run(many())
    # Ten half-read bodies would be 5 MiB: two found no room; of the others, some could not finish.
    assert set(answers) == {400, 503}
    assert answers.count(503) >= 2
    assert gateway.post_events(padded(MAX)).status_code == 200


def test_every_route_has_the_limits(gateway: TestGateway) -> None:
    for method, path in (
        ("POST", "/api/v1/pacts"),
        ("POST", f"/api/v1/pacts/{ATLAS}/validate-call"),
    ):
        answer = gateway.ask(method, path, content=chunks(bytes(2 * MAX), 500_000))
        assert (answer.status_code, answer.json()) == (413, TOO_LARGE)
    answer = gateway.administer(
        "POST",
        "/api/v1/tenants",
        content=chunks(bytes(2 * MAX), 500_000),
        headers={"Content-Type": "application/json"},
    )
    assert (answer.status_code, answer.json()) == (413, TOO_LARGE)
