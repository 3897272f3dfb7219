"""`pactstream trust get`: fetch a trust report and check it, trusting nobody but the issuer's keys."""

from __future__ import annotations

import json
from typing import Annotated, Any
from urllib.parse import urlsplit
from uuid import UUID

import typer

from pactstream import clock
from pactstream.errors import Fatal, InvalidInput
from pactstream.fetch import fetch
from pactstream.signing.report import verify_report

app = typer.Typer(no_args_is_help=True, help="Trust reports.")


@app.callback()
def _group() -> None:
    pass


@app.command()
def get(
    agent: Annotated[str, typer.Argument(help="The agent's id (UUID).")],
    url: Annotated[
        str, typer.Option(help="The oracle's address.", envvar="PACTSTREAM_ORACLE_URL")
    ] = "http://127.0.0.1:8090",
    verify: Annotated[bool, typer.Option("--verify", help="Check signature, issuer and dates.")] = False,
    issuer: Annotated[
        str | None, typer.Option(help="Who must have issued it; by default the oracle's host.")
    ] = None,
) -> None:
    """Print an agent's trust report; with --verify, exit code 1 unless it is what it claims to be."""
    try:
        agent_id = str(UUID(agent))
    except ValueError:
        raise Fatal(f"{agent!r} is not an agent id (UUID)") from None
    raw = fetch(f"{url}/api/v1/trust/{agent_id}")
    if not verify:
        typer.echo(json.dumps(json.loads(raw), indent=2, ensure_ascii=False))
        return
    expected = issuer or urlsplit(url).hostname or ""
    report = verified(raw, url, issuer=expected)
    typer.echo(json.dumps(report, indent=2, ensure_ascii=False))
    typer.echo(f"verified: issued by {report['issuer']}, valid until {report['expiresAt']}", err=True)


def verified(raw: bytes, url: str, *, issuer: str) -> dict[str, Any]:
    """The claims of a report whose signatures hold under the keys that the oracle publishes.

    Raises:
        InvalidInput: it is not to be trusted; the message says why.
        Fatal: the keys cannot be had.
    """
    try:
        jwks = json.loads(fetch(f"{url}/.well-known/jwks.json"))
    except ValueError:
        raise InvalidInput("the oracle's key set is not JSON") from None
    return verify_report(raw, jwks, issuer=issuer, now_micros=clock.now_micros())
