"""Pages at the gateway: who may do what, that it is done once, and what goes to the ledger."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pactstream import clock
from pactstream.kafka import topics
from pactstream.paging.keys import Link
from pactstream.paging.records import Outcome, Page, PageDeliveries, dumps
from tests.gateway_tools import (
    ACME,
    ATLAS,
    OTHER,
    PAGING_KEYS,
    PAUSED,
    TREASURY,
    TestGateway,
    call,
    make_gateway,
    pact_document,
)

PAGE = "0190d0a0-0000-7000-8000-000000000001"
PATH = f"/api/v1/pages/{PAGE}"
LATER = clock.now_micros() // clock.MICROS_PER_SECOND + 3_600


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> TestGateway:
    made = make_gateway(monkeypatch)
    put_page(made)
    return made


def put_page(gateway: TestGateway, **changes: Any) -> Page:
    page = page_of(**changes)
    table: Any = gateway.pages.table
    table.put(page.page_id, page.encode())
    return page


def page_of(**changes: Any) -> Page:
    """An open page of Atlas's."""
    violation = {
        "paramPath": "destination",
        "rule": "allowList",
        "severity": "critical",
        "value": "0x<b>BAD",
        "expected": ["0xA11A"],
        "message": "no",
    }
    fields: dict[str, Any] = {
        "page_id": PAGE,
        "tenant_id": ACME,
        "tenant_pseudonym": "tenant-acme",
        "agent_id": ATLAS,
        "event_id": "0190d0a0-0000-7000-8000-0000000000e1",
        "session_id": "s-1",
        "tool": "transfer_funds",
        "severity": "critical",
        "violations": dumps([violation]),
        "recent_calls": b"[]",
        "occurred_at_micros": 1,
        "created_at_micros": 1,
        "pact_id": TREASURY,
        "pact_version": 1,
        "rule": "allowList",
        "param_path": "destination",
        "status": "open",
        "resolution": "",
        "occurrences": 3,
        "last_at_micros": 2,
        "last_event_id": "0190d0a0-0000-7000-8000-0000000000e2",
        "updated_at_micros": 2,
        "history": b"[]",
    }
    return Page(**fields | changes)


def loosened_document(*more: str) -> dict[str, Any]:
    document = pact_document()
    document["conditions"][0]["parameterBinding"]["rules"][0]["allowList"] += ["0xBAD", *more]
    return document


def accept(gateway: TestGateway, document: Any = None, base: int = 1, key: str = "") -> Any:
    body = {"reason": "a new supplier", "baseVersion": base, "document": document or loosened_document()}
    return gateway.ask("POST", f"{PATH}/accept", json=body, key=key)


def actions(gateway: TestGateway) -> list[str]:
    return [event["outcome"] for event in gateway.publisher.events]


def test_pages_are_shown_to_their_tenant_only(gateway: TestGateway) -> None:
    table: Any = gateway.pages.table
    said = PageDeliveries(PAGE, ACME, (Outcome("r", "slack", "delivered", 1, ""),))
    table.put(said.key, said.encode())
    (listed,) = gateway.ask("GET", "/api/v1/pages").json()["pages"]
    assert (listed["pageId"], listed["occurrences"]) == (PAGE, 3)
    assert gateway.ask("GET", "/api/v1/pages?status=closed").json() == {"pages": []}
    assert len(gateway.ask("GET", f"/api/v1/pages?agentId={ATLAS}").json()["pages"]) == 1
    shown = gateway.ask("GET", PATH).json()
    assert shown["violations"][0]["value"] == "0x<b>BAD"
    assert shown["deliveries"][0]["state"] == "delivered"
    assert gateway.ask("GET", "/api/v1/pages", key=gateway.others_key).json() == {"pages": []}
    assert gateway.ask("GET", PATH, key=gateway.others_key).status_code == 404
    assert gateway.ask("POST", f"{PATH}/block", json={"reason": "x"}, key=gateway.others_key).status_code == 404
    assert gateway.ask("GET", PATH, key=gateway.new_key("telemetry:write")).status_code == 403


def test_acknowledging_is_an_event_named_after_who_did_it(gateway: TestGateway) -> None:
    for _ in range(2):
        assert gateway.ask("POST", f"{PATH}/acknowledge", json={"note": "on it"}).json() == {"status": "done"}
    first, again = gateway.publisher.events
    assert first["event_id"] == again["event_id"]  # the evaluator drops the second
    assert (first["type"], first["outcome"], first["parent_event_id"]) == ("page", "acknowledged", PAGE)
    assert json.loads(first["metadata"])["by"].startswith("key/")
    assert first["reason"] == "on it"


