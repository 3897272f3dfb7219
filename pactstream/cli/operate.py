"""The operator's commands: `dev`, `demo`, `atlas`, `ready`, `topics`, `migrate`.

Imports of Kafka, ClickHouse and the dev stack stand inside the functions: the base install has none of them.
"""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pactstream.errors import Fatal

DataDir = Annotated[Path, typer.Option(help="Where data and logs go.", file_okay=False)]
Port = Annotated[int | None, typer.Option(min=1, max=65_535)]

topics_app = typer.Typer(no_args_is_help=True, help="Kafka topics.")


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    app.command()(dev)
    app.command()(demo)
    app.command()(atlas)
    app.command()(migrate)
    app.command()(ready)
    app.add_typer(topics_app, name="topics")


def dev(
    data_dir: DataDir = Path(".pactstream/dev"),
    kafka_port: Annotated[int, typer.Option(min=1, max=65_535)] = 9092,
    clickhouse_port: Annotated[int, typer.Option(min=1, max=65_535)] = 8123,
) -> None:
    """Run Kafka and ClickHouse on this machine until Ctrl-C. For development: never production."""
    from pactstream.devstack.reporter import Terminal
    from pactstream.devstack.stack import Stack

    _term_is_interrupt()
    with Stack(data_dir, reporter=Terminal(), kafka_port=kafka_port, clickhouse_port=clickhouse_port) as stack:
        typer.echo(f"Kafka {stack.kafka_bootstrap}, ClickHouse {stack.clickhouse_url}; Ctrl-C stops both")
        stack.supervisor.watch()


def demo(
    once: Annotated[
        bool, typer.Option("--once", help="Check every figure and exit; 0 only if all are right.")
    ] = False,
    data_dir: DataDir = Path(".pactstream/demo"),
    gateway_port: Annotated[int, typer.Option(min=1, max=65_535)] = 8080,
    oracle_port: Annotated[int, typer.Option(min=1, max=65_535)] = 8090,
    console_port: Annotated[int, typer.Option(min=1, max=65_535)] = 8091,
    seed: Annotated[int, typer.Option(help="Of Atlas's day.")] = 42,
) -> None:
    """The whole pipeline on this machine: Atlas's events in, a signed trust report out. Starts afresh."""
    from pactstream.demo import Demo

    _term_is_interrupt()
    ours = (gateway_port, oracle_port, console_port)
    Demo(data_dir.absolute(), *ours, seed, Console(stderr=True)).run(once=once)


def atlas(
    key: Annotated[
        str, typer.Option(help="The API key.", envvar="PACTSTREAM_API_KEY", show_default=False)
    ] = "",
    url: Annotated[
        str, typer.Option(help="The gateway.", envvar="PACTSTREAM_GATEWAY_URL")
    ] = "http://127.0.0.1:8080",
    daily: Annotated[bool, typer.Option("--daily", help="Go on for ever, five sessions a day.")] = False,
    seed: Annotated[int, typer.Option(help="Of the first day; each further day has the next.")] = 42,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Allow plain http to another machine, in a network you trust.")
    ] = False,
    admin_key: Annotated[
        str,
        typer.Option(
            help="In place of --key: register tenant, agent and pact first.",
            envvar="PACTSTREAM_ADMIN_KEY",
            show_default=False,
        ),
    ] = "",
) -> None:
    """Run Atlas, the reference agent: 5 sessions, 25 tool calls, one deliberate violation.

    Its agent and pact must be registered, as `pactstream demo` and `--admin-key` do.
    """
    from pactstream import Telemetry, atlas

    if bool(key) == bool(admin_key):
        raise typer.BadParameter("give --key of a registered Atlas, or --admin-key to register it")
    _term_is_interrupt()
    telemetry = Telemetry(
        api_key=key or _register_atlas(url, admin_key),
        base_url=url,
        agent_id=atlas.AGENT_ID,
        allow_insecure=insecure,
    )
    try:
        atlas.run(telemetry, seed, daily=daily)
    finally:
        telemetry.close()
    stats = telemetry.stats()
    typer.echo(f"recorded {stats.recorded} events: {stats.accepted} accepted, {stats.rejected} rejected")
    if stats.accepted != stats.recorded:
        raise Fatal(f"{stats.recorded - stats.accepted} events did not reach the ledger")


def _register_atlas(url: str, admin_key: str) -> str:
    from pactstream import atlas
    from pactstream.devstack.onboarding import Onboarding

    document = json.loads(atlas.pact_document())
    return Onboarding(url, admin_key).register(
        atlas.AGENT_ID, "Atlas", pact_id=atlas.PACT_ID, document=document
    )


def ready(url: Annotated[str, typer.Argument(help="Of a service: http://127.0.0.1:9101.")]) -> None:
    """Ask a service whether it is ready; exit code 0 if so. For the health checks of containers."""
    from pactstream.fetch import fetch

    fetch(url.rstrip("/") + "/readyz")


def migrate() -> None:
    """Create or update ClickHouse's tables; safe to repeat. Reads the PACTSTREAM_CLICKHOUSE_* settings."""
    from pactstream import settings
    from pactstream.clickhouse import migrate as migrations

    for line in migrations.apply(settings.load(settings.ClickHouseSettings)):
        typer.echo(line)


@topics_app.callback()
def _topics() -> None:
    pass


@topics_app.command("apply")
def topics_apply(
    partitions: Annotated[
        int, typer.Option(min=1, max=1_000, help="Of sharded topics; more later: topics grow.")
    ] = 12,
    replication: Annotated[int, typer.Option(min=1, max=7, help="Copies of each partition.")] = 3,
) -> None:
    """Create the topics that are missing; safe to repeat. Reads the PACTSTREAM_KAFKA_* settings."""
    from pactstream import settings
    from pactstream.kafka import topics

    for line in topics.apply(
        settings.load(settings.KafkaSettings), partitions=partitions, replication=replication
    ):
        typer.echo(line)


@topics_app.command("grow")
def topics_grow(
    partitions: Annotated[int, typer.Option(min=1, max=1_000, help="Of sharded topics, from now on.")],
) -> None:
    """Add partitions, while everything runs: new agents go there, all others stay where they are.

    Safe to repeat, also after it was cut off. Needs the rights to alter topics and to write `tenants`.
    Reads the PACTSTREAM_KAFKA_* settings.
    """
    from pactstream import settings
    from pactstream.control import growing

    for line in growing.grow(settings.load(settings.KafkaSettings), partitions):
        typer.echo(line)


@topics_app.command("grant")
def topics_grant(
    user_prefix: Annotated[
        str, typer.Option(help="Before each service's name in its SASL user.")
    ] = "pactstream-",
) -> None:
    """Let each service do on Kafka what it must, and nothing else; safe to repeat.

    Needs a cluster with an authoriser, and the right to alter its lists. Users and passwords are made with
    Kafka's own tools. Reads the PACTSTREAM_KAFKA_* settings.
    """
    from pactstream import settings
    from pactstream.kafka import rights

    for line in rights.apply(settings.load(settings.KafkaSettings), user_prefix) or ["nothing to change"]:
        typer.echo(line)


def _term_is_interrupt() -> None:
    """Have SIGTERM end a command as Ctrl-C does: through every clean-up on the way out."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
