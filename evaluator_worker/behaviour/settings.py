"""Settings of the windows of behaviour."""

from __future__ import annotations

from pydantic import Field

from pactstream.settings import ServiceSettings


class BehaviourSettings(ServiceSettings):
    """What the windows of behaviour add to the settings of every service."""

    behaviour_port: int = Field(9107, description="Windows of behaviour: port of health and metrics.")
    behaviour_max_events: int = Field(
        5_000, ge=1, description="Windows of behaviour: a transaction closes after this many events."
    )
    behaviour_linger_seconds: float = Field(
        0.5, ge=0, le=1, description="Windows of behaviour: or this long after its first record."
    )
