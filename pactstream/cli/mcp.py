"""`pactstream mcp`: a server through which an agent asks before a call, and about other agents."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from pactstream.cli.trust import trust_client
from pactstream.cli.verify import Quorum, Witnesses
from pactstream.errors import Fatal
from pactstream.sdk import Telemetry


def mcp(
    key: Annotated[
        str | None, typer.Option(help="The gateway's API key.", envvar="PACTSTREAM_API_KEY", show_default=False)
    ] = None,
    gateway: Annotated[
        str, typer.Option("--gateway", help="The gateway's address.", envvar="PACTSTREAM_GATEWAY_URL")
    ] = "http://127.0.0.1:8080",
    agent: Annotated[
        str | None, typer.Option(help="The id of the agent that asks.", envvar="PACTSTREAM_AGENT_ID")
    ] = None,
    pact: Annotated[
        str | None,
        typer.Option(help="Its pact, where a call names none.", envvar="PACTSTREAM_PACT_ID"),
    ] = None,
    issuer: Annotated[
        str | None, typer.Option(help="Who must have issued trust reports.", envvar="PACTSTREAM_ISSUER")
    ] = None,
    jwks: Annotated[
        Path | None,
        typer.Option(help="The issuer's key set, which you keep: a file.", envvar="PACTSTREAM_JWKS"),
    ] = None,
    oracle: Annotated[
        str | None,
        typer.Option(
            "--oracle",
            help="The oracle's address; by default https:// and the issuer.",
            envvar="PACTSTREAM_ORACLE_URL",
        ),
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(help="Directory that remembers the ledger as it was seen.", file_okay=False),
    ] = None,
    witness: Witnesses = None,
    quorum: Quorum = None,
) -> None:
    """Serve MCP on standard input and output, for the agent that starts it: `preflight_call`, `trust_report`.

    The first needs a key and an agent, the second an issuer and its keys; without them it is not offered.
    """
    from pactstream.integrations.mcp_server import build_server

    with ExitStack() as open_:
        tel = trust = None
        if key and agent:
            tel = open_.enter_context(_telemetry(key, gateway, agent, pact))
        if issuer and jwks:
            keys = _key_set(jwks)
            trust = open_.enter_context(trust_client(issuer, keys, oracle, state, witness, quorum))
        if tel is None and trust is None:
            raise Fatal("nothing to offer: give --key and --agent, or --issuer and --jwks, or all four")
        build_server(tel, trust).run("stdio")


def _telemetry(key: str, gateway: str, agent: str, pact: str | None) -> Telemetry:
    try:
        return Telemetry(api_key=key, base_url=gateway, agent_id=agent, pact_id=pact)
    except ValueError as error:
        raise Fatal(str(error)) from None


def _key_set(path: Path) -> dict[str, object]:
    try:
        keys = json.loads(path.read_bytes())
    except OSError as error:
        raise Fatal(f"{path.name} cannot be read: {error.strerror}") from None
    except ValueError:
        raise Fatal(f"{path.name} is not JSON") from None
    if not isinstance(keys, dict):
        raise Fatal(f"{path.name} is not a key set")
    return keys