def test_clients_cannot_send_events_of_pages(gateway: TestGateway) -> None:
    assert gateway.post_events(json.dumps({"events": [call(type="page")]})).status_code == 422


def test_accepting_loosens_the_pact_for_that_rule_only(gateway: TestGateway) -> None:
    assert accept(gateway, base=2).status_code == 409
    assert accept(gateway, pact_document()).status_code == 422
    assert accept(gateway, loosened_document() | {"name": "Other"}).status_code == 422
    assert accept(gateway, {"name": "Nothing"}).status_code == 422
    assert accept(gateway).json() == {"status": "done", "pactVersion": 2}
    assert accept(gateway).json() == {"status": "done", "pactVersion": 2}  # sent again
    latest = gateway.pacts.latest(TREASURY)
    assert latest is not None
    assert json.loads(latest.document) == loosened_document()
    assert set(actions(gateway)) == {"accepted"}


def test_two_approvals_are_two_keys_and_one_document(gateway: TestGateway) -> None:
    tenant = gateway.directory.get(ACME)
    assert tenant is not None
    gateway.administer("PUT", f"/api/v1/tenants/{ACME}", json={"name": "Acme", "approvals": 2})
    second = gateway.new_key("pages:act")
    for _ in range(2):
        waiting = accept(gateway)
        assert (waiting.status_code, waiting.json()) == (202, {"status": "waiting_for_approval"})
    assert accept(gateway, loosened_document("0xMORE"), key=second).status_code == 409
    assert accept(gateway, key=second).json() == {"status": "done", "pactVersion": 2}
    assert actions(gateway) == ["accept_requested", "accept_requested", "accepted"]


