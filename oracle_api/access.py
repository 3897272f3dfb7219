"""Who is asking, where it matters: the tenant whose API key a request presents."""

from __future__ import annotations

from typing import Final, NamedTuple, Protocol

from fastapi import Request
from fastapi.security import APIKeyHeader, HTTPBearer

from pactstream import clock
from pactstream.control.tenants import ApiKey, Scope, Tenant
from pactstream.web import KEY_HEADER, Refused, presented_key

SCOPE: Final[Scope] = "trust:private"
"""What a key must be allowed for all that the oracle does not show to everybody."""

_CHALLENGE = {"WWW-Authenticate": "Bearer"}

# For the OpenAPI page only: what is presented is read by `principal`.
DOCUMENTED_KEY = (
    APIKeyHeader(name=KEY_HEADER, scheme_name="pactKey", auto_error=False),
    HTTPBearer(scheme_name="bearer", description="The same key as a bearer token.", auto_error=False),
)


class Keys(Protocol):
    """Where keys are known: `TenantDirectory` in production."""

    def find_key(self, presented: str) -> tuple[Tenant, ApiKey] | None:
        """The tenant and the record of a presented key, whatever its state; None if there is no such key."""


class Principal(NamedTuple):
    """The tenant that a request speaks for, and the key that proves it."""

    tenant: Tenant
    key: ApiKey


def principal(request: Request, keys: Keys) -> Principal:
    """The tenant and key that the request presents.

    Raises:
        Refused: 400 two credentials, 401 no valid key, 403 the key lacks the scope.
    """
    found = keys.find_key(presented_key(request))
    if found is None:
        raise Refused(401, "a valid API key is required", headers=_CHALLENGE)
    tenant, key = found
    state = key.state(clock.now_micros())
    if state != "valid":
        # Whoever presents it knows the secret: saying why gives nothing away.
        raise Refused(401, f"the API key is {state}", headers=_CHALLENGE)
    if SCOPE not in key.scopes:
        raise Refused(403, f"the API key lacks the scope {SCOPE}")
    return Principal(tenant, key)
