"""Registering third parties, and taking in what they attest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any, Final, Protocol
from uuid import UUID

from pactstream import avro, clock, ids
from pactstream.control.issuers import Issuer
from pactstream.control.tenants import TenantDirectory
from pactstream.errors import InvalidInput
from pactstream.kafka import topics
from pactstream.kafka.publisher import Publisher
from pactstream.kafka.table import Changed, Changes
from pactstream.scores import attestation
from pactstream.scores.attestation import Attestation, Revocation
from pactstream.signing.jwks import parse_jwks
from pactstream.web import Refused

MAX_ISSUERS: Final = 1_000
TYPE: Final = "attestation"
"""Of the events that carry one."""


class Issuers(Protocol):
    """Issuers by id: a `Table`."""

    def get(self, key: str) -> Issuer | None: ...  # noqa: D102 - the class says it

    def values(self) -> list[Issuer]: ...  # noqa: D102


class Issuance:
    """What the routes of issuers and attestations do."""

    def __init__(
        self, issuers: Issuers, directory: TenantDirectory, changes: Changes, publisher: Publisher
    ) -> None:
        self._issuers = issuers
        self._directory = directory
        self._changes = changes
        self._publisher = publisher

    def get(self, issuer_id: UUID) -> Issuer:
        """One issuer. Raises `Refused` 404."""
        return self._existing(str(issuer_id))

    def all(self) -> list[Issuer]:
        """Every issuer, by name."""
        return sorted(self._issuers.values(), key=lambda one: (one.name, one.issuer_id))

    def put(
        self, issuer_id: UUID, *, name: str, kinds: Sequence[str], affiliates: Sequence[str], jwks: str
    ) -> tuple[Issuer, bool]:
        """The issuer with these properties, and whether it is new; a revoked one stays revoked. Blocks.

        Raises:
            Refused: 409 there are too many issuers already.
            Retryable: Kafka did not take the change.
        """
        key, created = str(issuer_id), False

        def decide() -> Issuer:
            nonlocal created
            before = self._issuers.get(key)
            created = before is None
            if before is None and len(self._issuers.values()) >= MAX_ISSUERS:
                raise Refused(409, f"there are {MAX_ISSUERS} issuers already")
            base = before or Issuer(key, name, (), (), jwks, clock.now_micros())
            return replace(base, name=name, kinds=tuple(kinds), affiliates=tuple(affiliates), jwks=jwks)

        return self._change(key, decide), created

    def revoke(self, issuer_id: UUID) -> Issuer:
        """The issuer, which may attest nothing from now on. Raises as `put`, and `Refused` 404. Blocks."""
        key = str(issuer_id)

        def decide() -> Issuer:
            issuer = self._existing(key)
            return replace(issuer, revoked_at_micros=issuer.revoked_at_micros or clock.now_micros())

        return self._change(key, decide)

    async def append(self, compact: str, request_id: str) -> tuple[Attestation, UUID]:
        """What is attested, and the id of its event in the ledger. Sent again it is the same event.

        Raises:
            InvalidInput: it is no attestation, its signature does not hold, or it has expired.
            Refused: 403 its issuer may not attest this, or not of this agent; 404 nobody registered the agent.
            Backpressure: Kafka did not acknowledge it; it may have been written all the same.
        """
        now = clock.now_micros()
        issuer = self._issuers.get(attestation.issuer_of(compact))
        if issuer is None:
            raise Refused(403, "the issuer is not registered")
        said = attestation.verify(compact, issuer.keys(), now_micros=now)
        self._check(issuer, said)
        event_id = ids.derived_event_id(said.iss, sha256(compact.split(".")[1].encode()).digest(), 0)
        # A crash from here on leaves the record, or nothing: the issuer, without an answer, sends it again, and
        # the evaluator knows the event by its id.
        record = _batch(issuer, said, compact, str(event_id), request_id, now)
        await self._publisher.publish(topics.BATCHES, said.sub.encode(), avro.encode("TelemetryBatch", record))
        return said, event_id

    def _check(self, issuer: Issuer, said: Attestation) -> None:
        kind = said.claim.__struct_config__.tag
        if issuer.revoked_at_micros is not None:
            raise Refused(403, "the issuer may attest nothing any more")
        if not isinstance(said.claim, Revocation) and kind not in issuer.kinds:
            raise Refused(403, f"the issuer may not attest {kind}")
        tenants = {one.tenant_id for one in self._directory.tenants_of(said.sub)}
        if not tenants:
            raise Refused(404, "no such agent")
        if said.sub == issuer.issuer_id or issuer.issuer_id in tenants or tenants & set(issuer.affiliates):
            raise Refused(403, "nobody attests for themselves: the issuer belongs to the agent's tenant")

    def _existing(self, issuer_id: str) -> Issuer:
        issuer = self._issuers.get(issuer_id)
        if issuer is None:
            raise Refused(404, "no such issuer")
        return issuer

    def _change(self, key: str, decide: Callable[[], Issuer]) -> Issuer:
        decided: list[Issuer] = []

        def changed() -> list[Changed]:
            issuer = decide()
            decided[:] = [issuer]
            return [] if issuer == self._issuers.get(key) else [(topics.ISSUERS, key, issuer.encode())]

        self._changes.apply(changed)
        return decided[0]


def check_keys(jwks: object) -> None:
    """Check that `jwks` is a JWK Set of public keys. Raises `InvalidInput` unless at least one can be used."""
    if any(isinstance(one, dict) and "d" in one for one in _listed(jwks)):
        raise InvalidInput("a key set of public keys only: one of these is private")
    if not parse_jwks(jwks):
        raise InvalidInput("the key set has no ES256 or Ed25519 key")


def _listed(jwks: object) -> list[Any]:
    keys = jwks.get("keys") if isinstance(jwks, dict) else None
    return keys if isinstance(keys, list) else []


def _batch(
    issuer: Issuer, said: Attestation, compact: str, event_id: str, request_id: str, now_micros: int
) -> dict[str, Any]:
    event = {
        "type": TYPE,
        "event_id": event_id,
        "session_id": said.jti,
        "occurred_at_micros": said.iat * clock.MICROS_PER_SECOND,
        "attestation": compact,
    }
    return {
        "tenant_id": f"issuer/{issuer.issuer_id}",
        "tenant_pseudonym": issuer.issuer_id,  # public, as issuers are
        "agent_id": said.sub,
        "key_id": issuer.issuer_id,
        "request_id": request_id,
        "received_at_micros": now_micros,
        "events": [event],
    }
