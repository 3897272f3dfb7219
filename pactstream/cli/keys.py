"""`pactstream keys …`: make, rotate and show signing keys. Private keys are never printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from pactstream import clock
from pactstream.errors import Fatal
from pactstream.paging import keys as paging_keys
from pactstream.signing import keys
from pactstream.signing.jwks import jwks_document
from pactstream.signing.keys import Purpose
from pactstream.webhooks import signature

app = typer.Typer(no_args_is_help=True, help="Signing keys of ledgers and reports.")

Directory = Annotated[
    Path, typer.Option("--dir", help="Where the keys are.", envvar="PACTSTREAM_KEY_DIR", file_okay=False)
]
For = Annotated[Purpose, typer.Option("--for", help="What the keys sign.")]
_PURPOSES: tuple[Purpose, ...] = ("ledger", "report")
_MAX_SIZE_DIGITS = 15


@app.command()
def new(directory: Directory = Path("keys")) -> None:
    """Make a deployment's keys: of the ledger, reports, webhooks, pages and the console's sessions."""
    for purpose in _PURPOSES:
        made = keys.create_keys(directory, purpose)
        for key in made:
            typer.echo(f"{directory}: new {key.algorithm} key for the {purpose}, id {key.kid}")
        if not made:
            typer.echo(
                f"{directory}: the {purpose} has its keys already; to replace them: pactstream keys rotate"
            )
    if signature.create_key(directory):
        typer.echo(f"{directory}: new key for webhooks")
    if paging_keys.create_key(directory):
        typer.echo(f"{directory}: new key for pages")
    if keys.create_secret(directory / keys.CONSOLE_FILE):
        typer.echo(f"{directory}: new key for the console's sessions")


@app.command("list")
def list_keys(directory: Directory = Path("keys")) -> None:
    """List the keys by id, current and retired."""
    table = Table("for", "algorithm", "key id", "state", box=None, padding=(0, 2, 0, 0))
    for purpose in _PURPOSES:
        for key in keys.load_keys(directory, purpose):
            table.add_row(purpose, key.algorithm, key.kid, "current")
        for old in keys.load_retired(directory, purpose):
            when = (
                "retired" if old.retired_at_micros is None else f"retired {clock.to_iso(old.retired_at_micros)}"
            )
            table.add_row(purpose, old.algorithm, old.kid, when)
    Console(soft_wrap=True).print(table)


@app.command()
def rotate(purpose: For, directory: Directory = Path("keys")) -> None:
    """Replace the keys of one purpose; the old public halves stay, so that what they signed still verifies."""
    for key in keys.rotate_keys(directory, purpose, now_micros=clock.now_micros()):
        typer.echo(
            f"{directory}: new {key.algorithm} key for the {purpose}, id {key.kid}; restart what signs with it"
        )


@app.command()
def retire(
    kid: Annotated[str, typer.Argument(help="Id of a retired ledger key (`pactstream keys list`).")],
    until: Annotated[
        list[str],
        typer.Option(help="ORIGIN=SIZE: the largest tree of that log that it honestly signed; once a log."),
    ],
    directory: Directory = Path("keys"),
) -> None:
    """Declare a ledger key compromised: verifiers refuse what it signs beyond, whatever time it claims.

    Rotate it first. A running sealer publishes the cut-off within seconds; it is never taken back.
    """
    limited = keys.cut_off(directory, kid, dict(map(_limit, until)))
    for origin, size in limited.until:
        typer.echo(f"{kid}: vouches for trees of {origin} of up to {size} leaves")


def _limit(text: str) -> tuple[str, int]:
    origin, _, size = text.rpartition("=")
    if not (origin and size.isascii() and size.isdecimal() and len(size) <= _MAX_SIZE_DIGITS):
        raise Fatal(f"--until {text!r}: it is ORIGIN=SIZE, such as pactstream.local/ledger/0=4096")
    return origin, int(size)


@app.command()
def vkey(
    origin: Annotated[str, typer.Argument(help="The log's origin, such as pactstream.local/ledger/0.")],
    directory: Directory = Path("keys"),
) -> None:
    """Print the verifier keys of a log (C2SP signed-note): what to hand to whoever checks it."""
    current = [key.public for key in keys.load_keys(directory, "ledger")]
    for public in [*current, *keys.load_retired(directory, "ledger")]:
        typer.echo(keys.note_verifier(public, origin).line())


@app.command()
def public(purpose: For, directory: Directory = Path("keys")) -> None:
    """Print the public keys of one purpose, current and retired, as a JWK Set: what verifiers need."""
    current = [key.public for key in keys.load_keys(directory, purpose)]
    document = jwks_document(current, keys.load_retired(directory, purpose))
    typer.echo(json.dumps(document, indent=2))
