"""Links that stand in pages: `/api/v1/pages/links/{token}`.

Looking changes nothing: mail scanners, chat previews and impatient fingers get a form. Only its POST acts, and
once. That a link was used is a mark in Kafka, decided after every other use over all gateways. A crash between
mark and action leaves a mark that has begun: half a minute later the link may be tried again, and the actions
are such that this is safe.
"""

from __future__ import annotations

import json
from html import escape
from typing import Any, Final
from urllib.parse import parse_qs
from uuid import UUID

import anyio.to_thread
from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import HTMLResponse

from ingest_gateway.page_actions import LINK, Actor, PageActions
from pactstream import clock
from pactstream.control.tenants import TenantDirectory
from pactstream.errors import InvalidInput
from pactstream.kafka import topics
from pactstream.kafka.table import Changed
from pactstream.pacts import parse_pact
from pactstream.pacts.loosen import loosened
from pactstream.paging.keys import MAX_TOKEN, Link, LinkRefused, PagingKeys
from pactstream.paging.records import Mark, Page
from pactstream.review.diff import differences
from pactstream.web import API_POLICY, RateLimiter, Refused, client_address

BEGUN_MICROS: Final = 30 * clock.MICROS_PER_SECOND
MAX_FORM_BYTES: Final = 16_384
MAX_REASON: Final = 2_000

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": f"{API_POLICY}; form-action 'self'; base-uri 'none'",
}
_TITLES: Final = {
    "acknowledge": "Acknowledge: I look after this page",
    "accept": "Accept and document: loosen the pact for this rule",
    "block": "Block and investigate: pause the agent",
    "rotate": "Compromised: rotate the agent's keys",
}


