"""Batches, pages of violations, badges and what only a tenant sees."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID
from xml.etree import ElementTree as ET

import pytest
from starlette.types import ASGIApp

from oracle_api import badge, bodies
from oracle_api.standing import Standing
from pactstream import clock
from pactstream.control.tenants import Agent, Tenant
from pactstream.signing.keys import SigningKey, create_keys
from pactstream.signing.report import verify_report
from tests.asgi import ask, ask_async
from tests.oracle_states import (
    AGENT,
    EMPTY,
    SCORE,
    STATE,
    STRANGER,
    FakeKeys,
    FakeStandings,
    FakeStore,
    event,
    violating,
)
from tests.unit.test_oracle_api import ISSUER, build

TRUST = f"/api/v1/trust/{AGENT}"
BATCH = "/api/v1/trust/batch"
COMPARE = f"{TRUST}/compare?tenants"
TENANT = Tenant("acme-ag", "Acme", "tenant-1", 7).with_agent(Agent(str(AGENT), "Atlas", "active", 8))


@pytest.fixture
def keys(tmp_path: Path) -> tuple[SigningKey, ...]:
    return create_keys(tmp_path / "keys", "report")


@pytest.fixture
def store() -> FakeStore:
    return FakeStore(events=[violating(n) if n % 2 else event(n) for n in range(1, 51)])


@pytest.fixture
def known() -> FakeKeys:
    return FakeKeys()


@pytest.fixture
def app(store: FakeStore, keys: tuple[SigningKey, ...], known: FakeKeys) -> ASGIApp:
    return build(store, keys, known=known)


def batch(app: ASGIApp, *ids: object, **options: Any) -> Any:
    return ask(app, BATCH, "POST", json={"agentIds": [str(one) for one in ids]}, **options)


def test_a_batch_has_each_signed_report_once_and_names_the_unknown(app: ASGIApp) -> None:
    answer = batch(app, STRANGER, AGENT, AGENT)
    assert answer.json()["unknown"] == [str(STRANGER)]
    (report,) = answer.json()["reports"]
    jwks = ask(app, "/.well-known/jwks.json").json()
    claims = verify_report(report, jwks, issuer=ISSUER, now_micros=clock.now_micros())
    assert claims["agentId"] == str(AGENT)
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"agentIds": []},
        {"agentIds": ["atlas"]},
        {"agentIds": [str(AGENT)] * 101},
        {"agentIds": [], "x": 1},
        [],
    ],
)
def test_a_malformed_batch_is_refused_whole(app: ASGIApp, body: object) -> None:
    assert ask(app, BATCH, "POST", json=body).json()["code"] == "INVALID_INPUT"


def test_no_more_than_64_kib_are_read(app: ASGIApp) -> None:
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            read += 1
            yield b" " * 1_024

    answer = ask(app, BATCH, "POST", content=endless())
    assert answer.status_code == 413
    assert read <= bodies.MAX_BYTES // 1_024 + 1


def test_a_body_that_does_not_come_is_not_waited_for(app: ASGIApp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "_SECONDS", 0.05)

    async def slow() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(30)

    async def run() -> int:
        return (await ask_async(app, BATCH, "POST", content=slow())).status_code

    assert asyncio.run(run()) == 408


def test_each_id_of_a_batch_counts_as_a_request(store: FakeStore, keys: tuple[SigningKey, ...]) -> None:
    app = build(store, keys, per_minute=1, burst=10)
    ids = [UUID(int=n) for n in range(9)]
    assert batch(app, *ids).status_code == 200
    assert batch(app, AGENT, STRANGER).status_code == 429
    assert ask(app, TRUST).status_code == 429


def test_violations_come_page_by_page_newest_first(app: ASGIApp) -> None:
    seen: list[int] = []
    cursor = ""
    pages = 0
    while pages < 10:
        page = ask(app, f"{TRUST}/violations?limit=10{cursor}").json()
        seen += [one["sequence"] for one in page["violations"]]
        pages += 1
        if page["nextCursor"] is None:
            break
        cursor = f"&cursor={page['nextCursor']}"
    assert seen == list(range(49, 0, -2))
    assert pages == 3
    assert ask(app, f"{TRUST}/violations?limit=24").json()["nextCursor"] == "3"
    assert ask(app, f"{TRUST}/violations?limit=25").json()["nextCursor"] is None  # no empty page at the end


def test_a_page_names_the_place_in_the_ledger_and_can_be_kept(app: ASGIApp) -> None:
    answer = ask(app, f"{TRUST}/violations?limit=1")
    (one,) = answer.json()["violations"]
    assert (one["log"], one["leafIndex"], one["sessionId"]) == ("test.local/ledger/0", 48, "sess-1")
    again = ask(app, f"{TRUST}/violations?limit=1", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.headers["cache-control"]) == (304, "public, max-age=1")


def test_the_history_is_of_nights(app: ASGIApp) -> None:
    answer = ask(app, f"{TRUST}/history?days=1")
    (night,) = answer.json()["nights"]
    assert (night["day"], night["composite"], night["tier"]) == ("2026-05-13", 96, "gold")
    again = ask(app, f"{TRUST}/history?days=1", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304
    assert [ask(app, f"{TRUST}/history?days={n}").status_code for n in (0, 401, "x")] == [400, 400, 400]


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=101", "cursor=-1", "cursor=x", "cursor=" + "9" * 20, "cursor="]
)
def test_a_page_that_cannot_be_is_refused(app: ASGIApp, query: str) -> None:
    assert ask(app, f"{TRUST}/violations?{query}").status_code == 400


@pytest.mark.parametrize("what", ["violations", "history", "badge.svg"])
def test_of_an_unknown_agent_there_is_nothing(app: ASGIApp, what: str) -> None:
    assert ask(app, f"/api/v1/trust/{STRANGER}/{what}").status_code == 404


@pytest.mark.parametrize(
    ("standing", "text"),
    [("active", "gold 96"), ("paused", "paused"), ("revoked", "revoked"), ("unknown", "unknown")],
)
def test_a_badge_says_the_standing_before_the_score(standing: Standing, text: str) -> None:
    drawn = ET.fromstring(badge.svg(STATE, standing))
    assert drawn.attrib["aria-label"] == f"pactstream: {text}"


def test_a_badge_without_a_score_says_so() -> None:
    assert b"no score yet" in badge.svg(EMPTY, "active")
    assert b"no score yet" in badge.svg(replace(STATE, score=replace(SCORE, composite=None)), "active")


def test_a_badge_is_a_picture_that_may_be_kept(store: FakeStore, keys: tuple[SigningKey, ...]) -> None:
    standings = FakeStandings("paused")
    answer = ask(build(store, keys, standings=standings), f"{TRUST}/badge.svg")
    assert answer.headers["content-type"] == "image/svg+xml"
    assert answer.headers["cache-control"] == "public, max-age=60"
    assert "paused" in answer.text
    assert "script" not in answer.text


def test_a_tenant_sees_itself_and_the_whole_but_nobody_else(app: ASGIApp, known: FakeKeys) -> None:
    key = known.add(TENANT, "trust:private")
    for headers in ({"X-Pact-Key": key}, {"Authorization": f"Bearer {key}"}):
        answer = ask(app, COMPARE, headers=headers)
        assert answer.json() == {
            "agentId": str(AGENT),
            "windowDays": 30,
            "tenants": [
                {
                    "tenant": "tenant-1",
                    "yours": True,
                    "toolCalls": 4,
                    "bound": 4,
                    "valid": 3,
                    "rate": 0.75,
                    "latencyP95Ms": 142,
                }
            ],
            "all": {"toolCalls": 10, "bound": 9, "valid": 8, "rate": 8 / 9, "latencyP95Ms": None},
        }
        assert answer.headers["cache-control"] == "private, no-store"
    assert "Acme" not in answer.text


def test_the_public_sees_no_tenant(app: ASGIApp, known: FakeKeys, store: FakeStore) -> None:
    for path in (TRUST, f"{TRUST}/violations", f"{TRUST}/badge.svg"):
        assert "tenant" not in ask(app, path).text
    asked = store.asked
    assert ask(app, COMPARE).status_code == 401
    assert ask(app, COMPARE, headers={"X-Pact-Key": "pk_live_none"}).status_code == 401
    assert ask(app, COMPARE, headers={"X-Pact-Key": known.add(TENANT, "pacts:read")}).status_code == 403
    late = known.add(TENANT, "trust:private", expires_at_micros=1)
    assert ask(app, COMPARE, headers={"X-Pact-Key": late}).json()["error"] == "the API key is expired"
    key = known.add(TENANT, "trust:private")
    assert ask(app, COMPARE, headers={"X-Pact-Key": key, "Authorization": f"Bearer {key}"}).status_code == 400
    assert store.asked == asked


def test_anothers_agent_cannot_be_told_from_none(app: ASGIApp, known: FakeKeys, store: FakeStore) -> None:
    bolt = Tenant("bolt-ag", "Bolt", "tenant-2", 7)
    asked = store.asked
    headers = {"X-Pact-Key": known.add(bolt, "trust:private")}
    answers = [ask(app, f"/api/v1/trust/{one}/compare?tenants", headers=headers) for one in (AGENT, STRANGER)]
    assert [one.status_code for one in answers] == [404, 404]
    assert answers[0].text == answers[1].text
    assert store.asked == asked


def test_a_key_has_a_limit_of_its_own(store: FakeStore, keys: tuple[SigningKey, ...], known: FakeKeys) -> None:
    app = build(store, keys, known=known, per_minute=1, burst=15, proxies=1)
    key = known.add(TENANT, "trust:private")

    def status(address: str) -> int:
        return ask(app, COMPARE, headers={"X-Pact-Key": key, "X-Forwarded-For": address}).status_code

    assert [status("203.0.113.1"), status("203.0.113.2")] == [200, 429]


def test_a_browser_may_ask_for_a_batch_but_not_with_a_key(app: ASGIApp) -> None:
    origin = {"Origin": "https://bank.example", "Access-Control-Request-Method": "POST"}
    allowed = ask(app, BATCH, "OPTIONS", headers=origin | {"Access-Control-Request-Headers": "content-type"})
    assert allowed.status_code == 200
    refused = ask(app, BATCH, "OPTIONS", headers=origin | {"Access-Control-Request-Headers": "x-pact-key"})
    assert refused.status_code == 400


def test_the_page_of_the_api_shows_how_to_present_a_key(app: ASGIApp) -> None:
    described = ask(app, "/openapi.json").json()
    assert set(described["components"]) == {"securitySchemes"}
    assert described["paths"]["/api/v1/trust/{agentId}/compare"]["get"]["security"]
    assert "security" not in described["paths"]["/api/v1/trust/{agentId}"]["get"]
    assert json.dumps(described).count("trust:private") >= 1