def test_a_first_approval_lapses(gateway: TestGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway.administer("PUT", f"/api/v1/tenants/{ACME}", json={"name": "Acme", "approvals": 2})
    assert accept(gateway).status_code == 202
    later = clock.now_micros() + 25 * 3_600 * clock.MICROS_PER_SECOND
    monkeypatch.setattr(clock, "now_micros", lambda: later)
    assert accept(gateway, key=gateway.new_key("pages:act")).status_code == 202


def test_blocking_pauses_the_agent_and_resuming_ends_that(gateway: TestGateway) -> None:
    assert gateway.ask("POST", f"{PATH}/block", json={"reason": "odd"}).json() == {"status": "done"}
    asked = {"agentId": ATLAS, "tool": "transfer_funds", "params": {}}
    validate = f"/api/v1/pacts/{TREASURY}/validate-call"
    assert gateway.ask("POST", validate, json=asked).json()["reason"] == "agent_paused"
    assert gateway.post_events(json.dumps({"events": [call()]})).status_code == 409
    assert gateway.ask("POST", f"/api/v1/agents/{ATLAS}/resume", json={"reason": "fine"}).status_code == 200
    assert "reason" not in gateway.ask("POST", validate, json=asked).json()
    assert actions(gateway) == ["blocked", "resumed"]
    assert gateway.ask("POST", f"/api/v1/agents/{TREASURY}/resume", json={"reason": "x"}).status_code == 404
    assert gateway.ask("POST", f"{PATH}/block", json={"reason": " "}).status_code == 400


def test_rotating_replaces_what_can_act_as_the_agent(gateway: TestGateway) -> None:
    actor, other = gateway.new_key("pages:act"), gateway.new_key("pacts:read")
    agents = gateway.new_key("telemetry:write", "preflight")
    rotated = gateway.ask("POST", f"{PATH}/rotate", json={"reason": "leaked"}, key=actor)
    assert rotated.headers["cache-control"] == "no-store"
    found = rotated.json()
    assert len(found["revokedKeys"]) == len(found["keys"]) == 2
    events = json.dumps({"events": [call()]})
    assert gateway.post_events(events, key=agents).status_code == 401
    new = next(one for one in found["keys"] if one["scopes"] == ["telemetry:write", "preflight"])
    assert gateway.post_events(events, key=new["key"]).status_code == 200
    assert gateway.ask("GET", "/api/v1/pacts", key=other).status_code == 200
    assert actions(gateway)[0] == "rotated"


def test_rotating_may_be_narrowed_to_keys(gateway: TestGateway) -> None:
    actor, agents = gateway.new_key("pages:act"), gateway.new_key("telemetry:write")
    named = agents.split("_")[2]
    body = {"reason": "leaked", "keyIds": [named]}
    assert gateway.ask("POST", f"{PATH}/rotate", json=body, key=actor).json()["revokedKeys"] == [named]
    assert gateway.ask("GET", "/api/v1/pages").status_code == 200


def test_a_closed_page_takes_no_other_action(gateway: TestGateway) -> None:
    put_page(gateway, status="closed", resolution="blocked")
    assert gateway.ask("POST", f"{PATH}/acknowledge", json={}).status_code == 409
    assert gateway.ask("POST", f"{PATH}/rotate", json={"reason": "x"}).status_code == 409
    assert accept(gateway).status_code == 409
    assert gateway.ask("POST", f"{PATH}/block", json={"reason": "again"}).status_code == 200


def link(action: str, tenant: str = ACME, expires_at: int = LATER) -> str:
    return f"/api/v1/pages/links/{PAGING_KEYS.token(Link(tenant, PAGE, action, expires_at))}"


def post_form(gateway: TestGateway, path: str, **fields: str) -> Any:
    return gateway.ask("POST", path, key=None, data=fields)


def test_looking_at_a_link_changes_nothing(gateway: TestGateway) -> None:
    for _ in range(2):
        shown = gateway.ask("GET", link("block"), key=None)
        assert shown.status_code == 200
        assert "form-action 'self'" in shown.headers["content-security-policy"]
        assert "0x&lt;b&gt;BAD" in shown.text
    assert gateway.ask("HEAD", link("block"), key=None).status_code == 405
    assert gateway.publisher.events == []
    assert gateway.marks.values() == []


def test_a_link_acts_once(gateway: TestGateway) -> None:
    path = link("block")
    assert post_form(gateway, path).status_code == 422  # without a reason nothing is used up
    assert post_form(gateway, path, reason="odd").status_code == 200
    tenant = gateway.directory.get(ACME)
    assert tenant is not None
    assert tenant.agents[ATLAS].status == "paused"
    assert post_form(gateway, path, reason="odd").status_code == 410
    assert gateway.ask("GET", path, key=None).status_code == 410
    assert actions(gateway) == ["blocked"]


def test_a_link_that_was_begun_and_not_finished_works_again_in_a_while(
    gateway: TestGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = link("acknowledge")
    gateway.publisher.failure = RuntimeError("the process dies here")
    assert post_form(gateway, path).status_code == 500
    gateway.publisher.failure = None
    assert post_form(gateway, path).status_code == 409
    later = clock.now_micros() + 31 * clock.MICROS_PER_SECOND
    monkeypatch.setattr(clock, "now_micros", lambda: later)
    assert post_form(gateway, path).status_code == 200
    assert len({one["event_id"] for one in gateway.publisher.events}) == 1


def test_a_link_accepts_with_what_it_showed(gateway: TestGateway) -> None:
    path = link("accept")
    assert "0x&lt;b&gt;BAD" in gateway.ask("GET", path, key=None).text
    assert post_form(gateway, path, reason="new", baseVersion="1").status_code == 200
    latest = gateway.pacts.latest(TREASURY)
    assert latest is not None
    assert latest.version == 2
    assert latest.created_by == Link(ACME, PAGE, "accept", LATER).link_id


def test_a_link_rotates_and_shows_the_keys_once(gateway: TestGateway) -> None:
    shown = post_form(gateway, link("rotate"), reason="leaked")
    assert shown.text.count("pk_live_") == 1
    assert post_form(gateway, link("rotate"), reason="leaked").status_code == 410


def test_two_links_are_not_two_pairs_of_eyes(gateway: TestGateway) -> None:
    gateway.administer("PUT", f"/api/v1/tenants/{ACME}", json={"name": "Acme", "approvals": 2})
    for path in (link("accept"), link("accept", expires_at=LATER + 1)):
        assert "a second key" in post_form(gateway, path, reason="new", baseVersion="1").text
    latest = gateway.pacts.latest(TREASURY)
    assert latest is not None
    assert latest.version == 1


def test_what_is_no_link_of_ours_is_none(gateway: TestGateway) -> None:
    good = link("block")
    body, _, signature = good.rpartition("/")[2].partition(".")
    prefix = "/api/v1/pages/links"
    bad = [
        f"{prefix}/{body}",
        f"{prefix}/{body}.{signature[:-1]}",
        f"{prefix}/{body}x.{signature}",
        f"{prefix}/{body}=.{signature}",
        f"{prefix}/{'a' * 400}",
        link("block", expires_at=1),
        link("block", tenant=OTHER),
    ]
    for path in bad:
        assert gateway.ask("GET", path, key=None).status_code == 404
        assert post_form(gateway, path, reason="x").status_code == 404
    assert gateway.publisher.events == []


ROUTE = "/api/v1/paging/routes/0190d0a0-0000-7000-8000-00000000000a"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (
            {"kind": "alertmanager", "name": "a", "url": "https://am.example", "secret": "token-unmistakable"},
            201,
        ),
        ({"kind": "pagerduty", "name": "a", "secret": "routing-unmistakable"}, 201),
        ({"kind": "slack", "name": "a", "secret": "https://hooks.example/x"}, 201),
        ({"kind": "webhook", "name": "a", "url": "https://hooks.example/x"}, 201),
        ({"kind": "email", "name": "a", "to": ["ops@acme.example"], "severities": ["critical", "notice"]}, 201),
        ({"kind": "alertmanager", "name": "a"}, 422),
        ({"kind": "alertmanager", "name": "a", "url": "https://127.0.0.1/"}, 422),
        ({"kind": "webhook", "name": "a", "url": "http://hooks.example/x"}, 422),
        ({"kind": "webhook", "name": "a", "url": "https://hooks.example/x", "secret": "mine"}, 422),
        ({"kind": "slack", "name": "a"}, 422),
        ({"kind": "slack", "name": "a", "secret": "https://169.254.169.254/"}, 422),
        ({"kind": "pagerduty", "name": "a"}, 422),
        ({"kind": "email", "name": "a"}, 422),
        ({"kind": "email", "name": "a", "to": ["ops@acme.example\r\nBcc: x@y.example"]}, 422),
        ({"kind": "fax", "name": "a"}, 400),
    ],
)
def test_routes_are_checked_and_secrets_never_come_back(
    gateway: TestGateway, body: dict[str, Any], status: int
) -> None:
    made = gateway.ask("PUT", ROUTE, json=body)
    assert made.status_code == status
    if status != 201:
        return
    assert made.json()["hasSecret"] is ("secret" in body)
    assert (made.json()["signingSecret"] is None) == (body["kind"] != "webhook")
    secret = body.get("secret", "whsec_")
    assert secret not in gateway.ask("GET", ROUTE).text + gateway.ask("GET", "/api/v1/paging/routes").text
    stored = gateway.routes.get(ROUTE.rpartition("/")[2])
    assert stored is not None
    assert secret.encode() not in stored.encode()


