"""`pactstream pact …`: templates, checking a pact, judging a call without any server, and `pact_tools`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from pactstream.cli import pact_tools
from pactstream.errors import Fatal, InvalidInput
from pactstream.pacts import compile_pact, parse_pact, templates

app = typer.Typer(no_args_is_help=True, help="Pacts: templates, checks, and what a new version would change.")

PactFile = Annotated[Path, typer.Argument(help="A pact as JSON.", exists=True, dir_okay=False, readable=True)]


@app.command("templates")
def list_templates() -> None:
    """List the templates that `fork` copies."""
    table = Table("template", "what it binds", box=None, padding=(0, 2, 0, 0))
    for name in templates.names():
        document = templates.load(name)
        table.add_row(name, str(document.get("description", document["name"])))
    Console().print(table)


@app.command()
def fork(
    template: Annotated[str, typer.Argument(help="One of `pactstream pact templates`.")],
    to: Annotated[
        Path | None, typer.Option("--to", help="File to write; TEMPLATE.pact.json by default.")
    ] = None,
) -> None:
    """Write an editable copy of a template."""
    if template not in templates.names():
        raise Fatal(f"there is no template {template!r}; there are: {', '.join(templates.names())}")
    target = to or Path(f"{template}.pact.json")
    try:
        with target.open("x", encoding="utf-8") as file:
            file.write(json.dumps(templates.load(template), indent=2, ensure_ascii=False) + "\n")
    except FileExistsError:
        raise Fatal(f"{target} exists; choose another file with --to") from None
    except OSError as error:
        raise Fatal(f"cannot write {target}: {error.strerror}") from error
    typer.echo(f"{target}: edit it, then check it with: pactstream pact check {target}")


@app.command()
def check(file: PactFile) -> None:
    """Check a pact and print its content hash; names every fault."""
    pact = parse_pact(file.read_bytes())
    typer.echo(f"{file}: in order, {len(pact.conditions)} conditions, hash {pact.hash}")


@app.command()
def judge(
    file: PactFile,
    tool: Annotated[str, typer.Option(help="The tool that is called.")],
    params: Annotated[str, typer.Option(help="Its parameters as JSON, such as '{\"amount\": 10}'.")],
) -> None:
    """Judge one call as the servers would; exit code 1 if it violates the pact."""
    compiled = compile_pact(parse_pact(file.read_bytes()), pact_id="local", version=1)
    verdict = compiled.judge(tool, params.encode("utf-8", "surrogateescape"))
    if not verdict.bound:
        typer.echo(f"not bound: the pact does not name the tool {tool!r}")
        return
    if verdict.valid:
        typer.echo("valid")
        return
    for violation in verdict.violations:
        typer.echo(f"{violation.severity:<8}  {violation.message}")
    raise InvalidInput(f"the call violates the pact ({verdict.severity})")


pact_tools.register(app)
