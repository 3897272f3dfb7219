"""`pactstream pages`, `pactstream agent`, `pactstream routes`: being on call, over the gateway's API."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final
from uuid import UUID

import typer

from pactstream import ids
from pactstream.cli import output
from pactstream.cli.output import printable
from pactstream.errors import Fatal, InvalidInput
from pactstream.fetch import fetch
from pactstream.pacts import parse_pact
from pactstream.pacts.loosen import loosened
from pactstream.review.diff import differences

app = typer.Typer(no_args_is_help=True, help="Pages: what agents violated, and the three answers to it.")
agent_app = typer.Typer(no_args_is_help=True, help="Agents that were paused.")
routes_app = typer.Typer(no_args_is_help=True, help="Where pages go.")

Key = Annotated[str, typer.Option(help="An API key.", envvar="PACTSTREAM_API_KEY", show_default=False)]
Url = Annotated[str, typer.Option(help="The gateway's address.", envvar="PACTSTREAM_GATEWAY_URL")]
Reason = Annotated[str, typer.Option(help="Why; it stands on the ledger, privately.")]
Id = Annotated[UUID, typer.Argument(help="The page's id.", show_default=False)]
RouteId = Annotated[UUID, typer.Argument(help="The route's id.", show_default=False)]

_URL: Final = "http://127.0.0.1:8080"


@app.command("list")
def list_pages(
    key: Key,
    url: Url = _URL,
    status: Annotated[str | None, typer.Option(help="open, acknowledged or closed.")] = None,
    agent: Annotated[UUID | None, typer.Option(help="One agent's.")] = None,
) -> None:
    """List pages, the newest first."""
    query = [f"status={status}" if status else "", f"agentId={agent}" if agent else ""]
    found = _ask("GET", f"{url}/api/v1/pages?{'&'.join(filter(None, query))}", key)["pages"]
    table = output.table("page", "status", "opened", "times", "agent", "tool", "rule", "at")
    for one in found:
        status_of = one["status"] if not one["resolution"] else f"{one['status']} ({one['resolution']})"
        cells = (one["openedAt"][:19], one["occurrences"], one["agentId"], one["tool"], one["rule"])
        output.row(table, one["pageId"], status_of, *cells, one["paramPath"] or "-")
    output.show(table)


@app.command()
def show(page: Id, key: Key, url: Url = _URL) -> None:
    """Show one page: what failed, the calls before it, what was done."""
    found = _page(url, page, key)
    for name in ("pageId", "status", "resolution", "agentId", "pactId", "pactVersion", "tool", "sessionId"):
        typer.echo(printable(f"{name:<12} {found[name]}"))
    typer.echo(f"{'times':<12} {found['occurrences']}, from {found['openedAt']} to {found['lastAt']}")
    for one in found["violations"]:
        value, expected = _text(one["value"]), _text(one["expected"])
        typer.echo(
            printable(f"{one['severity']:<12} {one['paramPath']} {one['rule']}: {value}, not {expected}")
        )
    table = output.table("call", "at", "tool", "valid", "parameters")
    for one in found["recentCalls"]:
        output.row(
            table, one["eventId"], one["occurredAt"][:19], one["tool"], one["valid"], _text(one["params"])[:200]
        )
    output.show(table)
    for one in found["history"]:
        typer.echo(printable(f"{one['at']} {one['action']} by {one['by']} {one['reason']}".rstrip()))
    for one in found["deliveries"]:
        typer.echo(
            printable(f"sent to {one['route'] or 'nobody'} {one['kind']}: {one['state']} {one['error']}")
        )


@app.command()
def ack(
    page: Id,
    key: Key,
    url: Url = _URL,
    note: Annotated[str | None, typer.Option(help="What the others should know.")] = None,
) -> None:
    """Say that you look after it."""
    _ask("POST", f"{url}/api/v1/pages/{page}/acknowledge", key, {"note": note} if note else {})
    typer.echo("acknowledged")


@app.command()
def accept(
    page: Id,
    key: Key,
    reason: Reason,
    url: Url = _URL,
    document: Annotated[
        Path | None, typer.Option(help="The new version; by default the one in force, loosened for the value.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Bring a pact into force that is loosened for the page's rule; shows what changes first."""
    found = _page(url, page, key)
    pact = _ask("GET", f"{url}/api/v1/pacts/{found['pactId']}", key)
    old = pact["document"]
    new = _loosened(old, found) if document is None else _read(document)
    for one in differences(parse_pact(old), parse_pact(new)):
        typer.echo(printable(f"{one.tool} {one.place} {one.rule}: {one.text}"))
    if not yes and not typer.confirm(f"Put this in force after version {pact['version']}?"):
        raise InvalidInput("nothing was changed")
    body = {"reason": reason, "baseVersion": pact["version"], "document": new}
    done = _ask("POST", f"{url}/api/v1/pages/{page}/accept", key, body)
    if done["status"] == "done":
        typer.echo(f"version {done['pactVersion']} is in force")
    else:
        typer.echo("noted: a second key must agree, with the same document")


