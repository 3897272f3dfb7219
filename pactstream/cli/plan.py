"""`pactstream plan`: what a deployment of a given size needs."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Final

import typer

from pactstream.capacity import costs
from pactstream.capacity.plan import Plan, Wanted
from pactstream.capacity.plan import plan as make_plan
from pactstream.cli.output import duration, row, show, table

_UNITS: Final = ((1e15, "PB"), (1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
_DRIVERS: Final = 5


def register(app: typer.Typer) -> None:
    """Add the command of this module to the command line."""
    app.command()(plan)


def plan(
    events_per_second: Annotated[
        float, typer.Option(min=0.001, max=1e8, help="On average over a day; bursts may be twice as high.")
    ],
    agents: Annotated[int, typer.Option(min=1, max=1_000_000_000, help="Registered agents.")],
    retention: Annotated[
        str, typer.Option(help="How long ClickHouse and the published ledger go back.")
    ] = "365d",
    as_json: Annotated[bool, typer.Option("--json", help="Everything, as JSON.")] = False,
) -> None:
    """Partitions, processes, machines, disks and network for so many events, from measured costs.

    docs/capacity.md says where each figure comes from, and where each part ends.
    """
    days = max(1, duration(retention).days)
    made = make_plan(Wanted(events_per_second, agents, days))
    if as_json:
        typer.echo(json.dumps(asdict(made), indent=2))
        return
    rate = f"{events_per_second:,.3f}".rstrip("0").rstrip(".")
    typer.echo(f"{rate} events/s, {agents:,} agents, {days:,} days: {made.partitions} partitions\n")
    _show_processes(made)
    _show_machines(made)
    _show_disks(made)
    _show_flows(made)
    _show_drivers(made)
    typer.echo(
        f"Planned: CPU {costs.CPU_HEADROOM:g} × the average, disks {costs.DISK_HEADROOM:g} × their content, "
        f"{costs.KAFKA_COPIES} copies in Kafka, {costs.CLICKHOUSE_COPIES} in ClickHouse."
    )


def _show_processes(made: Plan) -> None:
    found = table("process", "number", "cores used", "memory of each")
    for one in made.processes:
        row(found, one.kind, one.count, _cores(one.cores_used), _size(one.memory_mb * 1e6))
    show(found)
    typer.echo(f"state of the evaluators {_size(made.state_bytes)}; on disk with PACTSTREAM_STATE_DIR\n")


def _show_machines(made: Plan) -> None:
    found = table("machine", "number", "cores used", "decided by")
    for one in made.machines:
        row(found, one.kind, one.count, _cores(one.cores_used), one.because)
    show(found)
    typer.echo(
        f"of {costs.BROKER_CORES} cores and {_size(costs.BROKER_DISK)} a broker, "
        f"{costs.CLICKHOUSE_CORES} and {_size(costs.CLICKHOUSE_DISK)} a server\n"
    )


def _show_disks(made: Plan) -> None:
    found = table("disk", "content", "kept", "size")
    for one in made.disks:
        kept = (
            "newest of a key"
            if one.name in costs.STATE_BYTES
            else f"{one.kept_days or made.wanted.retention_days} d"
        )
        row(found, one.store, one.name, kept, _size(one.bytes))
    for store in dict.fromkeys(one.store for one in made.disks):
        row(found, store, "together", "", _size(made.disk_bytes(store)))
    show(found)
    typer.echo("")


def _show_flows(made: Plan) -> None:
    found = table("network", "a second")
    for one in made.flows:
        row(found, one.name, _size(one.bytes_per_second))
    show(found)
    typer.echo(
        f"{made.segments_per_second:.3g} segments a second, each three inserts into ClickHouse:\n"
        "beyond 30 a server, set PACTSTREAM_SEGMENT_INTERVAL_SECONDS and PACTSTREAM_SEGMENT_MAX_LEAVES higher\n"
    )


def _show_drivers(made: Plan) -> None:
    """What costs most, of disks and of cores."""
    cores = {one.kind: one.cores_used for one in made.processes}
    cores |= {one.kind: one.cores_used for one in made.machines}
    disks = {f"{one.store}: {one.name}": float(one.bytes) for one in made.disks}
    found = table("cost driver", "share")
    for what, sizes in (("cores", cores), ("disk", disks)):
        total = sum(sizes.values())
        for name in sorted(sizes, key=sizes.__getitem__, reverse=True)[:_DRIVERS]:
            row(found, f"{what}, {name}", f"{sizes[name] / total:.0%}")
    show(found)
    typer.echo("")


def _cores(used: float) -> str:
    return f"{used:.2g}" if used < 10 else f"{used:.0f}"


def _size(size: float) -> str:
    """In decimal units, as disks and networks are sold."""
    for unit, name in _UNITS:
        if size >= unit:
            return f"{size / unit:.3g} {name}"
    return f"{size:.0f} B"
