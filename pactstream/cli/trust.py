"""`pactstream trust …`: fetch a trust report, check it, decide by it, trusting nobody but the issuer's keys."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit
from uuid import UUID

import typer

from pactstream import clock
from pactstream.cli.verify import Quorum, Witnesses
from pactstream.errors import Detail, Fatal, InvalidInput
from pactstream.fetch import fetch
from pactstream.ledger.note import NoteError
from pactstream.signing.report import verify_report
from pactstream.trust import Policy, TrustClient, decide

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
    witness: Witnesses = None,
    quorum: Quorum = None,
) -> None:
    """Print an agent's trust report; with --verify, exit code 1 unless it is what it claims to be.

    With --witness its ledger is checked too: the head is in a tree that the log signed and witnesses cosigned.
    """
    agent_id = agent_id_of(agent)
    expected = issuer_of(issuer, url)
    if witness or quorum:
        with trust_client(expected, published_keys(url), url, None, witness, quorum) as client:
            _show(client.get(agent_id))
        return
    raw = fetch(f"{url}/api/v1/trust/{agent_id}")
    if not verify:
        typer.echo(json.dumps(json.loads(raw), indent=2, ensure_ascii=False))
        return
    _show(verified(raw, url, issuer=expected))


@app.command("decide")
def decide_(
    agent: Annotated[str, typer.Argument(help="The agent's id (UUID).")],
    policy: Annotated[Path, typer.Option(help="The policy: a JSON file.", exists=True, dir_okay=False)],
    jwks: Annotated[
        Path, typer.Option(help="The issuer's key set, which you keep: a file.", exists=True, dir_okay=False)
    ],
    issuer: Annotated[str, typer.Option(help="Who must have issued the report.")],
    url: Annotated[
        str | None, typer.Option(help="The oracle's address; by default https:// and the issuer.")
    ] = None,
    state: Annotated[
        Path | None, typer.Option(help="Directory that remembers the ledger as it was seen.", file_okay=False)
    ] = None,
    witness: Witnesses = None,
    quorum: Quorum = None,
) -> None:
    """Check an agent's report and decide by a policy; exit code 1 and every reason, unless it is allowed."""
    try:
        keys = json.loads(jwks.read_bytes())
    except ValueError:
        raise Fatal(f"{jwks.name} is not JSON") from None
    demands = Policy.parse(policy.read_bytes())
    with trust_client(issuer, keys, url, state, witness, quorum) as client:
        decision = decide(client.get(agent_id_of(agent)), demands)
    if not decision:
        raise InvalidInput("denied", [Detail("", reason) for reason in decision.reasons])
    typer.echo("allowed")


def trust_client(
    issuer: str,
    jwks: Mapping[str, Any],
    url: str | None,
    state: Path | None,
    witnesses: Sequence[str] | None,
    quorum: int | None,
) -> TrustClient:
    """A client as options ask for it. Raises `Fatal`: so many cosignatures cannot be asked for."""
    try:
        return TrustClient(
            issuer=issuer, jwks=jwks, url=url, state_dir=state, witnesses=witnesses or (), quorum=quorum
        )
    except NoteError as error:
        raise Fatal(f"--witness, --quorum: {error}") from None


def _show(report: dict[str, Any]) -> None:
    typer.echo(json.dumps(report, indent=2, ensure_ascii=False))
    typer.echo(f"verified: issued by {report['issuer']}, valid until {report['expiresAt']}", err=True)


def agent_id_of(text: str) -> str:
    """An agent's id in canonical form. Raises `Fatal`: it is none."""
    try:
        return str(UUID(text))
    except ValueError:
        raise Fatal(f"{text!r} is not an agent id (UUID)") from None


def verified(raw: bytes, url: str, *, issuer: str) -> dict[str, Any]:
    """The claims of a report whose signatures hold under the keys that the oracle publishes.

    Raises:
        InvalidInput: it is not to be trusted; the message says why.
        Fatal: the keys cannot be had.
    """
    return verify_report(raw, published_keys(url), issuer=issuer, now_micros=clock.now_micros())


def issuer_of(issuer: str | None, url: str) -> str:
    """Who must have issued what the oracle at this address says: whoever is named, or else its host."""
    return issuer or urlsplit(url).hostname or ""


def published_keys(url: str) -> Any:
    """The issuer's key set as the oracle publishes it, decoded. Raises `InvalidInput`: it is not JSON."""
    try:
        return json.loads(fetch(f"{url}/.well-known/jwks.json"))
    except ValueError:
        raise InvalidInput("the oracle's key set is not JSON") from None
