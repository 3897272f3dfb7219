"""The arithmetic of `pactstream plan`: more of anything never needs less of anything."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from pactstream.capacity import costs
from pactstream.capacity.plan import MIN_PARTITIONS, Plan, Wanted, plan

WANTED = st.builds(
    Wanted,
    events_per_second=st.floats(0.001, 1e7),
    agents=st.integers(1, 10**8),
    retention_days=st.integers(1, 5_000),
)
MORE = st.floats(1.0, 1_000.0)


def totals(made: Plan) -> dict[str, float]:
    """Every figure that stands for a need."""
    found: dict[str, float] = {"partitions": made.partitions, "state": made.state_bytes}
    found["segments"] = made.segments_per_second
    found |= {f"process {one.kind}": one.count for one in made.processes}
    found |= {f"cores {one.kind}": one.cores_used for one in made.processes}
    found |= {f"machine {one.kind}": one.count for one in made.machines}
    found |= {f"disk {one.store} {one.name}": one.bytes for one in made.disks}
    found |= {f"flow {one.name}": one.bytes_per_second for one in made.flows}
    return found


@given(WANTED, MORE)
def test_more_events_agents_or_days_never_need_less(wanted: Wanted, more: float) -> None:
    before = totals(plan(wanted))
    for larger in (
        replace(wanted, events_per_second=wanted.events_per_second * more),
        replace(wanted, agents=int(wanted.agents * more)),
        replace(wanted, retention_days=int(wanted.retention_days * more)),
    ):
        after = totals(plan(larger))
        assert after.keys() == before.keys()
        assert [name for name in before if after[name] < before[name]] == []


@given(WANTED)
def test_no_worker_is_busier_than_the_headroom_allows(wanted: Wanted) -> None:
    made = plan(wanted)
    for one in made.processes:
        assert one.count >= 2
        assert one.cores_used * costs.CPU_HEADROOM <= one.count * (1 + 1e-9)
        if one.kind in costs.BY_PARTITION:
            assert one.count * 2 <= made.partitions
    assert made.partitions >= MIN_PARTITIONS
    assert made.disk_bytes("kafka") == sum(one.bytes for one in made.disks if one.store == "kafka")


@given(WANTED)
def test_history_costs_in_proportion_to_its_length(wanted: Wanted) -> None:
    once, twice = plan(wanted), plan(replace(wanted, retention_days=2 * wanted.retention_days))
    for store in ("clickhouse", "files"):
        assert abs(twice.disk_bytes(store) - 2 * once.disk_bytes(store)) <= 10
