"""Routes of pacts and templates: `/api/v1/pacts`, `/api/v1/pact-templates`."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Request, Security
from fastapi.responses import JSONResponse

from ingest_gateway import documented
from ingest_gateway.access import DOCUMENTED_KEY, Access, Principal
from ingest_gateway.pact_store import PactStore, Written
from pactstream import clock
from pactstream.control.pacts import PactVersion
from pactstream.pacts import templates
from pactstream.web import RateLimiter, require_json

PactId = Annotated[UUID, Path(alias="pactId", description="The pact's UUID.")]

_EXAMPLE: dict[str, Any] = {
    "pactId": documented.PACT,
    "version": 3,
    "name": "Treasury",
    "agentId": documented.AGENT,
    "hash": "9f2c1e7b5a0d4c38" * 4,
    "createdAt": "2026-05-13T09:00:00.000000Z",
    "createdBy": "5d2f8c1e7a904b36",
}
_ONE = documented.json_answer("The version.", {}, _EXAMPLE | {"document": documented.PACT_DOCUMENT})
_MANY = documented.json_answer("Without documents.", {}, {"pacts": [_EXAMPLE]})
_NOT_FOUND: dict[int | str, dict[str, Any]] = {404: documented.ERROR}
_WRITES: dict[str, Any] = {
    "openapi_extra": documented.PACT_BODY,
    "responses": {
        200: _ONE | {"description": "This document was in force already."},
        201: _ONE,
        404: documented.ERROR,
        409: documented.ERROR,
        422: documented.ERROR | {"description": "No pact; `details` name every fault by its path."},
    },
}


def router(access: Access, store: PactStore, limiter: RateLimiter) -> APIRouter:
    """The routes of a tenant's pacts."""
    routes = APIRouter(
        prefix="/api/v1/pacts", tags=["Pacts"], dependencies=[Security(one) for one in DOCUMENTED_KEY]
    )
    _reading(routes, Depends(access.needs("pacts:read")), store)
    _writing(routes, Depends(_writer(access, limiter)), store)
    return routes


def public_router() -> APIRouter:
    """The routes of templates: open to all, because they are published with the code."""
    routes = APIRouter(prefix="/api/v1/pact-templates", tags=["Pacts"])

    @routes.get("", summary="Ready-made pacts to start from")
    def pact_templates() -> JSONResponse:
        """Each with calls that it passes and calls that it refuses. Documents have no `agentId` yet."""
        return JSONResponse({"templates": [_template(name) for name in templates.names()]})

    return routes


def _reading(routes: APIRouter, principal_of: Any, store: PactStore) -> None:
    @routes.get("", summary="The tenant's pacts", responses={200: _MANY})
    def pacts(principal: Principal = principal_of) -> JSONResponse:
        """The version in force of each, without documents."""
        newest = {one.pact_id: one for one in store.of_tenant(principal.tenant.tenant_id)}
        return JSONResponse({"pacts": [_summary(one) for one in newest.values()]})

    @routes.get("/{pactId}", summary="One pact", responses={200: _ONE, **_NOT_FOUND})
    def pact(
        pact_id: PactId,
        version: Annotated[int | None, Query(ge=1, description="Default: the version in force.")] = None,
        principal: Principal = principal_of,
    ) -> JSONResponse:
        """One version, with its document."""
        return JSONResponse(_full(store.find(principal.tenant.tenant_id, pact_id, version)))

    @routes.get("/{pactId}/versions", summary="A pact's versions", responses={200: _MANY, **_NOT_FOUND})
    def versions(pact_id: PactId, principal: Principal = principal_of) -> JSONResponse:
        """Every version, oldest first, without documents."""
        tenant_id = principal.tenant.tenant_id
        store.find(tenant_id, pact_id)
        found = (one for one in store.of_tenant(tenant_id) if one.pact_id == str(pact_id))
        return JSONResponse({"versions": [_summary(one) for one in found]})


def _writing(routes: APIRouter, principal_of: Any, store: PactStore) -> None:
    document_of = Depends(_document)

    @routes.post("", summary="Create a pact", status_code=201, **_WRITES)
    def create(document: bytes = document_of, principal: Principal = principal_of) -> JSONResponse:
        """A new pact under an id of its own, version 1. To choose the id, `PUT /api/v1/pacts/{pactId}`."""
        return _written(store.create(principal.tenant.tenant_id, document, principal.key.key_id))

    @routes.put("/{pactId}", summary="Bring a pact into force", status_code=201, **_WRITES)
    def put(
        pact_id: PactId, document: bytes = document_of, principal: Principal = principal_of
    ) -> JSONResponse:
        """Version 1 if the id is new, else the next version; 200 if this document is in force already."""
        return _written(store.put(principal.tenant.tenant_id, str(pact_id), document, principal.key.key_id))

    @routes.post("/{pactId}/versions", summary="Add a version", status_code=201, **_WRITES)
    def add_version(
        pact_id: PactId, document: bytes = document_of, principal: Principal = principal_of
    ) -> JSONResponse:
        """As `PUT`, but the pact must exist. Events that have arrived stay judged by their version."""
        return _written(
            store.add_version(principal.tenant.tenant_id, str(pact_id), document, principal.key.key_id)
        )


def _writer(access: Access, limiter: RateLimiter) -> Callable[[Request], Coroutine[None, None, Principal]]:
    async def dependency(request: Request) -> Principal:
        principal = access.principal(request, "pacts:write")
        limiter.check(principal.key.key_id)
        return principal

    return dependency


async def _document(request: Request) -> bytes:
    require_json(request)
    return await request.body()


def _written(written: Written) -> JSONResponse:
    return JSONResponse(_full(written.version), 201 if written.created else 200)


def _full(version: PactVersion) -> dict[str, Any]:
    return _summary(version) | {"document": json.loads(version.document)}


def _summary(version: PactVersion) -> dict[str, Any]:
    return {
        "pactId": version.pact_id,
        "version": version.version,
        "name": version.name,
        "agentId": version.agent_id,
        "hash": version.hash,
        "createdAt": clock.to_iso(version.created_at_micros),
        "createdBy": version.created_by,
    }


def _template(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "document": templates.load(name),
        "examples": [
            {
                "note": one.note,
                "tool": one.tool,
                "params": one.params,
                "valid": one.valid,
                "severity": one.severity,
                "violations": [{"paramPath": path, "rule": rule} for path, rule in one.violations],
            }
            for one in templates.examples(name)
        ],
    }
