"""Who is asking: API keys and their scopes, and the administrators' key."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Coroutine
from typing import NamedTuple

from fastapi import Request
from fastapi.security import APIKeyHeader, HTTPBearer

from ingest_gateway import metrics
from pactstream import clock
from pactstream.control.tenants import ApiKey, Scope, Tenant, TenantDirectory, digest
from pactstream.web import KEY_HEADER, RateLimiter, Refused, bearer, client_address, presented_key

_CHALLENGE = {"WWW-Authenticate": "Bearer"}

# For the OpenAPI page only: what is presented is read by `Access`.
DOCUMENTED_KEY = (
    APIKeyHeader(name=KEY_HEADER, scheme_name="pactKey", auto_error=False),
    HTTPBearer(scheme_name="bearer", description="The same key as a bearer token.", auto_error=False),
)
DOCUMENTED_ADMIN = HTTPBearer(scheme_name="adminKey", description="The administrators' key.", auto_error=False)


class Principal(NamedTuple):
    """The tenant that a request speaks for, and the key that proves it."""

    tenant: Tenant
    key: ApiKey


class Access:
    """Checks what a request presents. Failures are limited by address, so that guessing stays cheap for us."""

    def __init__(
        self, directory: TenantDirectory, admin_sha256: bytes, failures: RateLimiter, trusted_proxies: int
    ) -> None:
        self._directory = directory
        self._admin_sha256 = admin_sha256
        self._failures = failures
        self._trusted_proxies = trusted_proxies

    def principal(self, request: Request, scope: Scope) -> Principal:
        """The tenant and key that the request presents.

        Raises:
            Refused: 400 two credentials, 401 no valid key, 403 the key lacks the scope, 429 too many failures.
        """
        found = self._directory.find_key(presented_key(request))
        if found is None:
            raise self._failure(request, "unknown", "a valid API key is required")
        tenant, key = found
        state = key.state(clock.now_micros())
        if state != "valid":
            # Whoever presents it knows the secret: saying why gives nothing away.
            raise self._failure(request, state, f"the API key is {state}")
        if scope not in key.scopes:
            metrics.AUTH_FAILURES.labels("scope").inc()
            raise Refused(403, f"the API key lacks the scope {scope}")
        return Principal(tenant, key)

    async def administrators_only(self, request: Request) -> None:
        """Let administrators pass; a FastAPI dependency.

        Raises:
            Refused: 401 the key is not theirs, or none is configured; 429 too many failures.
        """
        given = bearer(request) or ""
        if not self._admin_sha256 or not hmac.compare_digest(digest(given), self._admin_sha256):
            raise self._failure(request, "admin", "the administrators' key is required")

    def needs(self, scope: Scope) -> Callable[[Request], Coroutine[None, None, Principal]]:
        """`principal` as a FastAPI dependency."""

        async def dependency(request: Request) -> Principal:
            return self.principal(request, scope)

        return dependency

    def _failure(self, request: Request, reason: str, message: str) -> Refused:
        metrics.AUTH_FAILURES.labels(reason).inc()
        self._failures.check(client_address(request, self._trusted_proxies))
        return Refused(401, message, headers=_CHALLENGE)
