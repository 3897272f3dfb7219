"""Settings of the evaluator."""

from __future__ import annotations

from pydantic import Field

from pactstream.preflight.settings import PreflightSettings
from pactstream.settings import ServiceSettings


class EvaluatorSettings(ServiceSettings, PreflightSettings):
    """What the evaluator adds to the settings of every service."""

    evaluator_port: int = Field(9101, description="Evaluator: port of health and metrics.")
    evaluator_max_events: int = Field(
        2_000, ge=1, description="Evaluator: a transaction closes after this many events."
    )
    evaluator_linger_seconds: float = Field(
        0.005, ge=0, le=1, description="Evaluator: or this long after its first record."
    )
    evaluator_dedup_events: int = Field(
        10_000, ge=500, description="Evaluator: this many event ids are remembered for each agent,"
    )
    evaluator_dedup_hours: int = Field(
        24,
        ge=1,
        description="Evaluator: and none for longer than this, give or take an hour: an event sent again later "
        "is new.",
    )
    evaluator_hot_mb: int = Field(
        64,
        ge=1,
        description="Evaluator: about so many megabytes of each partition's agents are kept ready; others are "
        "read when they send again.",
    )
    evaluator_preflight_host: str = Field(
        "",
        description="Evaluator: address where it answers pre-flight questions. Unset: `PACTSTREAM_BIND_HOST`.",
    )
    evaluator_preflight_port: int = Field(0, ge=0, description="Evaluator: and its port. 0: any that is free.")
    evaluator_advertised_host: str = Field(
        "", description="Evaluator: name by which gateways reach that address. Unset: itself, or the host name."
    )
    evaluator_holds_per_agent: int = Field(
        1_000, ge=1, le=100_000, description="Evaluator: reservations that an agent may have at a time."
    )
    evaluator_hold_seconds: float = Field(
        60,
        gt=0,
        le=3_600,
        description="Evaluator: how long a reservation lasts unless another time is asked for,",
    )
    evaluator_hold_max_seconds: float = Field(
        600, gt=0, le=3_600, description="Evaluator: and the longest that may be asked for."
    )
