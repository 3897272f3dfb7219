"""`pactstream mirror …`: serve somebody else's ledger and reports again, cosigned, so that it may be away."""

from __future__ import annotations

import json
from pathlib import Path
from threading import Event, Thread
from typing import Annotated, Any

import typer

from pactstream.cli.witness import KeyDir, cosigner_of, read_logs
from pactstream.errors import Fatal, InvalidInput
from pactstream.ledger import files
from pactstream.signing import keys
from pactstream.signing.jwks import jwks_document, parse_jwks

app = typer.Typer(no_args_is_help=True, help="A mirror of an oracle: its ledger and its reports.")

Name = Annotated[
    str, typer.Argument(help="The mirror's name, such as mirror.example/pactstream: no spaces, no plus.")
]
_MAX_JWKS_BYTES = 1_000_000


@app.command()
def key(name: Name, directory: KeyDir = Path("keys")) -> None:
    """Print the mirror's verifier key; make its private keys first if there are none."""
    keys.create_keys(directory, "witness")
    keys.create_keys(directory, "report")
    typer.echo(cosigner_of(name, directory).verifier.vkey())


@app.command()
def serve(
    name: Name,
    url: Annotated[str, typer.Option(help="The oracle's address; nothing else is ever fetched.")],
    logs: Annotated[
        Path, typer.Option(help="The verifier keys of its logs, one a line (`/ledger/keys`).", dir_okay=False)
    ],
    issuer: Annotated[
        str | None, typer.Option(help="Whose reports to serve; without it, the ledger only.")
    ] = None,
    jwks: Annotated[
        Path | None, typer.Option(help="The issuer's key set (`/.well-known/jwks.json`).", dir_okay=False)
    ] = None,
    directory: KeyDir = Path("keys"),
    state: Annotated[
        Path, typer.Option(help="Where it keeps what it mirrored. Never restore an older copy.")
    ] = Path("mirror"),
    interval: Annotated[float, typer.Option(min=0.05, help="Seconds between looks at the oracle.")] = 2.0,
    timeout: Annotated[float, typer.Option(min=0.05, help="Seconds that each answer may take.")] = 10.0,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65_535)] = 8071,
) -> None:
    """Mirror the oracle and serve it, until Ctrl-C. A fork is refused, and the last good state stays."""
    from pactstream import logs as logging
    from pactstream import server
    from pactstream.mirror.http import application
    from pactstream.mirror.mirror import LedgerMirror
    from pactstream.mirror.reports import Issuer, ReportMirror
    from pactstream.trust.oracle import Oracle

    if not url.startswith(("http://", "https://")):
        raise Fatal("--url is an address with http:// or https://")
    key_set = _key_set(issuer, jwks)
    logging.configure("mirror", "INFO")
    cosigner, signer = cosigner_of(name, directory), keys.load_keys(directory, "report")[0]
    about = {"name": name, "vkey": cosigner.verifier.vkey(), "jwks": jwks_document([signer.public])}
    stop = Event()
    with files.held(state):
        oracle = Oracle(url, timeout)
        ledger = LedgerMirror.of(oracle, read_logs(logs), state / "ledger", cosigner)
        reports = None
        if issuer is not None:
            trusted = Issuer(issuer, key_set)
            reports = ReportMirror(
                oracle, trusted, state / "reports", signer, name, ledger.reach, refresh_seconds=interval
            )
        following = Thread(target=ledger.follow, args=(stop, interval), name="mirror")
        following.start()
        try:
            code = server.serve(application(ledger, reports, key_set, about), host, port)
        finally:
            stop.set()
            following.join()
            oracle.close()
    raise typer.Exit(code)


def _key_set(issuer: str | None, jwks: Path | None) -> dict[str, Any]:
    """The pinned key set; empty without an issuer."""
    if issuer is None and jwks is None:
        return {"keys": []}
    if issuer is None or jwks is None:
        raise Fatal("--issuer and --jwks go together: reports are served under keys that you have pinned")
    try:
        found: dict[str, Any] = json.loads(files.read(jwks, _MAX_JWKS_BYTES) or b"")
        if not parse_jwks(found):
            raise InvalidInput("it holds no ES256 or Ed25519 key")
    except (ValueError, InvalidInput) as error:
        raise Fatal(f"{jwks.name} is no key set: {error}") from None
    return found
