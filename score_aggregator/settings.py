"""Settings of the aggregator."""

from __future__ import annotations

from pydantic import Field

from pactstream.settings import ClickHouseSettings, ServiceSettings


class AggregatorSettings(ServiceSettings, ClickHouseSettings):
    """What the aggregator adds to the settings of every service."""

    aggregator_port: int = Field(9103, description="Aggregator: port of health and metrics.")
    aggregator_max_events: int = Field(
        5_000, ge=1, description="Aggregator: a transaction closes after this many events."
    )
    aggregator_linger_seconds: float = Field(
        0.1, ge=0, le=1, description="Aggregator: or this long after its first record; one score an agent."
    )
    aggregator_projection_seconds: float = Field(
        0.2, ge=0.01, le=5, description="Aggregator: scores are written to ClickHouse this often."
    )
    aggregator_nightly: bool = Field(
        True,
        description="Aggregator: compute nightly scores. One process is enough; more do the same work again.",
    )
    aggregator_nightly_delay_seconds: float = Field(
        900, ge=0, le=43_200, description="Aggregator: so long after midnight UTC nightly scores are computed."
    )
