"""Paging with real processes on a real Kafka and ClickHouse, and a receiver on loopback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pactstream import atlas, clock
from pactstream.devstack.services import PAGING
from pactstream.webhooks import signature
from tests.http_servers import serving
from tests.paging_stack import ROUTE, Stack, running
from tests.stack import ClickHouseAddress, eventually


@dataclass
class Receiver:
    """What was posted; answers with the next of `answers`, then 200."""

    posts: list[tuple[dict[str, str], Any]] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    url: str = ""

    def kinds(self) -> list[str]:
        return [body["type"] for _, body in self.posts]


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, receiver: Receiver, *args: Any) -> None:
        self._receiver = receiver
        super().__init__(*args)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        headers = {name.lower(): value for name, value in self.headers.items()}
        status = self._receiver.answers.pop(0) if self._receiver.answers else 200
        self._receiver.posts.append((headers, body))
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, made))) as address:
        made.url = address
        yield made


@pytest.fixture
def paging(
    kafka_bootstrap: str, topic_prefix: str, clickhouse_database: ClickHouseAddress, tmp_path: Path
) -> Iterator[Stack]:
    with running(kafka_bootstrap, topic_prefix, clickhouse_database, tmp_path, PAGING) as made:
        yield made


def test_a_violation_pages_and_is_answered_from_the_page(paging: Stack, receiver: Receiver) -> None:
    made = paging.ask("PUT", ROUTE, {"kind": "webhook", "name": "team", "url": receiver.url})
    assert made.status_code == 201, made.text
    secret = made.json()["signingSecret"]
    assert paging.ask("POST", f"{ROUTE}/test").status_code == 202
    eventually(lambda: receiver.kinds() == ["test"], timeout=20)

    event_id = paging.send()["eventId"]
    eventually(lambda: receiver.kinds() == ["test", "page.opened"], timeout=20)
    headers, body = receiver.posts[-1]
    raw = json.dumps(body, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()
    signature.verify(secret, headers, raw, clock.now_micros() // clock.MICROS_PER_SECOND)
    data = body["data"]
    assert (data["rule"], data["paramPath"], data["value"]) == ("allowList", "destination", "0xBAD")
    assert data["eventId"] == event_id

    paging.send()
    (page,) = eventually(lambda: [one for one in paging.pages() if one["occurrences"] == 2], timeout=10)
    shown = paging.ask("GET", data["links"]["block"])
    assert "Confirm" in shown.text
    assert paging.ask("POST", data["links"]["block"], data={"reason": "looks odd"}).status_code == 200

    def is_paused() -> bool:
        question = {"agentId": atlas.AGENT_ID, "tool": "transfer_funds", "params": {}}
        answer = paging.ask("POST", f"/api/v1/pacts/{atlas.PACT_ID}/validate-call", question).json()
        return bool(answer.get("reason") == "agent_paused")

    eventually(is_paused, timeout=10)
    eventually(lambda: receiver.kinds()[-1] == "page.blocked", timeout=20)
    assert paging.ask("POST", data["links"]["block"], data={"reason": "again"}).status_code == 410

    def is_projected() -> bool:
        rows = [one for one in paging.rows() if one["page"] == page["pageId"]]
        states = [one["state"] for row in rows for one in json.loads(row["deliveries"])]
        return [one["status"] for one in rows] == ["closed"] and states == ["delivered"]

    eventually(is_projected, timeout=20)
    resume = f"/api/v1/agents/{atlas.AGENT_ID}/resume"
    assert paging.ask("POST", resume, {"reason": "explained"}).status_code == 200
    eventually(lambda: not is_paused(), timeout=10)


def test_a_killed_process_loses_no_page_and_opens_none_twice(paging: Stack, receiver: Receiver) -> None:
    paging.ask("PUT", ROUTE, {"kind": "webhook", "name": "team", "url": receiver.url})
    paging.send()
    eventually(lambda: len(receiver.posts) == 1, timeout=20)
    paging.kill_paging()
    for _ in range(5):
        paging.send(amount=1_000_000)
    paging.services.start((PAGING,))
    eventually(lambda: {one["rule"] for one in paging.pages()} >= {"allowList", "maxAmount"}, timeout=30)
    eventually(lambda: sorted(one["occurrences"] for one in paging.pages())[-1] == 6, timeout=20)
    opened = len(paging.pages())

    def is_told() -> bool:
        return len({body["data"]["pageId"] for _, body in receiver.posts}) == opened

    eventually(is_told, timeout=20)
    ids = [headers["webhook-id"] for headers, _ in receiver.posts]
    assert len(set(ids)) == opened


def test_a_page_that_reaches_nobody_goes_to_the_operator(
    kafka_bootstrap: str,
    topic_prefix: str,
    clickhouse_database: ClickHouseAddress,
    tmp_path: Path,
    receiver: Receiver,
) -> None:
    operator = {"PAGING_FALLBACK_KIND": "alertmanager", "PAGING_FALLBACK_URL": receiver.url}
    with running(kafka_bootstrap, topic_prefix, clickhouse_database, tmp_path, PAGING, **operator) as paging:
        paging.send()
        (alert,) = eventually(lambda: receiver.posts, timeout=20)
        labels = alert[1][0]["labels"]
        assert (labels["alertname"], labels["rule"]) == ("PactViolation", "allowList")

        def is_shown() -> bool:
            rows = paging.rows()
            found = {one["route"]: one["state"] for row in rows for one in json.loads(row["deliveries"])}
            return found == {"": "failed", "fallback": "delivered"}

        eventually(is_shown, timeout=20)
