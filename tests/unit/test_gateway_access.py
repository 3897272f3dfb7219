"""Keys: which are let in, and the exact answer to those that are not."""

from __future__ import annotations

import pytest

from pactstream import clock
from tests.gateway_tools import ACME, ADMIN_KEY, ATLAS, EVENTS, TREASURY, TestGateway, body, call, make_gateway

REQUIRED = {"error": "a valid API key is required", "code": "UNAUTHENTICATED"}


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> TestGateway:
    return make_gateway(monkeypatch)


def test_both_ways_to_present_a_key(gateway: TestGateway) -> None:
    for headers in (
        {"X-Pact-Key": gateway.key},
        {"Authorization": f"Bearer {gateway.key}"},
        {"Authorization": f"bearer   {gateway.key}"},
        {"X-Pact-Key": gateway.key, "Authorization": "Basic cHJveHk6cHJveHk="},
    ):
        assert gateway.send("POST", EVENTS, content=body(call()), headers=headers).status_code == 200


def test_two_keys_are_refused_even_if_they_are_one(gateway: TestGateway) -> None:
    headers = {"X-Pact-Key": gateway.key, "Authorization": f"Bearer {gateway.key}"}
    answer = gateway.send("POST", EVENTS, content=body(call()), headers=headers)
    assert answer.status_code == 400
    assert answer.json() == {
        "error": "present one key, in X-Pact-Key or in Authorization",
        "code": "INVALID_INPUT",
    }


def test_no_key_and_wrong_keys(gateway: TestGateway) -> None:
    wrong_secret = gateway.key[:-1] + ("0" if gateway.key[-1] != "0" else "1")
    unknown_id = "pk_live_" + "0" * 16 + gateway.key[24:]
    for key in (None, "nonsense", wrong_secret, unknown_id, gateway.key.upper(), gateway.key + "0", "é"):
        headers = {} if key is None else {"X-Pact-Key": key.encode()}
        answer = gateway.ask("POST", EVENTS, content=body(call()), key=None, headers=headers)
        assert (answer.status_code, answer.json()) == (401, REQUIRED)
        assert answer.headers["www-authenticate"] == "Bearer"
    assert gateway.publisher.records == []


def test_a_revoked_key_and_an_expired_one(gateway: TestGateway) -> None:
    expired = gateway.new_key(expires_at_micros=clock.now_micros() - 1)
    lasting = gateway.new_key(expires_at_micros=clock.now_micros() + 60_000_000)
    answer = gateway.post_events(body(call()), key=expired)
    assert (answer.status_code, answer.json()["error"]) == (401, "the API key is expired")
    assert gateway.post_events(body(call()), key=lasting).status_code == 200

    key_id = lasting.split("_")[2]
    revoked = gateway.administer("POST", f"/api/v1/tenants/{ACME}/keys/{key_id}/revoke")
    assert (revoked.status_code, revoked.json()["state"]) == (200, "revoked")
    answer = gateway.post_events(body(call()), key=lasting)
    assert answer.status_code == 401
    assert answer.json() == {"error": "the API key is revoked", "code": "UNAUTHENTICATED"}
    again = gateway.administer("POST", f"/api/v1/tenants/{ACME}/keys/{key_id}/revoke")
    assert again.json() == revoked.json()


@pytest.mark.parametrize(
    ("scope", "method", "path"),
    [
        ("telemetry:write", "POST", EVENTS),
        ("preflight", "POST", f"/api/v1/pacts/{TREASURY}/validate-call"),
        ("pacts:read", "GET", "/api/v1/pacts"),
        ("pacts:read", "GET", f"/api/v1/pacts/{TREASURY}"),
        ("pacts:read", "GET", f"/api/v1/pacts/{TREASURY}/versions"),
        ("pacts:write", "POST", "/api/v1/pacts"),
        ("pacts:write", "PUT", f"/api/v1/pacts/{TREASURY}"),
        ("pacts:write", "POST", f"/api/v1/pacts/{TREASURY}/versions"),
    ],
)
def test_each_route_needs_its_scope(gateway: TestGateway, scope: str, method: str, path: str) -> None:
    others = [one for one in ("telemetry:write", "preflight", "pacts:read", "pacts:write") if one != scope]
    lacking, having = gateway.new_key(*others), gateway.new_key(scope)  # type: ignore[arg-type]
    answer = gateway.ask(method, path, key=lacking)
    assert answer.status_code == 403
    assert answer.json() == {"error": f"the API key lacks the scope {scope}", "code": "FORBIDDEN"}
    assert gateway.ask(method, path, key=having).status_code not in (401, 403)
    assert gateway.send(method, path).status_code == 401


