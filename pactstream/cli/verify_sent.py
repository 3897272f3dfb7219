"""`pactstream verify sent`: all that a sender was told had arrived, compared with the published ledger."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from pactstream import clock
from pactstream.cli import output
from pactstream.cli.verify import DEFAULT_URL, Keys, Quorum, State, Url, Witnesses, policy_of, raise_for, run
from pactstream.errors import Fatal, InvalidInput
from pactstream.journal.comparison import MAX_LISTED, Comparison, Tally


def sent(
    journals: Annotated[
        list[Path],
        typer.Argument(help="Journals, as `Telemetry(journal=…)` and the sidecar keep them.", dir_okay=False),
    ],
    url: Url = DEFAULT_URL,
    within: Annotated[
        str, typer.Option(help="How long after its acknowledgement an event must be in the ledger.")
    ] = "5m",
    at: Annotated[
        str | None,
        typer.Option(help="When the published files were copied (RFC 3339), if `--url` is a copy of them."),
    ] = None,
    others: Annotated[
        bool, typer.Option("--others", help="List leaves of the same agents that no journal has.")
    ] = False,
    keys: Keys = None,
    witness: Witnesses = None,
    quorum: Quorum = None,
    state: State = None,
) -> None:
    """Check that every acknowledged event is in the ledger, as it was sent.

    Verifies all logs as `ledger` does, and compares each leaf with the journals.
    """
    # Before the checkpoint is asked for, and by the clock that the journals are written by: what an operator
    # says of its own times could make any event too young to be missed.
    now_micros = clock.now_micros() if at is None else _moment(at)
    until_micros = now_micros - int(output.duration(within).total_seconds()) * clock.MICROS_PER_SECOND
    with closing(Comparison()) as comparison:
        for one in journals:
            comparison.read(one)
        raise_for(run(url, keys, policy_of(witness, quorum), state, on_leaf=comparison.leaf))
        tally = comparison.tally(until_micros)
        _show(comparison, tally, until_micros, others)
    if tally.missing or tally.different:
        lacks = f"lacks {output.counted(tally.missing, 'acknowledged event')}"
        raise InvalidInput(f"the ledger {lacks}, and has {tally.different} otherwise than sent")


def _show(comparison: Comparison, tally: Tally, until_micros: int, others: bool) -> None:
    for missing in comparison.missing(until_micros):
        typer.echo(output.printable(f"{missing}: not in the ledger"), err=True)
    for different in comparison.different:
        typer.echo(output.printable(f"{different}: not as it was sent"), err=True)
    if max(tally.missing, tally.different) > MAX_LISTED:
        typer.echo(f"no more than {MAX_LISTED} of each are listed", err=True)
    if comparison.unreadable_lines:
        lines = output.counted(comparison.unreadable_lines, "line")
        typer.echo(f"{lines} of the journals cannot be read, as one that a crash cut off", err=True)
    if others:
        for other in comparison.others:
            typer.echo(output.printable(f"{other}: in no journal"))
        typer.echo(f"leaves of the same agents in no journal: {comparison.others_count}")
    typer.echo(
        f"{output.counted(tally.events, 'event')} acknowledged: {tally.same} in the ledger as sent, "
        f"{tally.different} otherwise, {tally.missing} missing, {tally.young} too young to tell"
    )


def _moment(text: str) -> int:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise Fatal(f"--at: {output.printable(text)!r} is not a time such as 2026-05-13T10:00:00Z")
    return clock.to_micros(found)
