"""`pactstream sidecar`: events of this machine's agents, kept on disk until the gateway has them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pactstream.cli import output
from pactstream.errors import Fatal

if TYPE_CHECKING:
    from pactstream.sidecar.settings import SidecarSettings
    from pactstream.sidecar.store import Letter, Store

app = typer.Typer(
    invoke_without_command=True,
    help="Take events on this machine, keep them on disk, send them on. Reads PACTSTREAM_SIDECAR_* settings.",
)

Directory = Annotated[
    Path | None, typer.Option("--dir", help="Directory of the buffer.", file_okay=False, show_default=False)
]
Number = Annotated[int, typer.Argument(min=1, help="The letter's number, as `letters` shows it.")]


@app.callback()
def sidecar(
    context: typer.Context,
    url: Annotated[str | None, typer.Option(help="The gateway.", show_default=False)] = None,
    directory: Directory = None,
    port: Annotated[int | None, typer.Option(min=1, max=65_535, show_default=False)] = None,
    max_bytes: Annotated[
        int | None, typer.Option(help="Most that the buffer may take on disk.", show_default=False)
    ] = None,
    open_to_all: Annotated[
        bool, typer.Option("--open", help="Ask no token of whoever reaches the address.")
    ] = False,
) -> None:
    """Take events as the gateway does, answer once they are on disk, and send them on. Runs until Ctrl-C."""
    if context.invoked_subcommand is not None:
        return
    changes = {
        "gateway_url": url,
        "sidecar_dir": directory,
        "sidecar_port": port,
        "sidecar_max_bytes": max_bytes,
        "sidecar_open": open_to_all or None,
    }
    settings = _settings(**changes)
    from pactstream import logs
    from pactstream.sidecar import wiring

    logs.configure("sidecar", "INFO")
    raise typer.Exit(wiring.run(settings))


@app.command()
def letters(
    directory: Directory = None,
    show: Annotated[
        int | None, typer.Option(help="Print this letter's events as JSON, whole.", show_default=False)
    ] = None,
) -> None:
    """List what the gateway refused for good, and why; the sidecar may run meanwhile."""
    found = _store(directory).letters()
    if show is not None:
        typer.echo(output.printable(_letter(found, show).body.decode("utf-8", "replace")))
        return
    if not found:
        typer.echo("no dead letters")
        return
    table = output.table("letter", "age", "events", "bytes", "reason")
    for one in found:
        output.row(table, one.id, output.age(one.refused_micros), one.events, len(one.body), one.reason)
    output.show(table)


@app.command()
def retry(letter: Number, directory: Directory = None) -> None:
    """Send a letter's events again, behind those that wait; once what refused them is mended."""
    if not _store(directory).send_again(letter):
        raise Fatal(f"there is no letter {letter}")
    typer.echo(f"letter {letter} is sent again")


@app.command()
def discard(letter: Number, directory: Directory = None) -> None:
    """Forget a letter's events for ever."""
    if not _store(directory).discard(letter):
        raise Fatal(f"there is no letter {letter}")
    typer.echo(f"letter {letter} is gone")


def _letter(found: list[Letter], number: int) -> Letter:
    for one in found:
        if one.id == number:
            return one
    raise Fatal(f"there is no letter {number}")


def _settings(**changes: Any) -> SidecarSettings:
    try:
        from pactstream import settings
        from pactstream.sidecar.settings import SidecarSettings
        from pactstream.sidecar.wiring import run  # noqa: F401 - whether all of it is installed
    except ModuleNotFoundError as error:
        raise Fatal(f"the sidecar needs {error.name}: pip install 'pactstream[sidecar]'") from None
    given = {name: value for name, value in changes.items() if value is not None}
    return settings.load(SidecarSettings, **given)


def _store(directory: Path | None) -> Store:
    settings = _settings(sidecar_dir=directory)
    from pactstream.sidecar.store import FILE, Store

    path = settings.sidecar_dir / FILE
    if not path.exists():
        raise Fatal(f"there is no buffer in {settings.sidecar_dir}: give its directory with --dir")
    return Store(settings.sidecar_dir, settings.sidecar_max_bytes)
