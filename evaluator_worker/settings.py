"""Settings of the evaluator."""

from __future__ import annotations

from pydantic import Field

from pactstream.settings import ServiceSettings


class EvaluatorSettings(ServiceSettings):
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
        24, ge=1, description="Evaluator: and none for longer than this: an event sent again later is new."
    )
