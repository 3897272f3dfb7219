"""Webhooks: who may be called, how messages are signed, and what the sender does with a hostile receiver."""

from __future__ import annotations

import asyncio
import base64
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from pactstream.signing.keys import SigningKeyError
from pactstream.webhooks import addresses, signature
from pactstream.webhooks.addresses import AddressRefused, PublicResolver, check_url, is_public
from pactstream.webhooks.sender import Answer, Sender

ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
BODY = b'{"test": 2432232314}'
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
AT = 1_614_265_330


def test_it_signs_as_the_specifications_own_example_does() -> None:
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    made = signature.headers(key, ID, BODY, AT)
    assert made == {
        "webhook-id": ID,
        "webhook-timestamp": str(AT),
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    assert signature.verify(SECRET, made, BODY, AT) == ID


@pytest.mark.parametrize(
    ("changes", "body", "at"),
    [
        ({"webhook-id": "msg_other"}, BODY, AT),
        ({"webhook-timestamp": str(AT + 1)}, BODY, AT),
        ({"webhook-signature": "v1,AAAA"}, BODY, AT),
        ({"webhook-signature": "v2,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="}, BODY, AT),
        ({}, BODY + b" ", AT),
        ({}, BODY, AT + 301),
        ({}, BODY, AT - 301),
    ],
)
def test_a_changed_or_old_message_is_refused(changes: dict[str, str], body: bytes, at: int) -> None:
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    with pytest.raises(signature.WebhookRefused):
        signature.verify(SECRET, signature.headers(key, ID, BODY, AT) | changes, body, at)


def test_one_of_several_signatures_is_enough_and_none_is_not() -> None:
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    made = signature.headers(key, ID, BODY, AT)
    made["webhook-signature"] = "v1,AAAA " + made["webhook-signature"]
    assert signature.verify(SECRET, made, BODY, AT) == ID
    with pytest.raises(signature.WebhookRefused, match="not a signed"):
        signature.verify(SECRET, {}, BODY, AT)


def test_each_subscription_has_a_secret_of_its_own_and_none_is_kept(tmp_path: Path) -> None:
    assert signature.create_key(tmp_path)
    assert not signature.create_key(tmp_path)
    key = signature.load_key(tmp_path, {})
    assert signature.load_key(tmp_path, {}) == key
    assert signature.load_key(tmp_path, {signature.VARIABLE: base64.b64encode(key).decode()}) == key
    secrets = {signature.shown(signature.secret_of(key, one)) for one in ("a", "b")}
    assert len(secrets) == 2
    assert (tmp_path / signature.FILE).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [signature.FILE]


def test_a_key_that_is_missing_exposed_or_malformed_stops(tmp_path: Path) -> None:
    with pytest.raises(SigningKeyError, match="missing"):
        signature.load_key(tmp_path, {})
    with pytest.raises(SigningKeyError, match="does not hold"):
        signature.load_key(tmp_path, {signature.VARIABLE: "c2hvcnQ="})
    signature.create_key(tmp_path)
    (tmp_path / signature.FILE).chmod(0o644)
    with pytest.raises(SigningKeyError, match="chmod 600"):
        signature.load_key(tmp_path, {})


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.1",
        "172.16.5.4",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "192.0.2.1",
        "198.18.0.1",
        "240.0.0.1",
        "::",
        "::1",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "fd00:ec2::254",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
        "2001::1",
        "2001:db8::1",
        "::ffff:0.0.0.0",
        "64:ff9b:1::a00:1",
        "192.0.0.9",
        "192.88.99.1",
        "fec0::1",
        "3fff::1",
        "not an address",
    ],
)
def test_what_is_not_public_is_not_called(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.215.14", "2606:4700::1111", "::ffff:1.1.1.1"])
def test_what_is_public_is(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "http://bank.example/x",
        "ftp://bank.example/x",
        "https:///x",
        "https://user:secret@bank.example/",
        "https://bank.example/#fragment",
        "https://bank.example:0/",
        "https://bank.example:99999/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://169.254.169.254/latest/meta-data",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://127.1/",
        "https://0177.0.0.1/",
        "https://localhost/",
        "https://a.localhost/",
        "https://localhost./",
        "https://metadata.google.internal./",
        "https://127.0.0.1./",
        "https://0/",
        "https://[64:ff9b::7f00:1]/",
        "https://./",
        "https://bank..example/",
        "https://metadata.google.internal/",
        "https://bank.example/\r\nX: y",
        "https://bank.example/ x",
        "https://bänk.example/",
        "https://[bad/",
        "https://bank.example/" + "x" * 2_048,
        "",
    ],
)
def test_a_url_that_may_not_be_called_is_refused(url: str) -> None:
    with pytest.raises(AddressRefused):
        check_url(url)


def test_a_public_url_passes_and_for_development_a_private_one() -> None:
    check_url("https://bank.example:8443/hooks?x=1")
    check_url("https://1.1.1.1/")
    check_url("http://127.0.0.1:8080/", allow_private=True)


