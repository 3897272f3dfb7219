"""Pacts, pre-flight, administration, schemas and the page that describes it all."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest

from pactstream import avro
from pactstream.pacts import templates
from tests.gateway_tools import (
    ACME,
    ATLAS,
    OTHERS_PACT,
    SECOND,
    STRANGER,
    TREASURY,
    TestGateway,
    body,
    call,
    make_gateway,
    pact_document,
)

PREFLIGHT = f"/api/v1/pacts/{TREASURY}/validate-call"
PACT = f"/api/v1/pacts/{TREASURY}"
NOBODYS = "0a9f5f0e-5a53-4c1c-9d0e-6a4c8f1f7a01"
NO_PACT = {"error": "no such pact of this tenant", "code": "NOT_FOUND"}


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> TestGateway:
    return make_gateway(monkeypatch)


def question(**changes: Any) -> dict[str, Any]:
    params = {"destination": "0xA11A", "amount": 250, "currency": "USDC"}
    return {"agentId": ATLAS, "tool": "transfer_funds", "params": params} | changes


# --- pre-flight ----------------------------------------------------------------------


def test_preflight_says_what_the_event_would_get(gateway: TestGateway) -> None:
    for params in ({"destination": "0xA11A"}, {"destination": "0xBAD", "amount": 10**20, "currency": "USDC"}):
        answer = gateway.ask("POST", PREFLIGHT, json=question(params=params))
        (result,) = gateway.post_events(body(call(params=params))).json()["results"]
        assert answer.status_code == 200
        assert answer.json() == {
            "valid": result["validation"]["valid"],
            "validation": result["validation"],
        }
    assert len(gateway.publisher.events) == 2  # asking recorded nothing


def test_preflight_by_an_earlier_version(gateway: TestGateway) -> None:
    document = pact_document()
    document["conditions"][0]["parameterBinding"]["rules"] = [
        {"paramPath": "destination", "allowList": ["0xNEW"]}
    ]
    assert gateway.ask("PUT", PACT, json=document).status_code == 201
    asked = [gateway.ask("POST", PREFLIGHT, json=question(version=n)).json() for n in (1, 2)]
    assert [one["valid"] for one in asked] == [True, False]
    assert gateway.ask("POST", PREFLIGHT, json=question()).json() == asked[1]
    assert gateway.ask("POST", PREFLIGHT, json=question(version=3)).status_code == 404


@pytest.mark.parametrize(
    ("content", "status", "error", "path"),
    [
        (b"{", 400, "the body is not JSON", ""),
        (b'{"tool": 1, "tool": 2}', 400, "the body is not JSON", ""),
        (json.dumps(question(tool=7)).encode(), 422, "the body is not valid", "tool"),
        (json.dumps(question(tol="x")).encode(), 422, "the body is not valid", ""),
        (json.dumps(question(version=0)).encode(), 422, "the body is not valid", "version"),
        (json.dumps(question(params=[])).encode(), 422, "the call cannot be judged", "params"),
        (
            json.dumps(question(agentId=STRANGER)).encode(),
            403,
            "the agent is not one of this tenant's",
            "agentId",
        ),
        (json.dumps(question(agentId=SECOND)).encode(), 422, "the pact is for another agent", "pactId"),
    ],
)
def test_preflight_refuses(gateway: TestGateway, content: bytes, status: int, error: str, path: str) -> None:
    answer = gateway.ask("POST", PREFLIGHT, content=content)
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert [one["path"] for one in answer.json()["details"]] == [path]


@pytest.mark.parametrize("pact_id", [OTHERS_PACT, NOBODYS])
def test_preflight_does_not_know_others_pacts(gateway: TestGateway, pact_id: str) -> None:
    answer = gateway.ask("POST", f"/api/v1/pacts/{pact_id}/validate-call", json=question())
    assert answer.status_code == 404
    assert answer.json() == NO_PACT | {"details": [{"path": "pactId", "message": "is not known"}]}


def test_a_pact_id_that_is_none_is_400(gateway: TestGateway) -> None:
    answer = gateway.ask("POST", "/api/v1/pacts/treasury/validate-call", json=question())
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_INPUT")


def test_preflight_questions_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = make_gateway(monkeypatch, gateway_preflights_per_second=1)
    answers = [gateway.ask("POST", PREFLIGHT, json=question()) for _ in range(3)]
    assert answers[0].status_code == 200
    assert answers[-1].status_code == 429 or answers[1].status_code == 429


# --- pacts ----------------------------------------------------------------------


def test_a_pact_is_created_read_and_succeeded(gateway: TestGateway) -> None:
    made = gateway.ask("POST", "/api/v1/pacts", json=pact_document())
    assert made.status_code == 201
    pact = made.json()
    assert (pact["version"], pact["name"], pact["agentId"]) == (1, "Treasury", ATLAS)
    assert pact["document"] == pact_document()
    assert pact["createdBy"] == gateway.key.split("_")[2]
    path = f"/api/v1/pacts/{pact['pactId']}"
    assert gateway.ask("GET", path).json() == pact

    second = gateway.ask("POST", path + "/versions", json=pact_document(name="Treasury, again"))
    assert (second.status_code, second.json()["version"]) == (201, 2)
    assert second.json()["hash"] != pact["hash"]
    assert gateway.ask("GET", path).json() == second.json()
    assert gateway.ask("GET", path + "?version=1").json() == pact
    assert gateway.ask("GET", path + "?version=3").status_code == 404
    assert gateway.ask("GET", path + "?version=0").status_code == 400
    listed = gateway.ask("GET", path + "/versions").json()["versions"]
    assert [one["version"] for one in listed] == [1, 2]
    assert all("document" not in one for one in listed)
    newest = gateway.ask("GET", "/api/v1/pacts").json()["pacts"]
    assert {(one["pactId"], one["version"]) for one in newest} == {(TREASURY, 1), (pact["pactId"], 2)}


def test_putting_the_same_document_again_makes_no_version(gateway: TestGateway) -> None:
    path = f"/api/v1/pacts/{uuid4()}"
    answers = [
        gateway.ask("PUT", path, content=content)
        for content in (
            json.dumps(pact_document()),
            json.dumps(pact_document(), indent=3),  # the same document in canonical form
            json.dumps(pact_document(name="B")),
            json.dumps(pact_document()),
        )
    ]
    assert [one.status_code for one in answers] == [201, 200, 201, 201]
    assert [one.json()["version"] for one in answers] == [1, 1, 2, 3]


def test_the_faults_of_a_pact_are_named(gateway: TestGateway) -> None:
    document = pact_document(surprise=1)
    document["conditions"][0]["severity"] = "grave"
    document["conditions"][0]["parameterBinding"]["rules"].append({"paramPath": "memo", "regex": "(a)\\1"})
    before = gateway.ask("GET", PACT).json()
    answer = gateway.ask("PUT", PACT, json=document)
    assert (answer.status_code, answer.json()["code"]) == (422, "INVALID_INPUT")
    paths = {one["path"] for one in answer.json()["details"]}
    assert {"surprise", "conditions[0].severity"} <= paths
    assert gateway.ask("GET", PACT).json() == before


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'{"name": "a", "name": "b"}', b"\xff"])
def test_what_is_no_pact_is_422(gateway: TestGateway, content: bytes) -> None:
    answer = gateway.ask("POST", "/api/v1/pacts", content=content)
    assert (answer.status_code, answer.json()["code"]) == (422, "INVALID_INPUT")


@pytest.mark.parametrize("agent_id", [STRANGER, NOBODYS])
def test_a_pact_must_be_for_an_agent_of_the_tenant(gateway: TestGateway, agent_id: str) -> None:
    answer = gateway.ask("POST", "/api/v1/pacts", json=pact_document(agentId=agent_id))
    assert answer.status_code == 422
    assert answer.json()["details"] == [{"path": "agentId", "message": "is not an agent of this tenant"}]


def test_a_pact_for_any_agent_and_one_with_capitals(gateway: TestGateway) -> None:
    document = pact_document()
    del document["agentId"]
    path = f"/api/v1/pacts/{uuid4()}"
    assert gateway.ask("PUT", path, json=document).json()["agentId"] is None
    answer = gateway.post_events(body(call(agentId=SECOND, pactId=path.rsplit("/", 1)[1])))
    assert answer.status_code == 200
    assert gateway.ask("PUT", path, json=pact_document(agentId=ATLAS.upper())).json()["agentId"] == ATLAS


def test_others_pacts_can_be_neither_seen_nor_changed(gateway: TestGateway) -> None:
    theirs, nobodys = f"/api/v1/pacts/{OTHERS_PACT}", f"/api/v1/pacts/{uuid4()}"
    for path in (theirs, nobodys):
        assert (gateway.ask("GET", path).status_code, gateway.ask("GET", path).json()) == (404, NO_PACT)
        assert gateway.ask("GET", path + "/versions").json() == NO_PACT
        assert gateway.ask("POST", path + "/versions", json=pact_document()).json() == NO_PACT
    answer = gateway.ask("PUT", theirs, json=pact_document())
    assert answer.json() == {"error": "this pact id is taken", "code": "CONFLICT"}
    assert gateway.pacts.get(OTHERS_PACT, 2) is None
    assert {one["pactId"] for one in gateway.ask("GET", "/api/v1/pacts").json()["pacts"]} == {TREASURY}


def test_pact_versions_and_writes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = make_gateway(monkeypatch, gateway_pact_versions_per_tenant=2, gateway_pact_writes_per_minute=3)
    answers = [gateway.ask("PUT", PACT, json=pact_document(name=f"{n}")) for n in range(4)]
    assert [one.status_code for one in answers] == [201, 409, 409, 429]
    assert answers[1].json() == {"error": "a tenant may have 2 pact versions", "code": "CONFLICT"}


def test_every_template_can_be_put_in_force_as_it_is(gateway: TestGateway) -> None:
    listed = gateway.send("GET", "/api/v1/pact-templates").json()["templates"]
    assert [one["name"] for one in listed] == templates.names()
    for template in listed:
        made = gateway.ask("POST", "/api/v1/pacts", json=template["document"])
        assert made.status_code == 201, template["name"]
        for example in template["examples"]:
            path = f"/api/v1/pacts/{made.json()['pactId']}/validate-call"
            asked = question(tool=example["tool"], params=example["params"], sessionId="s-1")
            answer = gateway.ask("POST", path, json=asked)
            # Examples are judged alone; this agent has done nothing yet, not even what a call requires.
            found = {one["rule"] for one in answer.json()["validation"]["violations"]} - {"requires"}
            assert (not found) is example["valid"], example["note"]


# --- administration ----------------------------------------------------------------------


def test_a_newcomer_from_tenant_to_first_event(gateway: TestGateway) -> None:
    tenant_id, agent_id = str(uuid4()), str(uuid4())
    path = f"/api/v1/tenants/{tenant_id}"
    made = gateway.administer("PUT", path, json={"name": "New", "owners": ["ops@new.example"]})
    assert made.status_code == 201
    assert (made.json()["name"], made.json()["owners"], made.json()["agents"]) == (
        "New",
        ["ops@new.example"],
        [],
    )
    assert made.json()["pseudonym"].startswith("tenant-")
    assert tenant_id[:8] not in made.json()["pseudonym"]
    registered = gateway.administer("PUT", f"{path}/agents/{agent_id}", json={"name": "Bot"})
    assert (registered.status_code, registered.json()["status"]) == (201, "active")
    issued = gateway.administer("POST", path + "/keys", json={"label": "bot", "scopes": ["telemetry:write"]})
    assert issued.status_code == 201
    assert issued.headers["cache-control"] == "no-store"
    start = {
        "type": "session_start",
        "sessionId": "s",
        "agentId": agent_id,
        "startedAt": "2026-05-13T10:00:00Z",
    }
    assert gateway.post_events(body(start), key=issued.json()["key"]).status_code == 200
    (batch,) = gateway.publisher.batches
    assert (batch["tenant_id"], batch["tenant_pseudonym"]) == (tenant_id, made.json()["pseudonym"])


def test_repeating_changes_nothing(gateway: TestGateway) -> None:
    path = f"/api/v1/tenants/{uuid4()}"
    first, second = (gateway.administer("PUT", path, json={"name": "New"}) for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()
    agent = f"{path}/agents/{uuid4()}"
    first, second = (gateway.administer("PUT", agent, json={"name": "Bot"}) for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()
    renamed = gateway.administer("PUT", path, json={"name": "Renamed"})
    assert (renamed.json()["name"], len(renamed.json()["agents"])) == ("Renamed", 1)


def test_a_paused_agent_stays_paused_until_resumed(gateway: TestGateway) -> None:
    path = f"/api/v1/tenants/{ACME}/agents/{ATLAS}"
    assert gateway.administer("POST", path + "/pause").json()["status"] == "paused"
    assert gateway.administer("PUT", path, json={"name": "Atlas II"}).json()["status"] == "paused"
    assert gateway.post_events(body(call())).status_code == 409
    assert gateway.administer("POST", path + "/resume").json()["status"] == "active"
    assert gateway.post_events(body(call())).status_code == 200


def test_keys_are_listed_without_what_makes_them_keys(gateway: TestGateway) -> None:
    path = f"/api/v1/tenants/{ACME}/keys"
    issued = gateway.administer(
        "POST",
        path,
        json={"label": "l", "scopes": ["preflight", "preflight"], "expiresAt": "2999-01-01T00:00:00Z"},
    ).json()
    listed = gateway.administer("GET", path)
    assert issued["key"] not in listed.text
    assert issued["key"].split("_")[3] not in listed.text
    assert listed.json()["keys"][1] == {name: value for name, value in issued.items() if name != "key"}
    assert (issued["scopes"], issued["expiresAt"]) == (["preflight"], "2999-01-01T00:00:00.000000Z")


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    [
        ("GET", f"/{NOBODYS}", None, 404),
        ("GET", "/acme", None, 400),
        ("PUT", f"/{NOBODYS}/agents/{ATLAS}", {"name": "Bot"}, 404),
        ("POST", f"/{ACME}/agents/{STRANGER}/pause", None, 404),
        ("POST", f"/{ACME}/keys/{'0' * 16}/revoke", None, 404),
        ("POST", f"/{ACME}/keys/not-a-key-id/revoke", None, 400),
        ("POST", f"/{NOBODYS}/keys", {"label": "l", "scopes": ["preflight"]}, 404),
        ("POST", f"/{ACME}/keys", {"label": "l", "scopes": []}, 400),
        ("POST", f"/{ACME}/keys", {"label": "l", "scopes": ["everything"]}, 400),
        (
            "POST",
            f"/{ACME}/keys",
            {"label": "l", "scopes": ["preflight"], "expiresAt": "2030-01-01T00:00:00"},
            400,
        ),
        ("POST", "", {"name": ""}, 400),
        ("POST", "", {"name": "a\nb"}, 400),
        ("POST", "", {"name": "a", "surprise": 1}, 400),
        ("POST", "", {"name": "a", "owners": ["x"] * 17}, 400),
    ],
)
def test_what_administrators_get_wrong(
    gateway: TestGateway, method: str, path: str, content: Any, status: int
) -> None:
    answer = gateway.administer(method, "/api/v1/tenants" + path, json=content)
    assert answer.status_code == status
    assert set(answer.json()) <= {"error", "code", "details"}


def test_tenants_are_listed_by_name(gateway: TestGateway) -> None:
    gateway.administer("POST", "/api/v1/tenants", json={"name": "Another"})
    names = [one["name"] for one in gateway.administer("GET", "/api/v1/tenants").json()["tenants"]]
    assert names == ["Acme", "Another", "Other"]


# --- schemas and documentation ----------------------------------------------------------------------


def test_the_schemas_as_confluents_registry_serves_them(gateway: TestGateway) -> None:
    root = "/schema-registry"
    answer = gateway.send("GET", root + "/schemas/ids/1")
    assert answer.headers["content-type"] == "application/vnd.schemaregistry.v1+json"
    assert json.loads(answer.json()["schema"])["name"] == "TelemetryBatch"
    subjects = gateway.send("GET", root + "/subjects").json()
    assert subjects == sorted({one.subject for one in avro.registered()})
    assert gateway.send("GET", root + "/subjects/pacts-value/versions").json() == [1]
    latest = gateway.send("GET", root + "/subjects/pacts-value/versions/latest").json()
    assert latest == gateway.send("GET", root + "/subjects/pacts-value/versions/1").json()
    assert (latest["subject"], latest["version"], latest["id"]) == ("pacts-value", 1, 3)


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/schemas/ids/999", 404, 40403),
        ("/subjects/nothing/versions", 404, 40401),
        ("/subjects/nothing/versions/1", 404, 40401),
        ("/subjects/pacts-value/versions/99", 404, 40402),
        ("/subjects/pacts-value/versions/newest", 422, 42202),
    ],
)
def test_the_registrys_errors(gateway: TestGateway, path: str, status: int, code: int) -> None:
    answer = gateway.send("GET", "/schema-registry" + path)
    assert (answer.status_code, answer.json()["error_code"]) == (status, code)


def test_nothing_can_be_registered(gateway: TestGateway) -> None:
    path = "/schema-registry/subjects/pacts-value/versions"
    assert gateway.ask("POST", path, json={"schema": "{}"}).status_code == 405


def test_the_openapi_document_covers_every_route_with_examples(gateway: TestGateway) -> None:
    document = gateway.send("GET", "/openapi.json").json()
    telemetry = document["paths"]["/api/v1/telemetry/events"]["post"]
    example = telemetry["requestBody"]["content"]["application/json"]["example"]
    assert "{pactId}/validate-call" in str(list(document["paths"]))
    schemas = document["components"]["schemas"]
    assert {"ToolCall", "SessionStart", "Response", "SessionEnd", "Answer", "Verdict", "Error"} <= set(schemas)
    refs = set(_references(document["paths"])) | set(
        _references({n: s for n, s in schemas.items() if n != "PactDocument"})
    )
    assert refs <= {f"#/components/schemas/{name}" for name in schemas}
    # The example is true: with its pact in force, it is accepted.
    pact = document["paths"]["/api/v1/pacts/{pactId}"]["put"]["requestBody"]["content"]["application/json"]
    assert gateway.ask("PUT", PACT, json=pact["example"]).status_code == 201
    assert gateway.post_events(json.dumps(example)).status_code == 200


def test_the_page_needs_nothing_from_elsewhere(gateway: TestGateway) -> None:
    answer = gateway.send("GET", "/docs")
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert "/api/v1/telemetry/events" in answer.text
    for outside in ("http://", "https://", "<script", "src="):
        assert outside not in answer.text.replace("https://json-schema.org", "")


def _references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [ref for value in node.values() for ref in _references(value)]
    return [ref for value in node for ref in _references(value)] if isinstance(node, list) else []