class PageLinks:
    """What the links do."""

    def __init__(self, actions: PageActions, directory: TenantDirectory, keys: PagingKeys) -> None:
        self._actions = actions
        self._directory = directory
        self._keys = keys

    def link(self, token: str) -> Link:
        """The link of a token. Raises `Refused` 404 for one that is not ours or has expired."""
        try:
            return self._keys.link(token, clock.now_micros() // clock.MICROS_PER_SECOND)
        except LinkRefused as error:
            raise Refused(404, str(error)) from None

    def form(self, link: Link) -> str:
        """What is shown before anything is done. Raises `Refused`."""
        page = self._actions.page(link.tenant_id, UUID(link.page_id))
        mark = self._actions.marks.get(_key(link))
        if mark is not None and mark.state == "done":
            raise Refused(410, "this link was used: it works once")
        extra, base = "", 0
        if link.action == "accept":
            document, base = self._loosened(page)
            old = self._actions.store.find(page.tenant_id, UUID(page.pact_id), base)
            told = differences(parse_pact(old.document), parse_pact(document))
            lines = "".join(
                f"<li>{escape(f'{one.tool} {one.place} {one.rule}: {one.text}')}</li>" for one in told
            )
            extra = f"<h2>What changes, after version {base}</h2><ul>{lines}</ul>"
        return _page(_TITLES[link.action], _facts(page) + extra + _FORM.format(base=base))

    async def act(self, link: Link, reason: str, base_version: int, request_id: str) -> str:
        """Do it, once; what is shown afterwards. Raises `Refused`."""
        tenant = self._directory.get(link.tenant_id)
        if tenant is None:
            raise Refused(404, "no such page of this tenant")
        if link.action != "acknowledge" and not reason:
            raise Refused(422, "a reason is required")
        actor = Actor(tenant, f"{LINK}{link.link_id}", request_id)
        page_id = UUID(link.page_id)
        page = self._actions.page(link.tenant_id, page_id)
        await anyio.to_thread.run_sync(self._begin, link)
        # A crash from here on: the link has begun, and may be tried again in a while.
        shown = await self._done(link, actor, page, reason, base_version)
        await anyio.to_thread.run_sync(self._mark, link, "done")
        return _page("Done", f"<p>{shown}</p>")

    async def _done(self, link: Link, actor: Actor, page: Page, reason: str, base_version: int) -> str:
        page_id, actions = UUID(link.page_id), self._actions
        if link.action == "acknowledge":
            await actions.acknowledge(actor, page_id, reason or None)
            return "The page is acknowledged."
        if link.action == "block":
            await actions.block(actor, page_id, reason)
            return "The agent is paused."
        if link.action == "rotate":
            rotated = await actions.rotate(actor, page_id, reason)
            keys = "".join(
                f"<li>{escape(record.label)}: <code>{key}</code></li>" for key, record in rotated.issued
            )
            return f"The keys were rotated. The new ones, shown this once:</p><ul>{keys}</ul><p>"
        document, base = self._loosened(page)
        if base != base_version:
            raise Refused(409, "the pact has changed since: open the link again")
        accepted = await actions.accept(actor, page_id, reason, base, json.dumps(document).encode())
        if accepted.pact_version is None:
            return "Noted: a second key must agree, with the same document."
        return f"Version {accepted.pact_version} of the pact is in force."

    def _loosened(self, page: Page) -> tuple[dict[str, Any], int]:
        base = self._actions.store.find(page.tenant_id, UUID(page.pact_id))
        value = page.violation().get("value")
        about = {"param_path": page.param_path, "rule": page.rule, "tool": page.tool}
        try:
            return loosened(json.loads(base.document), value=value, **about), base.version
        except InvalidInput as error:
            raise Refused(409, f"{error}; use the console or the API") from None

    def _begin(self, link: Link) -> None:
        def decide() -> list[Changed]:
            now, mark = clock.now_micros(), self._actions.marks.get(_key(link))
            if mark is not None and mark.state == "done":
                raise Refused(410, "this link was used: it works once")
            if mark is not None and mark.at_micros > now - BEGUN_MICROS:
                raise Refused(409, "this link is being used")
            return [(topics.PAGING_MARKS, _key(link), Mark("begun", link.action, now).encode())]

        self._actions.changes.apply(decide)

    def _mark(self, link: Link, state: str) -> None:
        mark = Mark(state, link.action, clock.now_micros())
        self._actions.changes.apply(lambda: [(topics.PAGING_MARKS, _key(link), mark.encode())])


def router(links: PageLinks, limiter: RateLimiter, trusted_proxies: int) -> APIRouter:
    """The routes; a link is all the permission that they need, so guessing is limited by address."""

    async def limited(request: Request) -> None:
        limiter.check(f"link {client_address(request, trusted_proxies)}")

    routes = APIRouter(prefix="/api/v1/pages/links", tags=["Pages"], dependencies=[Depends(limited)])
    token_of = Path(alias="token", max_length=MAX_TOKEN)

    @routes.get("/{token}", summary="What a link in a page would do", response_class=HTMLResponse)
    async def show(token: str = token_of) -> HTMLResponse:
        """A form. Nothing changes."""
        try:
            return HTMLResponse(links.form(links.link(token)), headers=_HEADERS)
        except Refused as error:
            return _refused(error)

    @routes.post("/{token}", summary="Do what a link in a page offers", response_class=HTMLResponse)
    async def act(request: Request, token: str = token_of) -> HTMLResponse:
        """Once. The form's fields are `reason` and `baseVersion`."""
        try:
            reason, base = _fields(await request.body())
            done = await links.act(links.link(token), reason, base, request.state.request_id)
        except Refused as error:
            return _refused(error)
        return HTMLResponse(done, headers=_HEADERS)

    return routes


def _fields(body: bytes) -> tuple[str, int]:
    if len(body) > MAX_FORM_BYTES:
        raise Refused(413, f"a form has at most {MAX_FORM_BYTES} bytes")
    try:
        fields = parse_qs(body.decode(), max_num_fields=8, strict_parsing=bool(body))
    except ValueError:
        raise Refused(400, "the body is no form") from None
    base = fields.get("baseVersion", ["0"])[0]
    reason = fields.get("reason", [""])[0].strip()
    if len(reason) > MAX_REASON:
        raise Refused(422, f"a reason has at most {MAX_REASON} characters")
    return reason, int(base) if base.isascii() and base.isdigit() and len(base) < 10 else 0


def _key(link: Link) -> str:
    return f"link/{link.link_id}"


def _refused(error: Refused) -> HTMLResponse:
    return HTMLResponse(
        _page("Not done", f"<p>{escape(str(error))}</p>"), error.status, _HEADERS | error.headers
    )


def _facts(page: Page) -> str:
    about = page.violation()
    facts = {
        "page": page.page_id,
        "agent": page.agent_id,
        "pact": f"{page.pact_id}, version {page.pact_version}",
        "call": page.tool,
        "parameter": page.param_path or "-",
        "rule": page.rule,
        "value": json.dumps(about.get("value"), default=str)[:500],
        "expected": json.dumps(about.get("expected"), default=str)[:500],
        "times": str(page.occurrences),
        "status": page.status,
    }
    return "<dl>" + "".join(f"<dt>{name}</dt><dd>{escape(text)}</dd>" for name, text in facts.items()) + "</dl>"


def _page(title: str, content: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Pactstream: page</title>'
        '<meta name="viewport" content="width=device-width"></head>'
        f"<body><main><h1>{escape(title)}</h1>{content}</main></body></html>"
    )


_FORM = (
    '<form method="post"><input type="hidden" name="baseVersion" value="{base}">'
    '<p><label>Reason<br><textarea name="reason" rows="4" cols="60" maxlength="2000"></textarea></label></p>'
    '<p><button type="submit">Confirm</button></p></form>'
)
