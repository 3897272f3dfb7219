"""Pages of other origins: none may ask the gateway, unless it names them."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from ingest_gateway.settings import GatewaySettings
from tests.gateway_tools import ATLAS, EVENTS, TREASURY, body, call, make_gateway

PAGE = "https://agents.example.org"
PREFLIGHT = {
    "Origin": PAGE,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "content-type,x-pact-key",
}
ALLOWED = "access-control-allow-origin"


def test_without_a_setting_no_page_of_another_origin_may_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = make_gateway(monkeypatch)
    assert ALLOWED not in gateway.send("OPTIONS", EVENTS, headers=PREFLIGHT).headers
    answer = gateway.post_events(body(call()), headers={"Origin": PAGE})
    assert answer.status_code == 200
    assert ALLOWED not in answer.headers


def test_a_page_of_a_named_origin_may_and_another_may_not(monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = make_gateway(monkeypatch, gateway_cors_origins=f"https://other.example,{PAGE}")
    asked = {"agentId": ATLAS, "tool": "transfer_funds", "params": {"destination": "0xA11A"}}
    for path, content in ((EVENTS, body(call())), (f"/api/v1/pacts/{TREASURY}/validate-call", None)):
        before = gateway.send("OPTIONS", path, headers=PREFLIGHT)
        assert (before.status_code, before.headers[ALLOWED]) == (200, PAGE)
        sent = {"content": content} if content else {"json": asked}
        answer = gateway.ask("POST", path, headers={"Origin": PAGE}, **sent)
        assert (answer.status_code, answer.headers[ALLOWED]) == (200, PAGE)
        assert "x-request-id" in before.headers
        assert "Retry-After" in answer.headers["access-control-expose-headers"]
        assert "access-control-allow-credentials" not in answer.headers
        refused = gateway.send("OPTIONS", path, headers=PREFLIGHT | {"Origin": "https://evil.example"})
        assert ALLOWED not in refused.headers
        administers = PREFLIGHT | {"Access-Control-Request-Headers": "authorization"}
        assert gateway.send("OPTIONS", path, headers=administers).status_code == 400
    unknown = gateway.ask("POST", EVENTS, key="pk_live_x_y", headers={"Origin": PAGE}, content=b"")
    assert (unknown.status_code, unknown.headers[ALLOWED]) == (401, PAGE)


@pytest.mark.parametrize(
    "origins", ["*", "agents.example.org", "https://a.example/path", f"{PAGE}, {PAGE}", f"{PAGE},*"]
)
def test_what_is_no_list_of_origins_is_refused(origins: str) -> None:
    with pytest.raises(ValidationError):
        GatewaySettings(gateway_cors_origins=origins)