def looked_up(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Have names resolve to these addresses, one answer after another."""
    asked: list[str] = []

    async def getaddrinfo(_: object, host: str, port: int, **__: object) -> list[Any]:
        asked.append(host)
        found = answers[min(len(asked), len(answers)) - 1]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in found]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)
    return asked


def test_one_private_address_among_public_ones_refuses_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up(monkeypatch, ["1.1.1.1", "10.0.0.1"])
    with pytest.raises(AddressRefused):
        asyncio.run(PublicResolver().resolve("bank.example", 443))
    looked_up(monkeypatch, ["1.1.1.1", "1.0.0.1"])
    found = asyncio.run(PublicResolver().resolve("bank.example", 443))
    assert [one["host"] for one in found] == ["1.1.1.1", "1.0.0.1"]


def test_a_name_that_leads_inside_is_refused_before_anything_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = looked_up(monkeypatch, ["169.254.169.254"])
    with closing(Sender()) as sender:
        answer = sender.post("https://rebinding.example/", {}, b"{}").result(10)
    assert (answer.status, asked) == (None, ["rebinding.example"])
    assert "public" in answer.reason


def test_the_connection_goes_to_the_address_that_was_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that answers differently the second time (rebinding) is not asked a second time."""
    with receiver(b"HTTP/1.1 204 No Content\r\n\r\n") as (port, seen):
        monkeypatch.setattr(addresses, "is_public", lambda address: address == "127.0.0.1")
        asked = looked_up(monkeypatch, ["127.0.0.1"], ["10.1.2.3"])
        with closing(Sender(allow_private=True)) as sender:
            answer = sender.post(f"http://bank.example:{port}/hook", {}, b"{}").result(10)
    assert (answer.status, asked) == (204, ["bank.example"])
    assert f"Host: bank.example:{port}".encode() in seen[0]


def test_the_certificate_must_be_the_names_not_the_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    hello = bytearray()
    with server(lambda connection: hello.extend(connection.recv(4_096))) as port:
        monkeypatch.setattr(addresses, "is_public", lambda _: True)
        looked_up(monkeypatch, ["127.0.0.1"])
        with closing(Sender()) as sender:
            answer = sender.post(f"https://bank.example:{port}/", {}, b"{}").result(10)
    assert answer.status is None
    assert b"bank.example" in hello  # server name indication
    assert ssl.OPENSSL_VERSION


@contextmanager
def server(handle: Callable[[socket.socket], object]) -> Iterator[int]:
    """A port on which each connection is handled like that, one after another."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)
        stop = Event()

        def serve() -> None:
            while not stop.is_set():
                try:
                    connection, _ = listener.accept()
                except TimeoutError:
                    continue
                with connection:
                    connection.settimeout(5)
                    try:
                        handle(connection)
                    except OSError:
                        continue

        thread = Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            stop.set()
            thread.join()


@contextmanager
def receiver(answer: bytes) -> Iterator[tuple[int, list[bytes]]]:
    seen: list[bytes] = []

    def handle(connection: socket.socket) -> None:
        seen.append(connection.recv(65_536))
        connection.sendall(answer)

    with server(handle) as port:
        yield port, seen


def post(port: int, *, seconds: float = 10) -> Answer:
    with closing(Sender(allow_private=True, seconds=seconds)) as sender:
        return sender.post(f"http://127.0.0.1:{port}/hook", {"webhook-id": "m"}, b"{}").result(20)


def test_a_redirect_is_not_followed() -> None:
    with receiver(b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n") as (
        port,
        seen,
    ):
        answer = post(port)
    assert (answer.status, answer.delivered, len(seen)) == (302, False, 1)


def test_a_receiver_that_answers_a_byte_at_a_time_is_cut_off() -> None:
    stop = Event()

    def trickle(connection: socket.socket) -> None:
        connection.recv(65_536)
        for byte in b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1_000:
            connection.sendall(bytes([byte]))
            if stop.wait(0.02):
                return

    with server(trickle) as port:
        began = time.monotonic()
        answer = post(port, seconds=0.5)
        taken = time.monotonic() - began
        stop.set()
    assert (answer.status, answer.reason) == (None, "no answer within 0.5 s")
    assert taken < 5


def test_of_a_huge_answer_nothing_but_the_head_is_read() -> None:
    sent = 0

    def flood(connection: socket.socket) -> None:
        nonlocal sent
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n")
        for _ in range(10_000):
            sent += connection.send(b"x" * 65_536)

    with server(flood) as port:
        assert post(port).delivered
    assert sent < 64 * 1_024 * 1_024


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(100_000)) + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1_000_000 + b"\r\n\r\n",
        b"not http at all\r\n\r\n",
        b"",
    ],
)
def test_an_answer_that_is_none_is_a_failure(head: bytes) -> None:
    with receiver(head) as (port, _):
        assert not post(port, seconds=5).delivered


def test_nobody_there_is_a_failure() -> None:
    assert post(1) == Answer(None, "ClientConnectorError")


@pytest.mark.parametrize(
    ("status", "delivered", "gone"), [(200, True, False), (299, True, False), (410, False, True)]
)
def test_what_a_status_means(status: int, delivered: bool, gone: bool) -> None:
    answer = Answer(status, "")
    assert (answer.delivered, answer.gone) == (delivered, gone)
