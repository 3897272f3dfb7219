"""`pactstream verify ledger|agent`: check a ledger as it is published, against what was seen of it before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from pactstream.cli import output
from pactstream.errors import Fatal, InvalidInput
from pactstream.ledger import files
from pactstream.ledger.cosignature import Policy
from pactstream.ledger.leaf import parse_leaf
from pactstream.ledger.log_keys import parse_keys
from pactstream.ledger.note import Checkpoint, NoteError, parse_note
from pactstream.ledger.pins import PinBook
from pactstream.ledger.published import Result, Seen
from pactstream.ledger.tlog_proof import TlogProof
from pactstream.ledger.verification import Verification, source

OnLeaf = Callable[[str, int, bytes], None]

app = typer.Typer(no_args_is_help=True, help="Check a published ledger without access to its operator.")

_LAST = "last"
_MAX_FILE_BYTES = 1_000_000

Url = Annotated[
    str,
    typer.Option(
        help="The oracle's address, or a directory with the same files.", envvar="PACTSTREAM_ORACLE_URL"
    ),
]
Keys = Annotated[
    Path | None,
    typer.Option(
        help="File of verifier keys, one a line, to trust from now on (`pactstream keys vkey`). By default "
        "those of the last run, and at the first run those that are published.",
        dir_okay=False,
    ),
]
Witnesses = Annotated[
    list[str] | None, typer.Option("--witness", help="Verifier key of a witness; may be repeated.")
]
Quorum = Annotated[
    int | None, typer.Option(min=0, help="How many witnesses must have cosigned; by default all.")
]
State = Annotated[
    Path | None,
    typer.Option(help="Where it remembers what it saw.", file_okay=False, envvar="PACTSTREAM_VERIFY_STATE"),
]
DEFAULT_URL = "http://127.0.0.1:8090"


@app.command()
def ledger(
    url: Url = DEFAULT_URL,
    since: Annotated[
        str | None,
        typer.Option(help="A file with a checkpoint that you trust, or `last`: verify only what came after."),
    ] = None,
    keys: Keys = None,
    witness: Witnesses = None,
    quorum: Quorum = None,
    state: State = None,
) -> None:
    """Recompute every hash, link, root and signature of every log from its published files.

    Names the first leaf at fault, and refuses a log that was rolled back or forked since the last run.
    """
    results = run(url, keys, policy_of(witness, quorum), state, since)
    _show(results)
    raise_for(results)


@app.command()
def proof(
    proof: Annotated[
        Path, typer.Argument(help="A file from `/api/v1/ledger/events/{eventId}/proof`.", dir_okay=False)
    ],
    keys: Annotated[
        Path, typer.Option(help="File of the log's verifier keys, one a line (`/ledger/keys`).", dir_okay=False)
    ],
    witness: Witnesses = None,
    quorum: Quorum = None,
) -> None:
    """Check offline that an event is in the ledger (C2SP tlog-proof), and print its leaf."""
    parsed = TlogProof.parse(read(proof))
    origin = Checkpoint.parse(parse_note(parsed.checkpoint).text).origin
    known = parse_keys(read(keys)).get(origin)
    if known is None:
        raise InvalidInput(f"{keys} has no key of {output.printable(origin)}")
    leaf = parse_leaf(parsed.extra)
    cosigned = parsed.verify(parsed.extra, origin, known, policy_of(witness, quorum))
    typer.echo(parsed.extra.decode())
    size = cosigned.checkpoint.size
    typer.echo(f"event {leaf.event_id} is leaf {parsed.index} of {size} in {origin}", err=True)


def run(
    url: str,
    keys: Path | None,
    policy: Policy,
    state: Path | None,
    since: str | None = None,
    on_leaf: OnLeaf = lambda origin, index, entry: None,
) -> list[Result]:
    """Verify all logs, with a bar for each on the terminal.

    Raises:
        Fatal: another process uses the state, or something cannot be had.
        InvalidInput: keys or checkpoint are none.
    """
    directory = state or Path(typer.get_app_dir("pactstream")) / "verified"
    bars: dict[str, TaskID] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with files.held(directory), Progress(*columns, console=Console(stderr=True), transient=True) as progress:

        def show(origin: str, done: int, total: int) -> None:
            if origin not in bars:
                bars[origin] = progress.add_task(origin, total=total)
            progress.update(bars[origin], completed=done)

        book = PinBook(directory)
        verification = Verification(url, source(url), book, policy=policy, on_progress=show, on_leaf=on_leaf)
        if keys is not None:
            verification = replace(verification, keys=parse_keys(read(keys)))
        if since is not None:
            verification = replace(verification, since=_since(since, url, book))
        return verification.run()


def _since(since: str, url: str, book: PinBook) -> dict[str, Seen]:
    remembered = {pin.origin: pin.seen for pin in book.all().values() if pin.seen is not None}
    if since == _LAST:
        return remembered
    try:
        checkpoint = Checkpoint.parse(parse_note(read(Path(since))).text)
    except NoteError as error:
        raise Fatal(f"{since} is not a checkpoint: {error}") from None
    known = remembered.get(checkpoint.origin)
    return {checkpoint.origin: known if known and known.checkpoint == checkpoint else Seen(checkpoint)}


def policy_of(witnesses: Sequence[str] | None, quorum: int | None) -> Policy:
    """Which witnesses must have cosigned.

    Raises:
        Fatal: these are no verifier keys, or there are fewer than the quorum.
    """
    try:
        return Policy.of(witnesses or (), quorum)
    except NoteError as error:
        raise Fatal(f"--witness, --quorum: {error}") from None


def _show(results: Sequence[Result]) -> None:
    table = output.table("log", "size", "verified", "segments", "root", "cosigned", "faults")
    for one in results:
        size, root = (one.checkpoint.size, one.checkpoint.root.hex()[:16]) if one.checkpoint else (0, "")
        cells = (size, one.leaves, one.segments, root, len(one.cosigned_at), one.faults)
        output.row(table, one.origin, *cells)
    output.show(table)
    for one in results:
        if one.unlinked_agents:
            typer.echo(f"{one.origin}: {one.unlinked_agents} agents' links across the start were not checked")


def raise_for(results: Sequence[Result]) -> None:
    """Print what is wrong, and raise `InvalidInput` if anything is."""
    for one in results:
        for finding in one.findings:
            typer.echo(str(finding), err=True)
    faults = sum(one.faults for one in results)
    if faults:
        raise InvalidInput(f"the ledger is not in order: {faults} faults")


def read(path: Path) -> bytes:
    """A file of the command line; raises `Fatal` if it is missing or too long."""
    data = files.read(path, _MAX_FILE_BYTES)
    if data is None:
        raise Fatal(f"{path} is missing")
    return data
