"""The oracle over HTTP, on a store that tells what it is told to."""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from starlette.types import ASGIApp

from oracle_api import examples, reports
from oracle_api.app import create_app
from oracle_api.feed import Feed
from oracle_api.ledger import PublishedLedger
from oracle_api.limits import Limiter
from oracle_api.parts import Parts
from oracle_api.reports import Reports, Signer, form
from oracle_api.samples import Sampler
from oracle_api.shortcut import Shortcut
from oracle_api.status import document
from oracle_api.subscriptions import Subscriptions
from pactstream import canonical, clock
from pactstream.signing.jwks import jwks_document
from pactstream.signing.keys import SigningKey, create_keys, load_retired, rotate_keys
from pactstream.signing.report import ReportError, verify_jwt, verify_report
from tests.asgi import ask, ask_async
from tests.oracle_states import (
    AGENT,
    CHECKPOINT,
    HEAD,
    SCORE,
    STATE,
    STRANGER,
    FakeKeys,
    FakeStandings,
    FakeStore,
)

TRUST = f"/api/v1/trust/{AGENT}"
ISSUER = "oracle.test"


@pytest.fixture
def keys(tmp_path: Path) -> tuple[SigningKey, ...]:
    return create_keys(tmp_path / "keys", "report")


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture(autouse=True)
def always_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each request looks at the store, so that tests need not wait."""
    monkeypatch.setattr(reports, "_SERVE_SECONDS", -1)


def build(
    store: FakeStore,
    keys: tuple[SigningKey, ...],
    jwks: object = None,
    standings: FakeStandings | None = None,
    known: FakeKeys | None = None,
    ledger: PublishedLedger | None = None,
    subscriptions: Subscriptions | None = None,
    **options: int,
) -> Shortcut:
    standings = standings or FakeStandings()
    signer = Signer(keys, ISSUER, "test.local", options.get("lifetime", 300))
    return create_app(
        Parts(
            store=store,
            standings=standings,
            keys=known or FakeKeys(),
            subscriptions=subscriptions,
            reports=Reports(store, signer, standings),
            feed=Feed(
                store,
                deployment="test.local",
                issuer=ISSUER,
                poll_seconds=0.01,
                max_streams=2,
                max_per_address=2,
            ),
            jwks=form(canonical.dumps(jwks or jwks_document([key.public for key in keys]))),
            ledger=ledger or PublishedLedger(None, lambda _: ()),
            status=lambda: document(ISSUER, 0, None, [], []),
            sampler=Sampler("one"),
            limiter=Limiter(options.get("per_minute", 6_000), options.get("burst", 1_000)),
            file_limiter=Limiter(options.get("files_per_minute", 6_000), options.get("files_burst", 1_000)),
            deployment="test.local",
            max_age_seconds=1,
            trusted_proxies=options.get("proxies", 0),
            demo_agent=AGENT,
        )
    )


@pytest.fixture
def app(store: FakeStore, keys: tuple[SigningKey, ...]) -> ASGIApp:
    return build(store, keys)


def test_a_report_verifies_with_the_published_keys_alone(app: ASGIApp) -> None:
    answer = ask(app, TRUST)
    jwks = ask(app, "/.well-known/jwks.json").json()
    claims = verify_report(answer.content, jwks, issuer=ISSUER, now_micros=clock.now_micros())
    assert claims["pactCompliance"] == {
        "bound": 25,
        "valid": 24,
        "rate": 0.96,
        "violationsBySeverity": {"critical": 1},
    }
    assert {header["alg"] for header in map(protected, answer.json()["signatures"])} == {"ES256", "Ed25519"}
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "public, max-age=1"
    assert "Accept" in answer.headers["vary"]
    assert all("d" not in key for key in jwks["keys"])


def protected(signature: dict[str, str]) -> dict[str, str]:
    padded = signature["protected"] + "=" * (-len(signature["protected"]) % 4)
    found: dict[str, str] = json.loads(base64.urlsafe_b64decode(padded))
    return found


def test_a_changed_figure_breaks_the_signature(app: ASGIApp) -> None:
    report = ask(app, TRUST).json()
    report["score"]["composite"] = 99
    jwks = ask(app, "/.well-known/jwks.json").json()
    with pytest.raises(ReportError, match="is bad"):
        verify_report(report, jwks, issuer=ISSUER, now_micros=clock.now_micros())


def test_the_same_claims_come_as_jwt(app: ASGIApp) -> None:
    answer = ask(app, TRUST, headers={"Accept": "application/jwt"})
    assert answer.headers["content-type"] == "application/jwt"
    jwks = ask(app, "/.well-known/jwks.json").json()
    claims = verify_jwt(answer.text, jwks, issuer=ISSUER, now_micros=clock.now_micros())
    plain = ask(app, TRUST).json()
    del plain["signatures"]
    assert claims == plain


def test_an_unchanged_agent_is_answered_304_and_a_changed_one_is_not(app: ASGIApp, store: FakeStore) -> None:
    first = ask(app, TRUST)
    known = {"If-None-Match": first.headers["etag"]}
    again = ask(app, TRUST, headers=known)
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert again.headers["cache-control"] == "public, max-age=1"

    store.state = replace(STATE, checkpoint=replace(CHECKPOINT, tree_size=50))  # only others acted
    assert ask(app, TRUST, headers=known).status_code == 304
    store.state = replace(STATE, score=replace(SCORE, through_sequence=41), head=replace(HEAD, sequence=41))
    changed = ask(app, TRUST, headers=known)
    assert (changed.status_code, changed.json()["freshness"]["sequence"]) == (200, 41)
    assert ask(app, TRUST, headers=known | {"Accept": "application/jwt"}).status_code == 200


def test_a_report_is_issued_anew_when_half_of_its_life_is_over(
    store: FakeStore, keys: tuple[SigningKey, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = build(store, keys, lifetime=300)
    first = ask(app, TRUST)
    now = clock.monotonic_seconds()
    monkeypatch.setattr(clock, "monotonic_seconds", lambda: now + 149)
    assert ask(app, TRUST).content == first.content
    monkeypatch.setattr(clock, "monotonic_seconds", lambda: now + 151)
    assert ask(app, TRUST).json()["issuedAt"] > first.json()["issuedAt"]


def test_a_pause_shows_at_once_however_young_the_report_is(
    store: FakeStore, keys: tuple[SigningKey, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "_SERVE_SECONDS", 3_600)
    standings = FakeStandings()
    app = build(store, keys, standings=standings)
    first = ask(app, TRUST)
    assert first.json()["agentStatus"] == "active"
    standings.standing = "paused"
    known = {"If-None-Match": first.headers["etag"]}
    assert ask(app, TRUST, headers=known).json()["agentStatus"] == "paused"


def test_a_report_at_hand_is_given_without_waiting_and_looked_after(
    store: FakeStore, keys: tuple[SigningKey, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "_SERVE_SECONDS", 3_600)
    monkeypatch.setattr(reports, "_CHECK_SECONDS", -1)
    kept = Reports(store, Signer(keys, ISSUER, "test.local", 300), FakeStandings())

    async def run() -> None:
        first = await kept.get(AGENT)
        store.state = replace(STATE, head=replace(HEAD, sequence=41))
        assert await kept.get(AGENT) is first  # at once, while ClickHouse is asked
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})
        assert kept.at_hand(AGENT) is not first

    asyncio.run(run())


def test_an_unknown_id_is_looked_up_once_in_a_while(
    store: FakeStore, keys: tuple[SigningKey, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = build(store, keys)
    assert [ask(app, f"/api/v1/trust/{STRANGER}").status_code for _ in range(3)] == [404] * 3
    assert store.asked == 1
    now = clock.monotonic_seconds()
    monkeypatch.setattr(clock, "monotonic_seconds", lambda: now + 2)
    ask(app, f"/api/v1/trust/{STRANGER}")
    assert store.asked == 2


def test_no_more_unknown_ids_are_kept_than_the_limit(
    store: FakeStore, keys: tuple[SigningKey, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "_MAX_UNKNOWN", 1)
    app = build(store, keys)
    for stranger in (STRANGER, STRANGER.int + 1, STRANGER):
        ask(app, f"/api/v1/trust/{UUID(int=stranger) if isinstance(stranger, int) else stranger}")
    assert store.asked == 3


def test_without_the_agents_standing_it_is_not_ready(store: FakeStore, keys: tuple[SigningKey, ...]) -> None:
    standings = FakeStandings()
    standings.ready = False
    assert ask(build(store, keys, standings=standings), "/readyz").status_code == 503


def test_many_who_ask_at_once_make_one_look_and_one_report(app: ASGIApp, store: FakeStore) -> None:
    async def crowd() -> list[httpx.Response]:
        return await asyncio.gather(*(ask_async(app, TRUST) for _ in range(20)))

    answers = asyncio.run(crowd())
    assert len({answer.content for answer in answers}) == 1
    assert store.asked < 20


def test_ids_made_up_by_callers_push_out_no_report(
    app: ASGIApp, store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "_MAX_KEPT", 1)
    first = ask(app, TRUST).headers["etag"]
    ask(app, f"/api/v1/trust/{STRANGER}")
    assert ask(app, TRUST).headers["etag"] == first


def test_no_more_reports_are_kept_than_the_limit(app: ASGIApp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "_MAX_KEPT", 0)
    assert ask(app, TRUST).headers["etag"] != ask(app, TRUST).headers["etag"]


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        (f"/api/v1/trust/{STRANGER}", 404, "NOT_FOUND"),
        ("/api/v1/trust/atlas", 400, "INVALID_INPUT"),
        ("/api/v1/trust/76cf31d6-ffe3-4a5c-8748-021114aa806", 400, "INVALID_INPUT"),
        ("/api/v1/trust/%27%20OR%201=1", 400, "INVALID_INPUT"),
        ("/api/v1/trust/atlas/events", 400, "INVALID_INPUT"),
        ("/api/v1/ledger/checkpoint?log=7", 404, "NOT_FOUND"),
        ("/api/v1/ledger/checkpoint?log=-1", 400, "INVALID_INPUT"),
        ("/api/v1/ledger/checkpoint?log=x", 400, "INVALID_INPUT"),
        ("/demo?agent=<script>", 400, "INVALID_INPUT"),
        ("/demo/../settings.py", 404, "NOT_FOUND"),
        ("/demo/__init__.py", 404, "NOT_FOUND"),
        ("/nowhere", 404, "NOT_FOUND"),
    ],
)
def test_what_cannot_be_answered_says_so_in_the_wire_form(
    app: ASGIApp, path: str, status: int, code: str
) -> None:
    answer = ask(app, path)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["cache-control"] == "no-store"


def test_checkpoints_come_as_a_list_or_as_one_note(app: ASGIApp) -> None:
    assert ask(app, "/api/v1/ledger/checkpoint").json() == {
        "checkpoints": [
            {
                "log": 0,
                "origin": "test.local/ledger/0",
                "treeSize": 40,
                "sealedAt": "2026-05-13T10:00:41.000000Z",
                "checkpoint": CHECKPOINT.note,
            }
        ]
    }
    note = ask(app, "/api/v1/ledger/checkpoint?log=0")
    assert (note.text, note.headers["content-type"]) == (CHECKPOINT.note, "text/plain; charset=utf-8")


def test_a_rotated_key_still_verifies_what_it_signed(store: FakeStore, tmp_path: Path) -> None:
    directory = tmp_path / "rotating"
    old = create_keys(directory, "report")
    before = ask(build(store, old), TRUST)
    new = rotate_keys(directory, "report", now_micros=clock.now_micros())
    app = build(store, new, jwks_document([key.public for key in new], load_retired(directory, "report")))
    jwks = ask(app, "/.well-known/jwks.json").json()
    assert len(jwks["keys"]) == 4
    for answer in (before, ask(app, TRUST)):
        verify_report(answer.content, jwks, issuer=ISSUER, now_micros=clock.now_micros())


def test_the_key_set_may_be_cached(app: ASGIApp) -> None:
    answer = ask(app, "/.well-known/jwks.json")
    assert answer.headers["content-type"] == "application/jwk-set+json"
    assert answer.headers["cache-control"] == "public, max-age=300"
    again = ask(app, "/.well-known/jwks.json", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304


def test_clickhouse_down_is_503_and_tells_nothing_of_our_network(app: ASGIApp, store: FakeStore) -> None:
    assert ask(app, "/readyz").status_code == 200
    store.down = True
    for path in (TRUST, "/api/v1/ledger/checkpoint", "/api/v1/ledger/checkpoint?log=0"):
        answer = ask(app, path)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert "10.1.2.3" not in answer.text
    assert ask(app, "/readyz").status_code == 503
    assert ask(app, "/healthz").status_code == 200
    store.down = False
    assert ask(app, TRUST).status_code == 200


def test_an_address_has_its_limit_and_the_next_one_its_own(
    store: FakeStore, keys: tuple[SigningKey, ...]
) -> None:
    app = build(store, keys, per_minute=1, burst=2, proxies=1)
    first = {"X-Forwarded-For": "203.0.113.1"}
    assert [ask(app, TRUST, headers=first).status_code for _ in range(3)] == [200, 200, 429]
    refused = ask(app, "/.well-known/jwks.json", headers=first)
    assert refused.json() == {"error": "too many requests", "code": "RATE_LIMITED"}
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert ask(app, TRUST, headers={"X-Forwarded-For": "203.0.113.2"}).status_code == 200
    assert ask(app, "/healthz", headers=first).status_code == 200


def test_a_forged_forwarding_header_buys_no_second_limit(
    store: FakeStore, keys: tuple[SigningKey, ...]
) -> None:
    app = build(store, keys, per_minute=1, burst=1)
    answers = [ask(app, TRUST, headers={"X-Forwarded-For": f"203.0.113.{n}"}).status_code for n in range(2)]
    assert answers == [200, 429]


def test_other_sites_pages_may_read_reports_but_send_nothing(app: ASGIApp) -> None:
    origin = {"Origin": "https://bank.example"}
    answer = ask(app, TRUST, headers=origin)
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "etag" in answer.headers["access-control-expose-headers"].lower()
    assert "access-control-allow-credentials" not in answer.headers
    asked = origin | {"Access-Control-Request-Method": "DELETE"}
    assert ask(app, TRUST, "OPTIONS", headers=asked).status_code == 400
    assert ask(app, TRUST, "DELETE").status_code == 405


def test_the_page_brings_everything_itself_and_allows_nothing_else(app: ASGIApp) -> None:
    page = ask(app, "/demo")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "http://" not in page.text.replace("http://127.0.0.1:8090", "")
    assert "https://" not in page.text
    assert "<script>" not in page.text
    assert "style=" not in page.text
    for name in ("demo.css", "demo.js", "icon.svg"):
        assert f"/demo/{name}" in page.text or name == "icon.svg"
        asset = ask(app, f"/demo/{name}")
        assert asset.status_code == 200
        again = ask(app, f"/demo/{name}", headers={"If-None-Match": asset.headers["etag"]})
        assert again.status_code == 304
        assert b"https://" not in asset.content
    assert "innerHTML" not in ask(app, "/demo/demo.js").text
    assert ask(app, "/").headers["location"] == "/demo"


def test_the_page_is_of_the_agent_asked_for(app: ASGIApp) -> None:
    assert f'data-agent="{AGENT}"' in ask(app, "/demo").text
    assert f'data-agent="{STRANGER}"' in ask(app, f"/demo?agent={STRANGER}").text


def test_the_api_describes_itself(app: ASGIApp) -> None:
    described = ask(app, "/openapi.json").json()
    assert set(described["paths"]) == {
        "/api/v1/trust/{agentId}",
        "/api/v1/trust/{agentId}/events",
        "/api/v1/trust/{agentId}/history",
        "/api/v1/trust/{agentId}/violations",
        "/api/v1/trust/{agentId}/badge.svg",
        "/api/v1/trust/{agentId}/compare",
        "/api/v1/trust/batch",
        "/api/v1/subscriptions",
        "/status.json",
        "/api/v1/subscriptions/{subscriptionId}",
        "/.well-known/jwks.json",
        "/api/v1/ledger/checkpoint",
        "/api/v1/ledger/events/{eventId}/proof",
        "/api/v1/ledger/{log}/consistency",
        "/ledger/keys",
        "/ledger/{log}/{path}",
    }
    page = ask(app, "/docs")
    assert "An agent&#x27;s signed trust report" in page.text
    assert "<script" not in page.text
    assert "422" not in page.text


def test_the_example_has_the_form_of_a_report(app: ASGIApp) -> None:
    assert shape(examples.REPORT) == shape(ask(app, TRUST).json())


def shape(value: object) -> object:
    """The names of members, without values; a list is as its first element."""
    if isinstance(value, dict):
        return {name: shape(member) for name, member in value.items()}
    return [shape(value[0])] if isinstance(value, list) else None
