"""The commands put together, and what a person sees when one fails."""

from __future__ import annotations

import logging
import sys

import typer
from rich.console import Console

from pactstream import __version__
from pactstream.cli import (
    audit,
    disclose,
    dlq,
    erase,
    evaluator,
    keys,
    ledger,
    mcp,
    mirror,
    operate,
    pact,
    pages,
    plan,
    score,
    sidecar,
    timestamp,
    trust,
    verify,
    verify_agent,
    verify_sent,
    witness,
)
from pactstream.errors import InvalidInput, PactstreamError

EXIT_NOT_IN_ORDER = 1
EXIT_CANNOT = 3
EXIT_INTERRUPTED = 130

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Behavioural telemetry for AI agents: pacts, a verifiable ledger, signed trust reports.",
    epilog="Exit codes: 0 in order, 1 not in order, 2 not understood, 3 not possible, 130 interrupted.",
)
operate.register(app)
plan.register(app)
app.command()(erase.erase)
app.command()(mcp.mcp)
app.command()(disclose.disclose)
verify.app.command("agent")(verify_agent.agent)
verify.app.command("disclosure")(disclose.verify)
verify.app.command("sent")(verify_sent.sent)
ledger.app.command("timestamp")(timestamp.timestamp)
verify.app.command("timestamp")(timestamp.verify)
app.add_typer(pact.app, name="pact")
app.add_typer(keys.app, name="keys")
app.add_typer(ledger.app, name="ledger")
app.add_typer(trust.app, name="trust")
app.add_typer(score.app, name="score")
app.add_typer(verify.app, name="verify")
app.add_typer(witness.app, name="witness")
app.add_typer(mirror.app, name="mirror")
app.add_typer(evaluator.app, name="evaluator")
app.add_typer(dlq.app, name="dlq")
app.add_typer(sidecar.app, name="sidecar")
app.add_typer(audit.app, name="audit")
app.add_typer(pages.app, name="pages")
app.add_typer(pages.agent_app, name="agent")
app.add_typer(pages.routes_app, name="routes")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"pactstream {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version."
    ),
) -> None:
    pass


def main() -> None:
    """Run the command line; an error is one line on standard error, never a traceback."""
    # The client's own log lines would stand between a person and the one line that says what is wrong.
    logging.getLogger("pactstream.kafka").addHandler(logging.NullHandler())
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except PactstreamError as error:
        _complain(error)
        sys.exit(EXIT_NOT_IN_ORDER if isinstance(error, InvalidInput) else EXIT_CANNOT)
    except ModuleNotFoundError as error:
        # The base install is small on purpose; the operator's commands need more.
        if error.name is None or error.name.split(".")[0] == "pactstream":
            raise
        package = error.name.split(".")[0]
        extra = "mcp" if package in ("mcp", "anyio") else "devstack"
        _say(f"pactstream: this command needs {package}: pip install 'pactstream[{extra}]'")
        sys.exit(EXIT_CANNOT)


def _complain(error: PactstreamError) -> None:
    _say(f"pactstream: {error}")
    for path, message in getattr(error, "details", ()):
        _say(f"  {path or '(whole)'}: {message}")


def _say(line: str) -> None:
    Console(stderr=True, soft_wrap=True).print(line, markup=False, highlight=False, emoji=False)
