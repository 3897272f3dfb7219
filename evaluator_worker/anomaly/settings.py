"""Settings of the search for anomalies."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from pactstream.settings import ClickHouseSettings, ServiceSettings


class AnomalySettings(ServiceSettings, ClickHouseSettings):
    """What the search for anomalies adds to the settings of every service."""

    anomaly_port: int = Field(9108, description="Anomalies: port of health and metrics.")
    anomaly_level: float = Field(
        3.0,
        gt=0,
        le=100,
        description="Anomalies: bound on tenants flagged without cause, for each agent and month. What is "
        "measured is far lower: see docs/anomalies.md.",
    )
    anomaly_standbys: int = Field(
        1, ge=0, le=3, description="Anomalies: so many other processes hold a copy of each partition's state."
    )
    anomaly_data_dir: Path = Field(
        Path(".pactstream/anomaly"),
        description="Anomalies: directory for Faust's own files; state is in memory and in Kafka.",
    )
    anomaly_projection_seconds: float = Field(
        0.5, ge=0.01, le=5, description="Anomalies: they are written to ClickHouse this often."
    )
