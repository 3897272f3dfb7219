"""Writing pact versions: numbered without gaps, never changed, over any number of gateways."""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

from pactstream import clock
from pactstream.control.pacts import PactBook, PactVersion, version_key
from pactstream.control.tenants import TenantDirectory
from pactstream.errors import Detail
from pactstream.ids import uuid7
from pactstream.kafka import topics
from pactstream.kafka.table import Changed, Changes
from pactstream.pacts import Pact, PactError, parse_pact
from pactstream.web import Refused


class Written(NamedTuple):
    """The version in force after a write; not `created` if it was in force before."""

    version: PactVersion
    created: bool


class PactStore:
    """A tenant's pacts. Methods block; each change is one step over all gateways."""

    def __init__(
        self, pacts: PactBook, directory: TenantDirectory, changes: Changes, *, versions_per_tenant: int
    ) -> None:
        self._pacts = pacts
        self._directory = directory
        self._changes = changes
        self._versions_per_tenant = versions_per_tenant

    def create(self, tenant_id: str, document: bytes, created_by: str) -> Written:
        """A new pact with an id of its own, version 1.

        Raises:
            Refused: as `put`.
        """
        return self._write(tenant_id, str(uuid7()), document, created_by, must_exist=False)

    def add_version(
        self,
        tenant_id: str,
        pact_id: str,
        document: bytes,
        created_by: str,
        *,
        base_version: int | None = None,
    ) -> Written:
        """Bring a document into force for an existing pact; with `base_version`, only after that one.

        Raises:
            Refused: 404 no such pact of this tenant; 409 another version than that is in force; and as `put`.
        """
        return self._write(tenant_id, pact_id, document, created_by, must_exist=True, base_version=base_version)

    def put(self, tenant_id: str, pact_id: str, document: bytes, created_by: str) -> Written:
        """Bring a document into force under a given id: the first version, a new one, or nothing to do.

        The document in force being this one already makes no version, so that a repeated request is harmless.

        Raises:
            Refused: 422 it is no pact, or names an agent that is not the tenant's; 409 the id is taken, or the
                tenant has too many versions.
            Retryable: Kafka did not take it.
        """
        return self._write(tenant_id, pact_id, document, created_by, must_exist=False)

    def of_tenant(self, tenant_id: str) -> list[PactVersion]:
        """Every version of every pact of a tenant, by pact and number."""
        versions = (one for one in self._pacts.table.values() if one.tenant_id == tenant_id)
        return sorted(versions, key=lambda one: (one.pact_id, one.version))

    def find(self, tenant_id: str, pact_id: UUID, version: int | None = None) -> PactVersion:
        """A version of a tenant's pact, by default the one in force.

        Raises:
            Refused: 404, the same for another tenant's.
        """
        name = str(pact_id)
        found = self._pacts.latest(name) if version is None else self._pacts.get(name, version)
        if found is None or found.tenant_id != tenant_id:
            raise _unknown()
        return found

    def _write(
        self,
        tenant_id: str,
        pact_id: str,
        document: bytes,
        created_by: str,
        *,
        must_exist: bool,
        base_version: int | None = None,
    ) -> Written:
        try:
            pact = parse_pact(document)
        except PactError as error:
            raise Refused(422, str(error), error.details) from None
        written: list[Written] = []

        def decide() -> list[Changed]:
            written.clear()
            latest = self._pacts.latest(pact_id)
            if latest is not None and latest.tenant_id != tenant_id:
                raise _unknown() if must_exist else Refused(409, "this pact id is taken")
            if latest is None and must_exist:
                raise _unknown()
            if latest is not None and latest.hash == pact.hash:
                written.append(Written(latest, created=False))
                return []
            if base_version is not None and latest is not None and latest.version != base_version:
                raise Refused(409, f"the pact has changed: version {latest.version} is in force")
            self._check(tenant_id, pact)
            number = 1 if latest is None else latest.version + 1
            version = _version(pact, tenant_id, pact_id, number, created_by)
            written.append(Written(version, created=True))
            return [(topics.PACTS, version_key(pact_id, number), version.encode())]

        self._changes.apply(decide)
        return written[0]

    def _check(self, tenant_id: str, pact: Pact) -> None:
        tenant = self._directory.get(tenant_id)
        if pact.agent_id is not None and (tenant is None or pact.agent_id.lower() not in tenant.agents):
            detail = Detail("agentId", "is not an agent of this tenant")
            raise Refused(422, "the pact is for an agent that is not registered", [detail])
        if len(self.of_tenant(tenant_id)) >= self._versions_per_tenant:
            raise Refused(409, f"a tenant may have {self._versions_per_tenant} pact versions")


def _version(pact: Pact, tenant_id: str, pact_id: str, number: int, created_by: str) -> PactVersion:
    return PactVersion(
        pact_id=pact_id,
        version=number,
        tenant_id=tenant_id,
        agent_id=None if pact.agent_id is None else pact.agent_id.lower(),
        name=pact.name,
        document=pact.canonical,
        hash=pact.hash,
        created_at_micros=clock.now_micros(),
        created_by=created_by,
    )


def _unknown() -> Refused:
    return Refused(404, "no such pact of this tenant")
