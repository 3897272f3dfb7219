"""Tenants, agents and keys as records, and finding them."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from pactstream.control import tenants
from pactstream.control.tenants import Agent, Tenant, TenantDirectory, decode, new_key, new_pseudonym
from pactstream.errors import InvalidInput
from pactstream.settings import KafkaSettings
from tests.gateway_tools import ACME, ATLAS, OTHER, MemoryTable


@pytest.fixture
def directory(monkeypatch: pytest.MonkeyPatch) -> TenantDirectory:
    monkeypatch.setattr(tenants, "Table", MemoryTable)
    return TenantDirectory(KafkaSettings())


def put(directory: TenantDirectory, tenant_id: str, tenant: Tenant | None) -> None:
    table: Any = directory.table
    table.put(tenant_id, None if tenant is None else tenant.encode())


def acme() -> Tenant:
    return Tenant(ACME, "Acme", "tenant-1", 7).with_agent(Agent(ATLAS, "Atlas", "active", 8))


def test_a_tenant_survives_its_record() -> None:
    _, key = new_key(label="l", scopes=("preflight",), now_micros=1, expires_at_micros=2)
    tenant = acme().with_key(key)
    assert decode(tenant.encode()) == tenant
    with pytest.raises(InvalidInput):
        decode(b"nothing of the kind")


def test_a_key_is_kept_as_a_hash_only() -> None:
    key, record = new_key(label="l", scopes=("telemetry:write",), now_micros=1)
    prefix, live, key_id, secret = key.split("_")
    assert (prefix, live, key_id, len(bytes.fromhex(secret))) == ("pk", "live", record.key_id, 32)
    assert record.sha256 == hashlib.sha256(key.encode()).digest()
    assert secret not in repr(record)
    assert record.sha256.hex() not in repr(record)
    assert str(record.sha256) not in repr(acme().with_key(record))
    assert secret.encode() not in acme().with_key(record).encode()


def test_keys_and_pseudonyms_are_never_the_same() -> None:
    keys = {new_key(label="l", scopes=(), now_micros=1)[0] for _ in range(200)}
    assert len({one.split("_")[3] for one in keys}) == 200
    assert len({new_pseudonym() for _ in range(200)}) == 200


@pytest.mark.parametrize(
    ("expires", "revoked", "now", "state"),
    [
        (None, None, 10**18, "valid"),
        (100, None, 99, "valid"),
        (100, None, 100, "expired"),
        (100, 50, 60, "revoked"),
        (None, 50, 60, "revoked"),
    ],
)
def test_the_state_of_a_key(expires: int | None, revoked: int | None, now: int, state: str) -> None:
    record = tenants.ApiKey("id", b"", "l", (), 1, expires, revoked)
    assert record.state(now) == state


def test_the_directory_finds_a_key_by_the_whole_of_it(directory: TenantDirectory) -> None:
    key, record = new_key(label="l", scopes=("preflight",), now_micros=1)
    put(directory, ACME, acme().with_key(record))
    found = directory.find_key(key)
    assert found is not None
    assert (found[0].tenant_id, found[1]) == (ACME, record)
    another, _ = new_key(label="l", scopes=(), now_micros=1)
    grafted = f"pk_live_{record.key_id}_{another.split('_')[3]}"
    for wrong in (
        "",
        key[:-1],
        key + "0",
        key.upper(),
        another,
        grafted,
        key.replace("live", "test"),
        key + "\n",
    ):
        assert directory.find_key(wrong) is None


def test_a_change_shows_at_once(directory: TenantDirectory) -> None:
    key, record = new_key(label="l", scopes=(), now_micros=1)
    put(directory, ACME, acme().with_key(record))
    put(directory, ACME, acme())
    assert directory.find_key(key) is None
    put(directory, ACME, acme().with_key(record))
    assert directory.find_key(key) is not None
    put(directory, ACME, None)
    assert directory.find_key(key) is None
    assert directory.get(ACME) is None


def test_an_agent_may_belong_to_several_tenants(directory: TenantDirectory) -> None:
    put(directory, ACME, acme())
    put(directory, OTHER, Tenant(OTHER, "Other", "tenant-2", 7).with_agent(Agent(ATLAS, "A", "paused", 8)))
    assert {one.tenant_id for one in directory.tenants_of(ATLAS)} == {ACME, OTHER}
    put(directory, OTHER, Tenant(OTHER, "Other", "tenant-2", 7))
    assert [one.tenant_id for one in directory.tenants_of(ATLAS)] == [ACME]
    assert directory.tenants_of(OTHER) == []