def test_api_keys_do_not_administer_and_the_administrators_key_sends_nothing(gateway: TestGateway) -> None:
    headers = {"Authorization": f"Bearer {gateway.key}"}
    answer = gateway.send("GET", "/api/v1/tenants", headers=headers)
    assert answer.status_code == 401
    assert answer.json() == {"error": "the administrators' key is required", "code": "UNAUTHENTICATED"}
    headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
    assert gateway.send("POST", EVENTS, content=body(call()), headers=headers).status_code == 401


def test_failures_of_one_address_are_limited_and_good_keys_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = make_gateway(monkeypatch, gateway_failures_per_minute=3)
    answers = [gateway.post_events(body(call()), key="wrong") for _ in range(5)]
    assert [one.status_code for one in answers] == [401, 401, 401, 429, 429]
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert int(answers[-1].headers["x-ratelimit-reset"]) >= 1
    assert answers[-1].json()["code"] == "RATE_LIMITED"
    assert gateway.post_events(body(call())).status_code == 200


def test_events_of_one_key_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = make_gateway(monkeypatch, gateway_events_per_second=1, gateway_events_burst=500)
    content = body(*[call()] * 200)
    assert [gateway.post_events(content).status_code for _ in range(3)] == [200, 200, 429]
    answer = gateway.post_events(content)
    assert answer.status_code == 429
    assert answer.json() == {"error": "too many requests", "code": "RATE_LIMITED"}
    assert 1 <= int(answer.headers["retry-after"]) <= 200
    assert 1 <= int(answer.headers["x-ratelimit-reset"]) <= 500
    assert len(gateway.publisher.events) == 400
    other = gateway.new_key()
    assert gateway.post_events(content, key=other).status_code == 200


def test_a_used_up_key_is_refused_before_its_body_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = make_gateway(monkeypatch, gateway_events_per_second=1, gateway_events_burst=500)
    assert gateway.post_events(body(*[call()] * 500)).status_code == 200
    assert gateway.post_events(b"not even JSON").status_code == 429


def test_nothing_secret_is_logged(gateway: TestGateway, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    gateway.post_events(body(call()))
    gateway.post_events(body(call()), key=gateway.key[:-1] + "x")
    issued = gateway.administer(
        "POST", f"/api/v1/tenants/{ACME}/keys", json={"label": "l", "scopes": ["preflight"]}
    ).json()["key"]
    assert gateway.post_events(body(call()), key=issued).status_code == 403
    for secret in (gateway.key, gateway.key[24:-2], issued, ADMIN_KEY):
        assert secret not in caplog.text


def test_routes_that_are_open_to_all(gateway: TestGateway) -> None:
    for path in ("/healthz", "/readyz", "/docs", "/openapi.json", "/schema-registry/subjects"):
        assert gateway.send("GET", path).status_code == 200
    assert gateway.send("GET", "/metrics").status_code == 404  # they have a port of their own
    gateway.ready = False
    assert gateway.send("GET", "/readyz").status_code == 503
    assert gateway.send("GET", "/healthz").status_code == 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_other_methods_are_405(gateway: TestGateway, method: str) -> None:
    answer = gateway.ask(method, EVENTS)
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"
    if method != "HEAD":
        assert answer.json() == {"error": "Method Not Allowed", "code": "METHOD_NOT_ALLOWED"}


def test_unknown_paths_are_404(gateway: TestGateway) -> None:
    answer = gateway.ask("POST", f"/api/v1/telemetry/events/{ATLAS}")
    assert (answer.status_code, answer.json()) == (404, {"error": "Not Found", "code": "NOT_FOUND"})
