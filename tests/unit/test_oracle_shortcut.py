"""What is answered at the door is what the route would have answered."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from starlette.types import ASGIApp

from oracle_api import reports
from oracle_api.reports import Reports
from pactstream.signing.keys import create_keys
from tests.asgi import ask
from tests.oracle_states import AGENT, STRANGER, FakeStore
from tests.unit.test_oracle_api import build

TRUST = f"/api/v1/trust/{AGENT}"


@pytest.fixture(autouse=True)
def kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "_SERVE_SECONDS", 3_600)
    monkeypatch.setattr(reports, "_CHECK_SECONDS", 3_600)


@pytest.fixture
def app(tmp_path: Path) -> ASGIApp:
    return build(FakeStore(), create_keys(tmp_path / "keys", "report"))


def shown(answer: httpx.Response) -> tuple[int, bytes, set[tuple[str, str]]]:
    headers = {pair for pair in answer.headers.items() if pair[0] != "x-request-id"}
    assert "x-request-id" in answer.headers
    return answer.status_code, answer.content, headers


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Accept": "application/jwt"},
        {"Accept": "application/jwt;q=0.1, application/json"},
        {"If-None-Match": '"other"'},
        {"Origin": "https://bank.example"},
        {"X-Request-Id": "req-1"},
    ],
)
def test_it_is_the_routes_answer_to_the_byte(
    app: ASGIApp, headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(app, TRUST)
    short = ask(app, TRUST, headers=headers)
    known = ask(app, TRUST, headers=headers | {"If-None-Match": short.headers["etag"]})
    assert known.status_code == 304
    with monkeypatch.context() as patch:
        patch.setattr("oracle_api.shortcut._asked", lambda _: None)
        assert shown(ask(app, TRUST, headers=headers)) == shown(short)
        again = ask(app, TRUST, headers=headers | {"If-None-Match": short.headers["etag"]})
        assert shown(again) == shown(known)


def test_it_waits_for_nothing(app: ASGIApp, monkeypatch: pytest.MonkeyPatch) -> None:
    first = ask(app, TRUST).content

    async def waits(*_: object) -> None:
        raise AssertionError("asked")

    monkeypatch.setattr(Reports, "get", waits)
    assert ask(app, TRUST).content == first


def test_it_counts_against_the_same_limit_and_in_the_same_metrics(tmp_path: Path) -> None:
    app = build(FakeStore(), create_keys(tmp_path / "keys", "report"), per_minute=1, burst=3)
    assert [ask(app, TRUST).status_code for _ in range(4)] == [200, 200, 200, 429]
    refused = ask(app, TRUST)
    assert refused.json() == {"error": "too many requests", "code": "RATE_LIMITED"}
    assert (refused.headers["retry-after"], refused.headers["cache-control"]) == ("60", "no-store")


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        (f"{TRUST}/", "GET", 307),
        (TRUST, "POST", 405),
        (TRUST.upper().replace("/API/V1/TRUST", "/api/v1/trust"), "GET", 200),
        (f"/api/v1/trust/{STRANGER}", "GET", 404),
        (f"{TRUST}%0A", "GET", 400),
    ],
)
def test_whatever_is_not_exactly_that_goes_the_usual_way(
    app: ASGIApp, path: str, method: str, status: int
) -> None:
    ask(app, TRUST)
    assert ask(app, path, method).status_code == status


def test_a_head_is_that_of_get_without_the_body(app: ASGIApp) -> None:
    ask(app, TRUST)
    for path, status in ((TRUST, 200), (f"{TRUST}/badge.svg", 200), (f"/api/v1/trust/{STRANGER}", 404)):
        got, head = ask(app, path), ask(app, path, "HEAD")
        assert (head.status_code, head.content) == (status, b"")
        assert shown(head)[2] == shown(got)[2]
    tag = ask(app, TRUST).headers["etag"]
    assert ask(app, TRUST, "HEAD", headers={"If-None-Match": tag}).status_code == 304
    assert ask(app, f"{TRUST}/events", "HEAD").status_code == 405
