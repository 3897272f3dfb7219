"""`pactstream witness …`: cosign other operators' checkpoints, so that none of them can rewrite their log."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pactstream.errors import Fatal, InvalidInput
from pactstream.ledger import files
from pactstream.ledger.cosignature import Cosigner
from pactstream.ledger.log_keys import LogKey, parse_keys
from pactstream.ledger.note import NoteError
from pactstream.signing import keys

app = typer.Typer(no_args_is_help=True, help="A witness of other operators' logs (C2SP tlog-witness).")

Name = Annotated[
    str, typer.Argument(help="The witness's name, such as witness.example/pactstream: no spaces, no plus.")
]
KeyDir = Annotated[
    Path, typer.Option("--dir", help="Where the keys are.", envvar="PACTSTREAM_KEY_DIR", file_okay=False)
]


@app.command()
def key(name: Name, directory: KeyDir = Path("keys")) -> None:
    """Print the witness's verifier key; make its private key first if there is none."""
    keys.create_keys(directory, "witness")
    typer.echo(cosigner_of(name, directory).verifier.vkey())


@app.command()
def serve(
    name: Name,
    logs: Annotated[
        Path,
        typer.Option(help="The verifier keys of the logs to witness, one a line.", dir_okay=False),
    ],
    directory: KeyDir = Path("keys"),
    state: Annotated[
        Path, typer.Option(help="Where it remembers what it cosigned. Never restore an older copy.")
    ] = Path("witness"),
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65_535)] = 8070,
) -> None:
    """Cosign each log's checkpoints as long as every one extends the last. Runs until Ctrl-C."""
    from pactstream import logs as logging
    from pactstream import server
    from pactstream.ledger.witness import Witness
    from pactstream.ledger.witness_http import application
    from pactstream.ledger.witness_store import WitnessFiles

    logging.configure("witness", "INFO")
    witness = Witness(cosigner_of(name, directory), read_logs(logs), WitnessFiles(state))
    with files.held(state):
        code = server.serve(application(witness), host, port)
    raise typer.Exit(code)


def read_logs(path: Path) -> dict[str, list[LogKey]]:
    """The keys of each log in a file of verifier keys; empty lines and lines that begin with # do not count.

    Raises:
        Fatal: it cannot be read, or a line is no verifier key.
    """
    data = files.read(path, max_bytes=1_000_000)
    if data is None:
        raise Fatal(f"{path} is missing")
    try:
        return parse_keys(data)
    except InvalidInput as error:
        raise Fatal(f"{path}: {error}") from None


def cosigner_of(name: str, directory: Path) -> Cosigner:
    """The witness key in a directory, under a name. Raises Fatal: it is missing, or the name is none."""
    (own,) = keys.load_keys(directory, "witness")
    try:
        return own.cosigner(name)
    except NoteError as error:
        raise Fatal(f"{name!r}: {error}") from None
