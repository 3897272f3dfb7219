"""What the HTTP services share: the error form, the envelope around a request, limits, health, the server."""

from __future__ import annotations

import logging

import pytest
from fastapi import FastAPI, Request
from prometheus_client import generate_latest
from pydantic import BaseModel

from pactstream import web
from pactstream.errors import Backpressure, Detail, Fatal, InvalidInput, PactstreamError, Retryable
from tests.asgi import ADDRESS, ask

ERRORS: dict[str, PactstreamError] = {
    "invalid": InvalidInput("bad batch", [Detail("events[3].tool", "is missing")]),
    "busy": Backpressure("Kafka is full", retry_after_seconds=2.2),
    "again": Retryable("socket to 10.0.0.1 closed"),
    "fatal": Fatal("key file has mode 0644"),
    "gone": web.Refused(404, "no such agent"),
    "limited": web.Refused(429, "slow down", headers={"Retry-After": "7"}),
}


class _Body(BaseModel):
    size: int


def _app(ready: bool = True) -> FastAPI:
    app = FastAPI()

    async def is_ready() -> bool:
        return ready

    web.install(app, is_ready)

    @app.get("/raise/{name}")
    async def raise_it(name: str) -> None:
        if name == "bug":
            raise ZeroDivisionError("secret detail")
        raise ERRORS[name]

    @app.get("/things/{number}")
    async def things(number: int, request: Request) -> dict[str, object]:
        return {"number": number, "request": request.state.request_id}

    @app.post("/bodies")
    async def bodies(body: _Body) -> int:
        return body.size

    return app


@pytest.fixture
def app() -> FastAPI:
    return _app()


@pytest.mark.parametrize(
    ("name", "status", "body", "wait"),
    [
        (
            "invalid",
            400,
            {
                "error": "bad batch",
                "code": "INVALID_INPUT",
                "details": [{"path": "events[3].tool", "message": "is missing"}],
            },
            None,
        ),
        ("busy", 503, {"error": "Kafka is full", "code": "UNAVAILABLE"}, "3"),
        (
            "again",
            503,
            {"error": "a part that this needs does not answer; try again", "code": "UNAVAILABLE"},
            "1",
        ),
        ("fatal", 500, {"error": "internal error", "code": "INTERNAL"}, None),
        ("gone", 404, {"error": "no such agent", "code": "NOT_FOUND"}, None),
        ("limited", 429, {"error": "slow down", "code": "RATE_LIMITED"}, "7"),
        ("bug", 500, {"error": "internal error", "code": "INTERNAL"}, None),
    ],
)
def test_each_error_has_its_status_and_wire_form(
    app: FastAPI, name: str, status: int, body: object, wait: str | None
) -> None:
    answer = ask(app, f"/raise/{name}")
    assert (answer.status_code, answer.json(), answer.headers.get("retry-after")) == (status, body, wait)
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == web.API_POLICY


def test_what_the_framework_refuses_has_the_same_form(app: FastAPI) -> None:
    wrong_type = ask(app, "/things/seven")
    assert wrong_type.status_code == 400
    assert wrong_type.json()["details"][0]["path"] == "path.number"
    assert ask(app, "/nowhere").json() == {"error": "Not Found", "code": "NOT_FOUND"}
    wrong_method = ask(app, "/things/7", "DELETE")
    assert (wrong_method.status_code, wrong_method.json()["code"]) == (405, "METHOD_NOT_ALLOWED")
    assert wrong_method.headers["allow"] == "GET"
    assert ask(app, "/bodies", "POST", content=b"{").json()["code"] == "INVALID_INPUT"


def test_a_request_id_is_kept_if_plain_and_made_if_not(app: FastAPI) -> None:
    kept = ask(app, "/things/7", headers={"X-Request-Id": "req-9bf"})
    assert kept.headers["x-request-id"] == kept.json()["request"] == "req-9bf"
    made = [ask(app, "/things/7", headers={"X-Request-Id": "a b<script>"}) for _ in range(2)]
    assert len({answer.headers["x-request-id"] for answer in made} - {"a b<script>"}) == 2


def test_a_bug_is_logged_with_the_request_id(app: FastAPI, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        ask(app, "/raise/bug", headers={"X-Request-Id": "req-42"})
    assert "req-42" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_metrics_are_labelled_by_route_not_by_path(app: FastAPI) -> None:
    ask(app, "/things/31337")
    ask(app, "/things/418", "BREW")
    text = generate_latest().decode()
    assert 'pactstream_http_requests_total{method="GET",route="/things/{number}",status="200"}' in text
    assert 'method="other"' in text
    assert "things/31337" not in text
    assert "BREW" not in text


def test_health_and_readiness_are_told_apart() -> None:
    app = _app(ready=False)
    assert ask(app, "/healthz").status_code == 200
    assert ask(app, "/readyz").status_code == 503
    assert ask(_app(), "/readyz").status_code == 200


def test_the_limiter_gives_each_key_its_burst_and_says_when_to_return() -> None:
    limiter = web.RateLimiter(per_minute=1, burst=3)
    for _ in range(3):
        limiter.check("192.0.2.1")
    with pytest.raises(web.Refused) as refused:
        limiter.check("192.0.2.1")
    assert refused.value.status == 429
    assert 50 <= int(refused.value.headers["Retry-After"]) <= 60
    assert 170 <= int(refused.value.headers["X-RateLimit-Reset"]) <= 180
    limiter.check("192.0.2.2")


def test_the_limiter_forgets_the_longest_unused_key() -> None:
    limiter = web.RateLimiter(per_minute=1, burst=1, max_keys=2)
    for key in ("a", "b", "c"):
        limiter.check(key)
    limiter.check("a")
    with pytest.raises(web.Refused):
        limiter.check("c")


@pytest.mark.parametrize(
    ("proxies", "forwarded", "expected"),
    [
        (0, "203.0.113.9", ADDRESS),
        (1, "203.0.113.9", "203.0.113.9"),
        (1, "6.6.6.6, 203.0.113.9", "203.0.113.9"),
        (2, "6.6.6.6, 203.0.113.9, 10.0.0.2", "203.0.113.9"),
        (1, "", ADDRESS),
        (3, "203.0.113.9", "203.0.113.9"),
    ],
)
def test_only_trusted_proxies_are_believed(proxies: int, forwarded: str, expected: str) -> None:
    app = FastAPI()

    @app.get("/")
    async def address(request: Request) -> str:
        return web.client_address(request, proxies)

    assert ask(app, "/", headers={"X-Forwarded-For": forwarded}).json() == expected


@pytest.mark.parametrize(
    ("address", "block"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::ffff", "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("unknown", "unknown"),
    ],
)
def test_an_ipv6_callers_many_addresses_count_as_one(address: str, block: str) -> None:
    assert web.address_block(address) == block