@app.command()
def block(page: Id, key: Key, reason: Reason, url: Url = _URL) -> None:
    """Pause the agent."""
    _ask("POST", f"{url}/api/v1/pages/{page}/block", key, {"reason": reason})
    typer.echo("the agent is paused; to let it act again: pactstream agent resume")


@app.command()
def rotate(
    page: Id,
    key: Key,
    reason: Reason,
    url: Url = _URL,
    only: Annotated[
        list[str] | None, typer.Option(help="Id of a key; by default all that can act as the agent.")
    ] = None,
) -> None:
    """Revoke the agent's keys and print new ones, which nobody can show again."""
    body: dict[str, Any] = {"reason": reason} | ({"keyIds": only} if only else {})
    done = _ask("POST", f"{url}/api/v1/pages/{page}/rotate", key, body)
    for key_id in done["revokedKeys"]:
        typer.echo(f"revoked {key_id}")
    for one in done["keys"]:
        typer.echo(printable(f"{one['key']}  {one['label']} ({', '.join(one['scopes'])})"))
    typer.echo("what happened, for an auditor: pactstream audit bundle")


@agent_app.command()
def resume(
    agent: Annotated[UUID, typer.Argument(help="The agent's id.", show_default=False)],
    key: Key,
    reason: Reason,
    url: Url = _URL,
) -> None:
    """Let a paused agent act again."""
    _ask("POST", f"{url}/api/v1/agents/{agent}/resume", key, {"reason": reason})
    typer.echo("the agent may act again")


@routes_app.command("list")
def list_routes(key: Key, url: Url = _URL) -> None:
    """List routes, without their secrets."""
    table = output.table("route", "kind", "name", "takes", "to", "secret")
    for one in _ask("GET", f"{url}/api/v1/paging/routes", key)["routes"]:
        where = one["url"] or ", ".join(one["to"]) or "-"
        secret = "yes" if one["hasSecret"] else "-"
        output.row(table, one["routeId"], one["kind"], one["name"], ", ".join(one["severities"]), where, secret)
    output.show(table)


@routes_app.command("put")
def put_route(
    kind: Annotated[str, typer.Argument(help="alertmanager, pagerduty, slack, webhook or email.")],
    name: Annotated[str, typer.Argument(help="What people call it.")],
    key: Key,
    url: Url = _URL,
    route: Annotated[UUID | None, typer.Option(help="The route's id; by default a new one.")] = None,
    address: Annotated[str, typer.Option(help="Where it goes, https.")] = "",
    to: Annotated[list[str] | None, typer.Option(help="Of email: an address.")] = None,
    takes: Annotated[list[str] | None, typer.Option(help="critical (the default) or notice.")] = None,
    secret: Annotated[
        str | None,
        typer.Option(help="A bearer token, a routing key, Slack's address.", envvar="PACTSTREAM_ROUTE_SECRET"),
    ] = None,
) -> None:
    """Make a route, or change it."""
    body: dict[str, Any] = {"kind": kind, "name": name, "url": address, "to": to or []}
    body |= {"severities": takes} if takes else {}
    body |= {"secret": secret} if secret else {}
    made = _ask("PUT", f"{url}/api/v1/paging/routes/{route or ids.uuid7()}", key, body)
    typer.echo(f"route {made['routeId']}")
    if made.get("signingSecret"):
        typer.echo(f"its messages are signed with {made['signingSecret']}, which is not shown again")


@routes_app.command("delete")
def delete_route(route: RouteId, key: Key, url: Url = _URL) -> None:
    """End a route."""
    _ask("DELETE", f"{url}/api/v1/paging/routes/{route}", key)
    typer.echo("ended")


@routes_app.command("test")
def send_test(route: RouteId, key: Key, url: Url = _URL) -> None:
    """Send a test page."""
    sent = _ask("POST", f"{url}/api/v1/paging/routes/{route}/test", key)
    typer.echo(f"sent {sent['noticeId']}")


def _page(url: str, page: UUID, key: str) -> Any:
    return _ask("GET", f"{url}/api/v1/pages/{page}", key, exact=True)


def _loosened(old: Mapping[str, Any], page: Mapping[str, Any]) -> dict[str, Any]:
    path, rule = page["paramPath"], page["rule"]
    values = [one["value"] for one in page["violations"] if (one["paramPath"], one["rule"]) == (path, rule)]
    value = values[0] if values else None
    return loosened(old, param_path=path, rule=rule, value=value, tool=page["tool"])


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise Fatal(f"{path} cannot be read: {error}") from None


def _ask(method: str, url: str, key: str, body: Any = None, *, exact: bool = False) -> Any:
    """The answer's JSON, if wanted with exact fractions. Raises `Fatal` for what the gateway refuses."""
    data = fetch(url, method, body=body, headers={"X-Pact-Key": key})
    try:
        return json.loads(data or b"{}", parse_float=Decimal if exact else None)
    except ValueError:
        raise Fatal(f"{url} does not answer as a gateway does") from None


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
