"""`pactstream erase`: delete a tenant's private values; every proof still verifies."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import typer

from pactstream.cli.output import counted
from pactstream.errors import Fatal, InvalidInput

_LEFT = (
    "Copies remain in Kafka until its retention removes them (telemetry.batches 7 days, telemetry.evaluated "
    "and dead letters 30 days), and in backups. What reads them again comes to the erasure too."
)


def erase(
    tenant: Annotated[str, typer.Option(help="The tenant whose values these are (its id).")],
    agent: Annotated[str | None, typer.Option(help="All of this agent's, or its session's.")] = None,
    session: Annotated[str | None, typer.Option(help="All of this session's.")] = None,
    event: Annotated[str | None, typer.Option(help="All of this event's (its id).")] = None,
    reason: Annotated[str | None, typer.Option(help="Kept with the erasure, as a private value.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    timeout: Annotated[float, typer.Option(min=1, max=86_400, help="Seconds to wait until it is done.")] = 120,
) -> None:
    """Delete private values and their salts from ClickHouse, and say so in the ledger.

    Covers what one tenant's events had sealed before; leaves, hashes and proofs stay as they are.
    The operator runs it (Kafka and ClickHouse by PACTSTREAM_KAFKA_*, PACTSTREAM_CLICKHOUSE_*).
    """
    from pactstream import settings
    from pactstream.clickhouse.client import ClickHouse
    from pactstream.clickhouse.erasure import values
    from pactstream.control.erasing import Eraser
    from pactstream.control.placement import Placement, count_partitions
    from pactstream.control.tenants import TenantDirectory

    if agent is None and session is None and event is None:
        raise Fatal("say what to erase: --agent, --session or --event")
    kafka = settings.load(settings.KafkaSettings)
    partitions = count_partitions(kafka)  # before the tenants are read, as `Placement` needs it
    directory = TenantDirectory(kafka)
    try:
        directory.table.catch_up()
        owner = directory.get(tenant)
    finally:
        directory.close()
    if owner is None:
        raise InvalidInput("there is no such tenant")
    with ClickHouse(settings.load(settings.ClickHouseSettings)) as database:
        eraser = Eraser(kafka, database, owner, Placement(directory, partitions).of)
        orders = eraser.orders(
            agent_id=_uuid(agent, "--agent"), session_id=session, event_id=_uuid(event, "--event")
        )
        for order in orders:
            found, events = values(database, order.scope)
            what = f"{counted(found, 'value')} of {counted(events, 'event')} of agent {order.scope.agent_id}"
            if not yes:
                typer.confirm(f"Erase {what} for ever?", abort=True)
            erasure_id = eraser.write(order, reason)
            done = eraser.wait(order, erasure_id, timeout)
            typer.echo(f"erased: {what}")
            where = f"leaf {done.leaf_index} of log {done.log}, event {done.erasure_id}"
            typer.echo(f"  the deletion is done, and stands in the ledger: {where}")
    typer.echo(_LEFT, err=True)


def _uuid(text: str | None, option: str) -> str | None:
    try:
        return None if text is None else str(UUID(text))
    except ValueError:
        raise Fatal(f"{option}: {text!r} is not an id (UUID)") from None
