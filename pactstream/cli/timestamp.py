"""`pactstream ledger timestamp` and `pactstream verify timestamp`: RFC 3161, for those who want it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
import urllib3

from pactstream.errors import Fatal
from pactstream.ledger import files
from pactstream.ledger.note import MAX_NOTE_BYTES, Checkpoint, parse_note
from pactstream.ledger.tiles import CHECKPOINT
from pactstream.ledger.timestamps import check, stamp
from pactstream.ledger.verification import source

_MAX_BYTES = 1_000_000
_TIMEOUT_SECONDS = 30.0


def timestamp(
    log: Annotated[int, typer.Argument(min=0, help="Number of the log.")],
    tsa: Annotated[str, typer.Option(help="Address of the timestamping authority.")],
    to: Annotated[Path, typer.Option(help="Directory for checkpoints and their stamps.", file_okay=False)],
    url: Annotated[
        str,
        typer.Option(help="The oracle's address, or its published files.", envvar="PACTSTREAM_ORACLE_URL"),
    ] = "http://127.0.0.1:8090",
) -> None:
    """Have an authority (RFC 3161) stamp a log's newest checkpoint. Run it as often as you want stamps."""
    note = source(url)(f"ledger/{log}/{CHECKPOINT}")
    checkpoint = Checkpoint.parse(parse_note(note).text)
    done = stamp(note, lambda request: _ask(tsa, request))
    name = to / f"{log}.{checkpoint.size}"
    files.replace(name.with_name(f"{name.name}.checkpoint"), note)
    # A crash here leaves a checkpoint without its stamp: harmless.
    files.replace(name.with_name(f"{name.name}.tsr"), done.response)
    typer.echo(f"{checkpoint.origin}, {checkpoint.size} leaves: {done.time.isoformat()}")


def verify(
    note: Annotated[Path, typer.Argument(help="The checkpoint.", dir_okay=False)],
    response: Annotated[Path, typer.Argument(help="Its stamp (.tsr).", dir_okay=False)],
    roots: Annotated[Path, typer.Option(help="Root certificates that you trust (PEM).", dir_okay=False)],
) -> None:
    """Check an authority's stamp of a checkpoint; the checkpoint itself is for `verify ledger --since`."""
    text = _read(note, MAX_NOTE_BYTES)
    done = check(text, _read(response, _MAX_BYTES), _read(roots, _MAX_BYTES))
    checkpoint = Checkpoint.parse(parse_note(text).text)
    typer.echo(f"{checkpoint.origin}, {checkpoint.size} leaves: there at {done.time.isoformat()}")


def _ask(tsa: str, request: bytes) -> bytes:
    headers = {"Content-Type": "application/timestamp-query"}  # RFC 3161, section 3.4
    try:
        with urllib3.PoolManager(retries=False, timeout=_TIMEOUT_SECONDS) as pool:
            answer = pool.request("POST", tsa, body=request, headers=headers, preload_content=False)
            data = answer.read(_MAX_BYTES + 1)
            answer.release_conn()
    except urllib3.exceptions.HTTPError as error:
        raise Fatal(f"{tsa} does not answer: {error}") from None
    if answer.status != 200 or len(data) > _MAX_BYTES:
        raise Fatal(f"{tsa} answers {answer.status}, {len(data)} bytes")
    return bytes(data)


def _read(path: Path, max_bytes: int) -> bytes:
    data = files.read(path, max_bytes)
    if data is None:
        raise Fatal(f"{path} is missing")
    return data
