"""Adding partitions without moving anybody: `pactstream topics grow` (docs/adr/0025)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from pactstream.control.placement import Placement, count_partitions
from pactstream.control.tenants import CHANGES_ID, Tenant, TenantDirectory
from pactstream.errors import Fatal
from pactstream.kafka import topics
from pactstream.kafka.table import Changed, Changes
from pactstream.settings import PREFIX, KafkaSettings, SchemaSettings, load

_TENANTS_AT_ONCE: Final = 20


def grow(settings: KafkaSettings, partitions: int) -> Iterator[str]:
    """Have every agent's partition on record, then add partitions; one line for each thing done.

    Safe to repeat. A crash on the way leaves a deployment that works as before: agents whose partition is on
    record go where they went, and no event goes to a new partition before all topics have it.

    Raises:
        Fatal: topics are missing or differ, there are more partitions already, the brokers refuse, or records
            are written as older processes read them.
        Retryable: the brokers do not answer.
    """
    if load(SchemaSettings).write_schemas_up_to is not None:
        raise Fatal(
            f"{PREFIX}WRITE_SCHEMAS_UP_TO must be unset, here and at every gateway: what is written for older "
            "processes does not say where an agent's events go"
        )
    if not topics.partitions_to_grow(settings, partitions):
        yield f"nothing to do: there are {partitions} partitions"
        return
    before = count_partitions(settings)
    if pinned := pin_agents(settings, before):
        yield f"agents of an earlier release whose partition is on record now: {pinned}"
    yield from topics.grow(settings, partitions)
    yield f"new agents go to the emptiest of {partitions} partitions; all others stay where they are"


def pin_agents(settings: KafkaSettings, partitions: int) -> int:
    """Write down where each agent's events go, of those that an earlier release registered; how many.

    Raises:
        Retryable: Kafka does not take it. What is written stays written.
    """
    directory = TenantDirectory(settings)
    placement, pinned = Placement(directory, partitions), 0
    changes = Changes(settings, CHANGES_ID, (directory.table,))

    def decide() -> list[Changed]:
        nonlocal pinned
        found = [one for one in directory.table.values() if _unpinned(one)][:_TENANTS_AT_ONCE]
        pinned = sum(map(_unpinned, found))
        return [(topics.TENANTS, one.tenant_id, _pinned(one, placement).encode()) for one in found]

    total = 0
    try:
        while True:
            changes.apply(decide)
            if not pinned:
                return total
            total += pinned
    finally:
        directory.close()


def _unpinned(tenant: Tenant) -> int:
    return sum(agent.partition is None for agent in tenant.agents.values())


def _pinned(tenant: Tenant, placement: Placement) -> Tenant:
    """An agent that another tenant has pinned already goes where that one says."""
    agents = {
        agent_id: replace(agent, partition=placement.of(agent_id)) for agent_id, agent in tenant.agents.items()
    }
    return replace(tenant, agents=agents)
