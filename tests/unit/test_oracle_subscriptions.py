"""Subscriptions over HTTP: a tenant's own and nobody else's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from oracle_api.shortcut import Shortcut
from pactstream.control.tenants import Tenant
from pactstream.signing.keys import create_keys
from pactstream.web import Refused
from pactstream.webhooks.addresses import check_url
from pactstream.webhooks.records import KINDS, Kind, Subscription
from tests.asgi import ask
from tests.oracle_states import AGENT, FakeKeys, FakeStore
from tests.unit.test_oracle_api import build

PATH = "/api/v1/subscriptions"
WANTED = {"url": "https://bank.example/hook", "agentIds": [str(AGENT)], "kinds": ["score.changed"]}
ACME, BOLT = Tenant("acme-ag", "Acme", "tenant-1", 7), Tenant("bolt-ag", "Bolt", "tenant-2", 7)


class Memory:
    """Subscriptions without Kafka."""

    def __init__(self) -> None:
        self.all: list[Subscription] = []

    def create(self, tenant_id: str, url: str, agents: Sequence[UUID], kinds: Sequence[Kind]) -> Subscription:
        check_url(url)
        made = Subscription(str(uuid4()), tenant_id, url, tuple(map(str, agents)), tuple(kinds), 7)
        self.all.append(made)
        return made

    def delete(self, tenant_id: str, subscription_id: str) -> None:
        found = [one for one in self.of_tenant(tenant_id) if one.subscription_id == subscription_id]
        if not found:
            raise Refused(404, "you have no such subscription")
        self.all.remove(found[0])

    def of_tenant(self, tenant_id: str) -> list[Subscription]:
        return [one for one in self.all if one.tenant_id == tenant_id]

    def secret(self, subscription: Subscription) -> str:
        return f"whsec_{subscription.subscription_id}"


@pytest.fixture
def known() -> FakeKeys:
    return FakeKeys()


@pytest.fixture
def app(known: FakeKeys, tmp_path: Path) -> Shortcut:
    keys = create_keys(tmp_path / "keys", "report")
    return build(FakeStore(), keys, known=known, subscriptions=Memory())


@pytest.fixture
def acme(known: FakeKeys) -> dict[str, str]:
    return {"X-Pact-Key": known.add(ACME, "trust:private")}


def test_a_subscription_is_made_shown_and_ended(app: Shortcut, acme: dict[str, str]) -> None:
    made = ask(app, PATH, "POST", json=WANTED, headers=acme)
    assert made.status_code == 201
    assert made.json()["secret"].startswith("whsec_")
    assert made.headers["cache-control"] == "private, no-store"
    (shown,) = ask(app, PATH, headers=acme).json()["subscriptions"]
    assert shown == {name: value for name, value in made.json().items() if name != "secret"}
    assert ask(app, f"{PATH}/{shown['id']}", "DELETE", headers=acme).status_code == 204
    assert ask(app, PATH, headers=acme).json() == {"subscriptions": []}
    assert ask(app, f"{PATH}/{shown['id']}", "DELETE", headers=acme).status_code == 404


def test_all_kinds_are_told_unless_some_are_named(app: Shortcut, acme: dict[str, str]) -> None:
    wanted = {name: value for name, value in WANTED.items() if name != "kinds"}
    assert ask(app, PATH, "POST", json=wanted, headers=acme).json()["kinds"] == list(KINDS)


def test_another_tenant_sees_and_ends_nothing(app: Shortcut, known: FakeKeys, acme: dict[str, str]) -> None:
    made = ask(app, PATH, "POST", json=WANTED, headers=acme).json()
    bolt = {"X-Pact-Key": known.add(BOLT, "trust:private")}
    assert ask(app, PATH, headers=bolt).json() == {"subscriptions": []}
    answers = [ask(app, f"{PATH}/{one}", "DELETE", headers=bolt) for one in (made["id"], uuid4())]
    assert [one.status_code for one in answers] == [404, 404]
    assert answers[0].text == answers[1].text


def test_without_a_key_that_may_there_is_nothing(app: Shortcut, known: FakeKeys) -> None:
    assert ask(app, PATH).status_code == 401
    assert ask(app, PATH, headers={"X-Pact-Key": known.add(ACME, "pacts:read")}).status_code == 403
    assert ask(app, PATH, "POST", json=WANTED).status_code == 401


@pytest.mark.parametrize(
    "changes",
    [
        {"url": "http://bank.example/"},
        {"url": "https://10.0.0.1/"},
        {"url": 7},
        {"agentIds": []},
        {"agentIds": ["atlas"]},
        {"agentIds": [str(AGENT)] * 101},
        {"kinds": []},
        {"kinds": ["everything"]},
        {"secret": "mine"},
    ],
)
def test_what_may_not_be_subscribed_is_refused(
    app: Shortcut, acme: dict[str, str], changes: dict[str, Any]
) -> None:
    answer = ask(app, PATH, "POST", json=WANTED | changes, headers=acme)
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_INPUT")


def test_an_oracle_without_a_webhook_key_pushes_nothing(known: FakeKeys, tmp_path: Path) -> None:
    app = build(FakeStore(), create_keys(tmp_path / "keys", "report"), known=known)
    answer = ask(app, PATH, headers={"X-Pact-Key": known.add(ACME, "trust:private")})
    assert (answer.status_code, answer.json()["error"]) == (404, "this oracle pushes nothing")
