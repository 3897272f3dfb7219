"""`pactstream evaluator …`: what a third party signs its verdicts with, and how it knows our requests."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from pactstream.evaluation import request
from pactstream.signing import keys
from pactstream.signing.jwks import jwks_document
from pactstream.webhooks import signature

app = typer.Typer(no_args_is_help=True, help="Evaluators by a third party.")

KeyDir = Annotated[
    Path, typer.Option("--dir", help="Where the keys are.", envvar="PACTSTREAM_KEY_DIR", file_okay=False)
]


@app.command()
def key(
    directory: Annotated[Path, typer.Argument(help="The evaluator's own directory of keys.", file_okay=False)],
) -> None:
    """Print an evaluator's key set, to be registered; make its private key first if there is none."""
    keys.create_keys(directory, "evaluator")
    (own,) = keys.load_keys(directory, "evaluator")
    typer.echo(json.dumps(jwks_document([own.public])))


@app.command()
def secret(
    issuer: Annotated[UUID, typer.Argument(help="The id under which it is registered.")],
    directory: KeyDir = Path("keys"),
) -> None:
    """Print the secret by which an evaluator knows our requests; give it to nobody else."""
    deployment = signature.load_key(directory, os.environ)
    typer.echo(signature.shown(request.secret_of(deployment, str(issuer))))
