"""Routes of issuers and of what they attest: `/api/v1/issuers`, `/api/v1/attestations`."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Request, Response, Security
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

from ingest_gateway import documented
from ingest_gateway.access import DOCUMENTED_ADMIN, Access
from ingest_gateway.issuance import Issuance, check_keys
from pactstream import clock
from pactstream.control.issuers import Issuer
from pactstream.scores.attestation import MAX_CHARS
from pactstream.web import RateLimiter, client_address

Name = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")]
IssuerId = Annotated[UUID, Path(alias="issuerId")]
Kind = Literal["accuracy", "bond", "security", "evaluation"]
_MAX_AFFILIATES = 100
_NOT_FOUND: dict[int | str, dict[str, Any]] = {404: documented.ERROR}


class _Model(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid")


class IssuerBody(_Model):
    """A third party. `affiliates`: tenants that it belongs to, of whose agents it may attest nothing."""

    name: Name = Field(examples=["Example Audits"])
    kinds: list[Kind] = Field(
        min_length=1, max_length=4, description="What it may attest; `evaluation`: it is asked about calls."
    )
    affiliates: list[UUID] = Field([], max_length=_MAX_AFFILIATES)
    jwks: dict[str, Any] = Field(description="Its public keys, ES256 or Ed25519, as a JWK Set (RFC 7517).")


class IssuerView(_Model):
    """A third party and the keys that its attestations are checked with."""

    issuer_id: UUID
    name: str
    kinds: list[Kind]
    jwks: dict[str, Any]
    created_at: str
    revoked_at: str | None


class IssuerList(_Model):
    """All issuers."""

    issuers: list[IssuerView]


class AttestationBody(_Model):
    """An attestation as its issuer signed it."""

    attestation: str = Field(max_length=MAX_CHARS, description="A compact JWS (RFC 7515): see docs/scores.md.")


class AttestationView(_Model):
    """What was taken in, and the event that it is in the agent's ledger."""

    event_id: UUID
    attestation_id: UUID
    agent_id: UUID
    issuer_id: UUID
    kind: str
    expires_at: str


def router(access: Access, issuance: Issuance, limiter: RateLimiter, trusted_proxies: int) -> APIRouter:
    """The routes."""
    routes = APIRouter(prefix="/api/v1", tags=["Attestations"])
    _administration(routes, access, issuance)
    _public(routes, issuance, limiter, trusted_proxies)
    return routes


def _administration(routes: APIRouter, access: Access, issuance: Issuance) -> None:
    only: dict[str, Any] = {
        "dependencies": [Security(DOCUMENTED_ADMIN), Depends(access.administrators_only)],
        "responses": {401: documented.ERROR, 409: documented.ERROR},
    }

    @routes.put("/issuers/{issuerId}", summary="Register an issuer, or change its properties", **only)
    def put_issuer(issuer_id: IssuerId, body: IssuerBody, response: Response) -> IssuerView:
        """201 if it is new; a revoked one stays revoked."""
        check_keys(body.jwks)
        issuer, created = issuance.put(
            issuer_id,
            name=body.name,
            kinds=sorted(set(body.kinds)),
            affiliates=sorted({str(one) for one in body.affiliates}),
            jwks=json.dumps(body.jwks),
        )
        response.status_code = 201 if created else 200
        return _view(issuer)

    @routes.post("/issuers/{issuerId}/revoke", summary="Let an issuer attest nothing any more", **only)
    def revoke_issuer(issuer_id: IssuerId) -> IssuerView:
        """What it attested before stays, until it expires or is taken back."""
        return _view(issuance.revoke(issuer_id))


def _public(routes: APIRouter, issuance: Issuance, limiter: RateLimiter, trusted_proxies: int) -> None:
    @routes.get("/issuers", summary="All issuers")
    def issuers() -> IssuerList:
        """By name, with the keys that their attestations are checked with."""
        return IssuerList(issuers=[_view(one) for one in issuance.all()])

    @routes.get("/issuers/{issuerId}", summary="One issuer", responses=_NOT_FOUND)
    def issuer(issuer_id: IssuerId) -> IssuerView:
        """With its keys."""
        return _view(issuance.get(issuer_id))

    async def limited(request: Request) -> None:
        # By address: before its signature is checked, anybody may have written an attestation's issuer.
        limiter.check(f"attestation {client_address(request, trusted_proxies)}")

    @routes.post(
        "/attestations",
        summary="Append an attestation",
        status_code=202,
        dependencies=[Depends(limited)],
        responses={403: documented.ERROR, 404: documented.ERROR, 422: documented.ERROR, 429: documented.ERROR},
    )
    async def append(body: AttestationBody, request: Request) -> AttestationView:
        """Its signature is all the permission that it needs. Sent again, it is the same event."""
        said, event_id = await issuance.append(body.attestation, request.state.request_id)
        return AttestationView(
            event_id=event_id,
            attestation_id=UUID(said.jti),
            agent_id=UUID(said.sub),
            issuer_id=UUID(said.iss),
            kind=str(said.claim.__struct_config__.tag),
            expires_at=clock.to_iso(said.exp * clock.MICROS_PER_SECOND),
        )


def _view(issuer: Issuer) -> IssuerView:
    revoked = issuer.revoked_at_micros
    return IssuerView(
        issuer_id=UUID(issuer.issuer_id),
        name=issuer.name,
        kinds=list(issuer.kinds),
        jwks=json.loads(issuer.jwks),
        created_at=clock.to_iso(issuer.created_at_micros),
        revoked_at=None if revoked is None else clock.to_iso(revoked),
    )
