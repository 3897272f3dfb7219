"""One tenant's console and another tenant's things: on every route, as if they did not exist."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from pactstream.clickhouse.client import ClickHouse
from tests.console_stack import ConsoleStack


@pytest.fixture(scope="module")
def client(console: ConsoleStack) -> Iterator[httpx.Client]:
    """Logged in as Atlas's tenant."""
    with _client(console, console.key) as opened:
        yield opened


@contextmanager
def _client(console: ConsoleStack, key: str) -> Iterator[httpx.Client]:
    origin = console.url.removesuffix("/console")
    headers = {"Origin": origin, "X-Console": "1"}
    with httpx.Client(base_url=origin, headers=headers, timeout=30, trust_env=False) as opened:
        opened.post("/console/api/session", json={"key": key}).raise_for_status()
        yield opened


@pytest.fixture(scope="module")
def theirs(console: ConsoleStack) -> dict[str, str]:
    """Ids of the other tenant's things, of which each is there: its own console shows them."""
    with _client(console, console.other_key) as other:
        event = other.get("/console/api/events?verdict=violated").json()["events"][0]
    page_id = str(uuid.uuid4())
    console.open_page(page_id, console.other, event, tenant_id=console.other_tenant)
    with _client(console, console.other_key) as other:
        assert other.get(f"/console/api/pages/{page_id}").status_code == 200
        assert other.get(f"/console/api/events/{event['eventId']}").status_code == 200
    return {
        "event": event["eventId"],
        "session": event["sessionId"],
        "agent": console.other.agent_id,
        "pact": console.other.pact_id,
        "page": page_id,
    }


@pytest.mark.parametrize(
    "path",
    [
        "events/{event}",
        "sessions/{agent}?session={session}",
        "agents/{agent}",
        "pages/{page}",
        "pages/{page}/proposal",
        "pacts/{pact}",
        "pacts/{pact}?version=1",
        "pacts/{pact}/versions",
        "ledger/proofs/{event}",
    ],
)
def test_nothing_of_theirs_is_found(client: httpx.Client, theirs: dict[str, str], path: str) -> None:
    assert client.get(f"/console/api/{path.format(**theirs)}").status_code == 404


@pytest.mark.parametrize("action", ["acknowledge", "accept", "block", "rotate"])
def test_nothing_of_theirs_is_changed(client: httpx.Client, theirs: dict[str, str], action: str) -> None:
    answer = client.post(f"/console/api/pages/{theirs['page']}/{action}", json={"reason": "mine now"})
    assert answer.status_code == 404


def test_their_pact_cannot_be_written_or_replayed(
    client: httpx.Client, console: ConsoleStack, theirs: dict[str, str]
) -> None:
    mine = client.get(f"/console/api/pacts/{console.atlas.pact_id}").json()["document"]
    text = httpx.Response(200, json=mine).text
    answer = client.post(f"/console/api/pacts/{theirs['pact']}/versions", json={"text": text})
    assert answer.status_code == 404
    replay = client.post(f"/console/api/review/replay/{theirs['pact']}", json={"text": text}).json()
    assert replay["calls"] == replay["erased"] == 0
    resume = client.post(f"/console/api/agents/{theirs['agent']}/resume", json={"reason": "mine now"})
    assert resume.status_code in (403, 404)


@pytest.mark.parametrize("path", ["agents", "events", "pages", "pacts", "events?agent={agent}"])
def test_lists_hold_nothing_of_theirs(client: httpx.Client, theirs: dict[str, str], path: str) -> None:
    answer = client.get(f"/console/api/{path.format(**theirs)}")
    assert answer.status_code == 200
    for name in ("event", "agent", "pact", "page"):
        assert theirs[name] not in answer.text


def test_their_news_does_not_come(console: ConsoleStack, client: httpx.Client, theirs: dict[str, str]) -> None:
    with client.stream("GET", "/console/api/events/stream") as stream:
        lines = stream.iter_lines()
        assert next(lines) == "event: hello"
        console.call("get_balance", {"account": "a"}, agent=console.other)
        marker = console.call("get_balance", {"account": "b"})
        seen = ""
        for line in lines:
            seen += line
            if marker in line:
                break
    assert theirs["agent"] not in seen


def test_without_a_session_there_is_nothing(console: ConsoleStack, theirs: dict[str, str]) -> None:
    origin = console.url.removesuffix("/console")
    with httpx.Client(base_url=origin, timeout=30, trust_env=False) as nobody:
        for path in (
            "events",
            "events/stream",
            f"events/{theirs['event']}",
            "agents",
            "pages",
            "pacts",
            "ledger",
        ):
            assert nobody.get(f"/console/api/{path}").status_code == 401, path
        key = {"X-Pact-Key": console.key, "Authorization": f"Bearer {console.key}"}
        assert nobody.get("/console/api/agents", headers=key).status_code == 401


def test_a_change_needs_our_own_pages(client: httpx.Client) -> None:
    bodies = {"review/check": {"text": "{}"}, "pacts": {"text": "{}"}}
    for path, body in bodies.items():
        for origin in ("https://evil.example", "null"):
            answer = client.post(f"/console/api/{path}", json=body, headers={"Origin": origin})
            assert answer.status_code == 403
    elsewhere = client.get("/console/api/agents", headers={"Host": "rebound.example"})
    assert elsewhere.status_code == 421


def test_answers_keep_browsers_from_guessing(client: httpx.Client) -> None:
    page = client.get("/console/agents/whatever")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self'" in policy
    assert "unsafe" not in policy
    assert page.headers["x-content-type-options"] == "nosniff"
    data = client.get("/console/api/agents")
    assert data.headers["cache-control"] == "no-store"
    assert client.get("/console/api/nothing").status_code == 404


def test_the_pages_table_is_asked_for_one_tenant_only(console: ConsoleStack, theirs: dict[str, str]) -> None:
    with ClickHouse(console.services.clickhouse) as database:
        rows = database.rows(
            "SELECT count() FROM pages FINAL WHERE page_id = {page:UUID}", {"page": theirs["page"]}
        )
    assert rows[0][0] == 1