def test_a_secret_does_not_follow_a_route_elsewhere(gateway: TestGateway) -> None:
    body = {"kind": "alertmanager", "name": "a", "url": "https://am.example", "secret": "token"}
    gateway.ask("PUT", ROUTE, json=body)
    del body["secret"]
    renamed = gateway.ask("PUT", ROUTE, json=body | {"name": "b"})
    assert (renamed.status_code, renamed.json()["hasSecret"]) == (200, True)
    moved = gateway.ask("PUT", ROUTE, json=body | {"url": "https://evil.example"})
    assert moved.json()["hasSecret"] is False


def test_routes_are_their_tenants_and_few(gateway: TestGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    body = {"kind": "webhook", "name": "a", "url": "https://hooks.example/x"}
    gateway.ask("PUT", ROUTE, json=body)
    theirs = gateway.others_key
    assert gateway.ask("PUT", ROUTE, json=body, key=theirs).status_code == 409
    for method in ("GET", "DELETE"):
        assert gateway.ask(method, ROUTE, key=theirs).status_code == 404
    assert gateway.ask("POST", f"{ROUTE}/test", key=theirs).status_code == 404
    assert gateway.ask("GET", ROUTE, key=gateway.new_key("pages:act")).status_code == 403
    monkeypatch.setattr("ingest_gateway.paging_routes.MAX_ROUTES", 1)
    assert gateway.ask("PUT", f"{ROUTE[:-1]}b", json=body).status_code == 409
    assert gateway.ask("POST", f"{ROUTE}/test").status_code == 202
    ((topic, _, _),) = gateway.publisher.records
    assert topic == topics.PAGE_DELIVERIES
    assert gateway.ask("DELETE", ROUTE).status_code == 204
    assert gateway.ask("GET", ROUTE).status_code == 404


def test_a_paused_agents_page_still_takes_actions(gateway: TestGateway) -> None:
    put_page(gateway, agent_id=PAUSED)
    assert gateway.ask("POST", f"{PATH}/acknowledge", json={}).status_code == 200
