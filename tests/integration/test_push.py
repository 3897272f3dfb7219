"""Pushing on a real Kafka: each notice arrives, through failures and kills, and is recognised by its id."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any, cast
from uuid import UUID

import httpx
import pytest

from oracle_api import wiring
from oracle_api.push.wiring import GROUP, posting
from oracle_api.settings import OracleSettings
from oracle_api.subscriptions import KafkaSubscriptions
from pactstream import clock
from pactstream.control.tenants import Agent, AgentStatus, Tenant
from pactstream.errors import InvalidInput
from pactstream.kafka import topics
from pactstream.kafka.records import Headers
from pactstream.settings import environment
from pactstream.signing.keys import create_keys
from pactstream.web import Refused
from pactstream.webhooks import signature
from pactstream.webhooks.deliverer import Deliverer, Plan
from pactstream.webhooks.records import KINDS, Delivery, Subscription, SubscriptionBook
from pactstream.webhooks.sender import Sender
from tests.http_servers import serving
from tests.kafka_tools import create_topics, produce, read_all
from tests.oracle_process import free_port, variables
from tests.stack import eventually

AGENT = UUID("76cf31d6-ffe3-4a5c-8748-021114aa8066")


@dataclass
class Receiver:
    """What was posted to each path; answers with the next of `answers`, then with 204."""

    posts: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    hold: Event = field(default_factory=Event)
    url: str = ""

    def ids(self, path: str = "/hook") -> list[str]:
        return [headers["webhook-id"] for where, headers, _ in self.posts if where == path]


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, receiver: Receiver, *args: Any) -> None:
        self._receiver = receiver
        super().__init__(*args)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self._receiver.posts.append((self.path, headers, body))
        if self.path == "/slow":
            self._receiver.hold.wait(30)
        status = self._receiver.answers.pop(0) if self._receiver.answers else 204
        try:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()
        except OSError:
            return  # the caller was killed

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, made))) as address:
        made.url = address
        yield made
        made.hold.set()


@pytest.fixture
def settings(kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> OracleSettings:
    create_keys(tmp_path / "keys", "report")
    signature.create_key(tmp_path / "keys")
    ours = OracleSettings(
        kafka_bootstrap=kafka_bootstrap,
        kafka_topic_prefix=topic_prefix,
        key_dir=tmp_path / "keys",
        push_port=free_port(),
        webhook_allow_private=True,
        instance="one",
    )
    create_topics(ours)
    return ours


@pytest.fixture
def subscriptions(settings: OracleSettings) -> Iterator[KafkaSubscriptions]:
    made = wiring.subscriptions(settings)
    assert made is not None
    with closing(made):
        yield made


@contextmanager
def pushing(settings: OracleSettings) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "oracle_api.push"],
        env=environment() | variables(settings),
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        eventually(lambda: ready(settings, process), timeout=30)
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=30)


def ready(settings: OracleSettings, process: subprocess.Popen[str]) -> bool:
    if process.poll() is not None:
        raise AssertionError(process.communicate()[1])
    try:
        return httpx.get(f"http://127.0.0.1:{settings.push_port}/readyz", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def set_status(settings: OracleSettings, status: AgentStatus) -> None:
    tenant = Tenant("acme-ag", "Acme", "tenant-1", 7).with_agent(Agent(str(AGENT), "Atlas", status, 8))
    produce(settings, topics.TENANTS, [(b"acme-ag", tenant.encode())])


@contextmanager
def delivering(
    settings: OracleSettings,
    *retry_seconds: float,
    series: Callable[[Delivery], str | None] = lambda _: None,
) -> Iterator[None]:
    """The deliverer alone, in a thread."""
    stop = Event()
    with closing(SubscriptionBook(settings)) as book, closing(Sender(allow_private=True, seconds=5)) as sender:
        key = signature.load_key(settings.key_dir, {})
        plan = Plan(GROUP, topics.DELIVERIES, posting(book, sender, key), retry_seconds, series)
        ours = Deliverer(settings, plan)
        thread = Thread(target=ours.run, args=(stop,))
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def queue(settings: OracleSettings, subscription: Subscription, *notices: str) -> None:
    for notice in notices:
        made = Delivery(notice, subscription.subscription_id, b'{"type":"t"}', clock.now_micros())
        produce(settings, topics.DELIVERIES, [(made.key, made.encode())])


def left(settings: OracleSettings) -> set[bytes | None]:
    """Keys of the deliveries that are still to be made."""
    newest = {message.key(): message.value() for message in read_all(settings, topics.DELIVERIES)}
    return {key for key, value in newest.items() if value is not None}


def test_a_pause_is_pushed_signed_within_two_seconds(
    settings: OracleSettings, subscriptions: KafkaSubscriptions, receiver: Receiver
) -> None:
    made = subscriptions.create("acme-ag", f"{receiver.url}/hook", [AGENT], KINDS)
    with pushing(settings):
        set_status(settings, "active")
        eventually(lambda: len(receiver.posts) == 1, timeout=15)
        set_status(settings, "paused")
        eventually(lambda: len(receiver.posts) == 2, timeout=2)
        eventually(lambda: not left(settings), timeout=10)
    _, headers, body = receiver.posts[1]
    at = clock.now_micros() // clock.MICROS_PER_SECOND
    assert signature.verify(subscriptions.secret(made), headers, body, at) == receiver.ids()[1]
    assert json.loads(body)["data"] == {
        "agentId": str(AGENT),
        "agentStatus": "paused",
        "previousStatus": "active",
    }
    assert len(set(receiver.ids())) == 2


def test_a_killed_process_loses_no_notice_and_repeats_under_the_same_id(
    settings: OracleSettings, subscriptions: KafkaSubscriptions, receiver: Receiver
) -> None:
    subscriptions.create("acme-ag", f"{receiver.url}/slow", [AGENT], KINDS)
    with pushing(settings) as process:
        set_status(settings, "active")
        eventually(lambda: len(receiver.posts) == 1, timeout=15)
        os.kill(process.pid, signal.SIGKILL)  # the receiver has it, and its answer reaches nobody
        process.wait(10)
        set_status(settings, "paused")
    receiver.hold.set()
    with pushing(settings):
        eventually(lambda: len(set(receiver.ids("/slow"))) == 2, timeout=30)
        eventually(lambda: not left(settings), timeout=10)
    first, *others = receiver.ids("/slow")
    assert others.count(first) == 1
    assert len(others) == 2


def test_a_failing_receiver_is_tried_again_and_then_given_up(
    settings: OracleSettings, subscriptions: KafkaSubscriptions, receiver: Receiver
) -> None:
    made = subscriptions.create("acme-ag", f"{receiver.url}/hook", [AGENT], KINDS)
    receiver.answers = [500, 302, 204, *[503] * 3]
    with delivering(settings, 0.05, 0.05):
        queue(settings, made, "m-1")
        eventually(lambda: receiver.ids() == ["m-1"] * 3, timeout=15)
        queue(settings, made, "m-2")
        eventually(lambda: receiver.ids().count("m-2") == 3, timeout=15)
        eventually(lambda: not left(settings), timeout=10)
    (letter,) = read_all(settings, topics.DELIVERIES + ".dlq")
    assert letter.key() == f"{made.subscription_id}/m-2".encode()
    headers = cast(Headers, letter.headers() or ())
    assert any(b"it answered 503" in value for _, value in headers)


def test_of_a_series_the_newest_takes_the_place_of_what_waits(
    settings: OracleSettings, subscriptions: KafkaSubscriptions, receiver: Receiver
) -> None:
    made = subscriptions.create("acme-ag", f"{receiver.url}/hook", [AGENT], KINDS)
    receiver.answers = [500]

    def series(delivery: Delivery) -> str:
        return delivery.notice_id.partition(".")[0]

    with delivering(settings, 60, 60, series=series):
        queue(settings, made, "p.1")
        eventually(lambda: receiver.ids() == ["p.1"], timeout=15)
        queue(settings, made, "p.2", "q.1")
        eventually(lambda: receiver.ids() == ["p.1", "p.2", "q.1"], timeout=15)
        eventually(lambda: not left(settings), timeout=10)
    with delivering(settings, 0.05, series=series):
        queue(settings, made, "q.2")
        eventually(lambda: receiver.ids()[-1] == "q.2" and not left(settings), timeout=15)
    assert receiver.ids().count("p.1") == 1


def test_a_receiver_that_wants_no_more_is_not_asked_again(
    settings: OracleSettings, subscriptions: KafkaSubscriptions, receiver: Receiver
) -> None:
    made = subscriptions.create("acme-ag", f"{receiver.url}/hook", [AGENT], KINDS)
    receiver.answers = [410]
    queue(settings, made, "m-1")
    with delivering(settings, 0.05, 0.05):
        eventually(lambda: bool(receiver.posts) and not left(settings), timeout=15)
    assert len(receiver.posts) == 1


def test_a_slow_receiver_holds_up_nobody_else(
    settings: OracleSettings, subscriptions: KafkaSubscriptions, receiver: Receiver
) -> None:
    slow = subscriptions.create("acme-ag", f"{receiver.url}/slow", [AGENT], KINDS)
    quick = subscriptions.create("acme-ag", f"{receiver.url}/hook", [AGENT], KINDS)
    with delivering(settings, 60):
        queue(settings, slow, *(f"s-{number}" for number in range(5)))
        queue(settings, quick, *(f"q-{number}" for number in range(5)))
        eventually(lambda: len(receiver.ids("/hook")) == 5, timeout=15)
        assert len(receiver.ids("/slow")) == 1
        receiver.hold.set()
        eventually(lambda: len(receiver.ids("/slow")) == 5, timeout=15)


def test_an_ended_subscription_and_a_delivered_notice_are_not_sent(
    settings: OracleSettings, subscriptions: KafkaSubscriptions, receiver: Receiver
) -> None:
    made = subscriptions.create("acme-ag", f"{receiver.url}/hook", [AGENT], KINDS)
    queue(settings, made, "m-1")
    with delivering(settings):
        eventually(lambda: receiver.ids() == ["m-1"] and not left(settings), timeout=15)
    subscriptions.delete("acme-ag", made.subscription_id)
    queue(settings, made, "m-2")
    produce(settings, topics.DELIVERIES, [(b"x/y", b"nothing of the kind")])
    with delivering(settings):
        eventually(lambda: not left(settings), timeout=15)
    assert receiver.ids() == ["m-1"]
    assert len(read_all(settings, topics.DELIVERIES + ".dlq")) == 1


def test_subscriptions_are_checked_limited_and_a_tenants_own(
    subscriptions: KafkaSubscriptions, settings: OracleSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oracle_api.subscriptions.MAX_SUBSCRIPTIONS", 1)
    made = subscriptions.create("acme-ag", "https://bank.example/", [AGENT, AGENT], KINDS)
    assert subscriptions.of_tenant("acme-ag") == [made]
    assert made.agent_ids == (str(AGENT),)
    with pytest.raises(Refused, match="at most 1"):
        subscriptions.create("acme-ag", "https://bank.example/", [AGENT], KINDS)
    with pytest.raises(Refused, match="no such"):
        subscriptions.delete("bolt-ag", made.subscription_id)
    with pytest.raises(InvalidInput):
        subscriptions.create("bolt-ag", "ftp://bank.example/", [AGENT], KINDS)
    subscriptions.delete("acme-ag", made.subscription_id)
    assert subscriptions.of_tenant("acme-ag") == []
    assert wiring.subscriptions(settings.model_copy(update={"key_dir": settings.key_dir / "none"})) is None
