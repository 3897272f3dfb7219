"""Pages: read from ClickHouse; what is done about them goes to the gateway with the visitor's key."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal
from uuid import UUID

import msgspec
from fastapi import APIRouter, Depends, Path, Query, Request, Response

from oracle_api.bodies import read_json
from oracle_api.console import review
from oracle_api.console.access import Visitor
from oracle_api.console.answers import answer
from oracle_api.console.pact_routes import replayed
from oracle_api.console.parts import Parts
from pactstream import clock
from pactstream.pacts import parse_pact
from pactstream.pacts.loosen import NotLoosened, loosened
from pactstream.web import Refused

PAGE: Final = 200
_NAMES: Final = (
    "pageId", "agentId", "pactId", "pactVersion", "rule", "paramPath", "severity", "tool", "sessionId",
    "status", "resolution", "occurrences", "openedAt", "lastAt", "updatedAt", "eventId", "lastEventId",
)  # fmt: skip
_TIMES: Final = ("openedAt", "lastAt", "updatedAt")
_COLUMNS = """
    toString(page_id), toString(agent_id), toString(pact_id), pact_version, rule, param_path, severity, tool,
    session_id, status, resolution, occurrences, toUnixTimestamp64Micro(opened_at),
    toUnixTimestamp64Micro(last_at), toUnixTimestamp64Micro(updated_at), toString(event_id),
    toString(last_event_id)"""
_LIST = f"""
SELECT {_COLUMNS} FROM pages FINAL
WHERE tenant_id = {{tenant:UUID}} AND ({{status:String}} = '' OR status = {{status:String}}
    OR ({{status:String}} = 'unresolved' AND status != 'closed'))
    AND ({{agent:String}} = '' OR toString(agent_id) = {{agent:String}})
ORDER BY status = 'closed', opened_at DESC LIMIT {PAGE}
"""  # noqa: S608 - constants only
_ONE = f"""
SELECT {_COLUMNS}, violations, recent_calls, history, deliveries FROM pages FINAL
WHERE tenant_id = {{tenant:UUID}} AND page_id = {{page:UUID}} LIMIT 1
"""  # noqa: S608

Action = Annotated[Literal["acknowledge", "accept", "block", "rotate"], Path()]


class _Done(msgspec.Struct, forbid_unknown_fields=True, rename="camel", omit_defaults=True):
    """What an action takes, as the gateway does; the gateway says which of it it needs."""

    note: str | None = None
    reason: str | None = None
    base_version: int | None = None
    document: msgspec.Raw = msgspec.Raw(b"")


class _Reason(msgspec.Struct, forbid_unknown_fields=True):
    reason: str


async def listed(parts: Parts, tenant_id: str, status: str = "", agent: str = "") -> list[dict[str, Any]]:
    """The tenant's pages, unresolved ones first, newest first."""
    rows = await parts.rows.ask(_LIST, tenant=tenant_id, status=status, agent=agent)
    return [_page(row) for row in rows]


def router(parts: Parts) -> APIRouter:
    """Pages and the three actions."""
    routes = APIRouter()
    here, change = Depends(parts.visitor), Depends(parts.changer)

    async def one(visitor: Visitor, page_id: UUID) -> dict[str, Any]:
        rows = await parts.rows.ask(_ONE, tenant=visitor.tenant.tenant_id, page=page_id)
        if not rows:
            raise Refused(404, "no such page")
        *columns, violations, calls, history, deliveries = rows[0]
        named = {"violations": violations, "recentCalls": calls, "history": history, "deliveries": deliveries}
        return _page(columns) | {name: msgspec.Raw(text.encode() or b"[]") for name, text in named.items()}

    @routes.get("/pages")
    async def pages(
        visitor: Visitor = here,
        status: Annotated[Literal["", "unresolved", "open", "acknowledged", "closed"], Query()] = "",
    ) -> Response:
        return answer({"pages": await listed(parts, visitor.tenant.tenant_id, status)})

    @routes.get("/pages/{page_id}")
    async def page(page_id: UUID, visitor: Visitor = here) -> Response:
        found = await one(visitor, page_id)
        agent = visitor.tenant.agents.get(found["agentId"])
        named = {"agentName": agent.name if agent else "", "agentStatus": agent.status if agent else "unknown"}
        return answer(found | named)

    @routes.get("/pages/{page_id}/proposal")
    async def proposal(page_id: UUID, visitor: Visitor = here) -> Response:
        """A version loosened for this rule, what differs, and what it says of the last day's calls."""
        found = await one(visitor, page_id)
        _, current = await parts.gateway.ask("GET", f"/api/v1/pacts/{found['pactId']}", visitor.api_key)
        document = _loosened(current["document"], found)
        new = parse_pact(document)
        return answer(
            {
                "baseVersion": current["version"],
                "document": document,
                "diff": review.difference(parse_pact(current["document"]), new),
                "replay": await replayed(parts, visitor, UUID(found["pactId"]), new),
            }
        )

    @routes.post("/pages/{page_id}/{action}")
    async def act(request: Request, page_id: UUID, action: Action, visitor: Visitor = change) -> Response:
        given = await read_json(request, _Done, 512 * 1024)
        await one(visitor, page_id)
        path = f"/api/v1/pages/{page_id}/{action}"
        status, said = await parts.gateway.ask("POST", path, visitor.api_key, _body(given))
        return answer(said, status)

    @routes.post("/agents/{agent_id}/resume")
    async def resume(request: Request, agent_id: UUID, visitor: Visitor = change) -> Response:
        given = await read_json(request, _Reason)
        path = f"/api/v1/agents/{agent_id}/resume"
        status, said = await parts.gateway.ask("POST", path, visitor.api_key, msgspec.json.encode(given))
        return answer(said, status)

    return routes


def _body(given: _Done) -> bytes:
    sent = {
        "note": given.note,
        "reason": given.reason,
        "baseVersion": given.base_version,
        "document": given.document if bytes(given.document) else None,
    }
    return msgspec.json.encode({name: value for name, value in sent.items() if value is not None})


def _page(row: Sequence[Any]) -> dict[str, Any]:
    found = dict(zip(_NAMES, row, strict=True))
    return found | {name: clock.to_iso(found[name]) for name in _TIMES}


def _loosened(document: dict[str, Any], page: dict[str, Any]) -> dict[str, Any]:
    """The document loosened for what the page is about.

    Raises:
        NotLoosened: the rule cannot be loosened by itself, or is not in the pact any more.
    """
    for one in json.loads(bytes(page["violations"])):
        if (one["rule"], one["paramPath"]) == (page["rule"], page["paramPath"]):
            return loosened(
                document,
                param_path=one["paramPath"],
                rule=one["rule"],
                value=one.get("value"),
                tool=page["tool"],
            )
    raise NotLoosened("the page does not say which value violated the rule")
