"""`pactstream ledger verify|rebuild`: recompute the ledger from its rows, or make these again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table

from pactstream.errors import Fatal, InvalidInput
from pactstream.signing.jwks import parse_jwks

app = typer.Typer(no_args_is_help=True, help="The ledger.")


@app.callback()
def _group() -> None:
    pass


@app.command()
def verify(
    keys: Annotated[
        Path,
        typer.Option(help="JWK Set with the ledger's public keys (`pactstream keys public`).", dir_okay=False),
    ],
    deployment: Annotated[
        str, typer.Option(help="First part of the logs' origins.", envvar="PACTSTREAM_DEPLOYMENT")
    ] = "pactstream.local",
) -> None:
    """Recompute every hash, link, root and signature of the ledger in ClickHouse (PACTSTREAM_CLICKHOUSE_*).

    Compares private values with what their leaves commit to; one that was erased is no fault. Names each row
    that was changed, removed, added or moved; exit code 1 if there is one.
    """
    from pactstream import settings
    from pactstream.clickhouse.client import ClickHouse
    from pactstream.clickhouse.verify import verify_ledger

    try:
        public = list(parse_jwks(json.loads(keys.read_bytes())).values())
    except OSError as error:
        raise Fatal(f"cannot read {keys}: {error.strerror}") from None
    except ValueError:
        raise Fatal(f"{keys} is not JSON") from None
    bars: dict[str, TaskID] = {}
    with (
        Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), transient=True
        ) as progress,
        ClickHouse(settings.load(settings.ClickHouseSettings)) as database,
    ):

        def show(origin: str, done: int, total: int) -> None:
            if origin not in bars:
                bars[origin] = progress.add_task(origin, total=total)
            progress.update(bars[origin], completed=done)

        reports = verify_ledger(database, deployment=deployment, keys=public, on_progress=show)
    table = Table("log", "leaves", "segments", "root", "faults", box=None, padding=(0, 2, 0, 0))
    for report in reports:
        root = report.checkpoint.root.hex()[:16]
        table.add_row(report.origin, str(report.leaves), str(report.segments), root, str(report.faults))
    Console().print(table if reports else "the ledger is empty")
    for report in reports:
        for finding in report.findings:
            typer.echo(str(finding), err=True)
    faults = sum(report.faults for report in reports)
    if faults:
        raise InvalidInput(f"the ledger is not in order: {faults} faults")


@app.command()
def rebuild(
    into: Annotated[str, typer.Option(help="Database to fill: a new one, or one that a rebuild began.")],
    published: Annotated[
        str | None,
        typer.Option(
            "--from", help="The oracle's address, or a directory with its files: for what Kafka has no more."
        ),
    ] = None,
) -> None:
    """Make every table again, in another database, from Kafka (PACTSTREAM_KAFKA_*, PACTSTREAM_CLICKHOUSE_*).

    Running services are not touched. Let them use the new database (PACTSTREAM_CLICKHOUSE_DATABASE) when it is
    complete: they go on where it ends. Private values that Kafka has no more are not in the published files.
    """
    from pactstream import settings
    from pactstream.clickhouse import migrate

    ours = settings.load(settings.ClickHouseSettings)
    if into == ours.clickhouse_database:
        raise Fatal(f"{into} is the database in use: rebuild into another one, then let the services use that")
    migrate.apply(ours.model_copy(update={"clickhouse_database": into}))
    # Each service knows its own tables. They are no part of this package: so they run as programs.
    environment = {**os.environ, "PACTSTREAM_CLICKHOUSE_DATABASE": into}
    arguments = [] if published is None else ["--from", published]
    for program in (["ledger_sealer.rebuild", *arguments], ["score_aggregator.rebuild"]):
        done = subprocess.run([sys.executable, "-m", *program], env=environment, check=False)
        if done.returncode:
            raise typer.Exit(done.returncode)
    typer.echo(f"{into} is complete; check it with `pactstream ledger verify`, then let the services use it")
