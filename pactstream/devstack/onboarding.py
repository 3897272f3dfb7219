"""Registering a tenant with its agent, key and pact, as an operator does: over the gateway's own API."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from pactstream.fetch import fetch

TENANT_ID = "7e2a9700-0000-4000-8000-000000000001"
SCOPES = ("telemetry:write", "preflight", "pacts:read", "pacts:write")


@dataclass(frozen=True, slots=True)
class Onboarding:
    """The administrator's side of one gateway."""

    gateway_url: str
    admin_key: str = field(repr=False)

    def register(
        self,
        agent_id: str,
        agent_name: str,
        *,
        pact_id: str,
        document: dict[str, Any],
        tenant_id: str = TENANT_ID,
    ) -> str:
        """Register everything and return a new API key; may be repeated, and then makes only the key.

        Raises:
            Fatal: the gateway refuses or does not answer.
        """
        tenant = f"/api/v1/tenants/{tenant_id}"
        self._admin("PUT", tenant, {"name": "Demo treasury"})
        self._admin("PUT", f"{tenant}/agents/{agent_id}", {"name": agent_name})
        api_key = self.issue(agent_name, SCOPES, tenant_id=tenant_id)
        url = f"{self.gateway_url}/api/v1/pacts/{pact_id}"
        fetch(url, "PUT", body=document, headers={"X-Pact-Key": api_key})
        return api_key

    def issue(self, label: str, scopes: Sequence[str], *, tenant_id: str = TENANT_ID) -> str:
        """A new API key of a tenant that is registered.

        Raises:
            Fatal: the gateway refuses or does not answer.
        """
        issued = self._admin("POST", f"/api/v1/tenants/{tenant_id}/keys", {"label": label, "scopes": scopes})
        return str(msgspec.json.decode(issued)["key"])

    def _admin(self, method: str, path: str, body: dict[str, Any]) -> bytes:
        headers = {"Authorization": f"Bearer {self.admin_key}"}
        return fetch(self.gateway_url + path, method, body=body, headers=headers)
