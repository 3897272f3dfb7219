"""Settings of the relay to OpenTelemetry."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

from pydantic import BaseModel, Field, SecretStr, TypeAdapter, ValidationError

from pactstream.errors import Fatal
from pactstream.sdk.config import checked_url
from pactstream.settings import ServiceSettings

_VARIABLE = "PACTSTREAM_OTLP_DESTINATIONS"


class Destination(BaseModel, frozen=True, extra="forbid"):
    """One collector, and whose sessions it gets. `docs/otlp.md` says what each member means."""

    name: str = Field(pattern=r"^[a-z0-9-]{1,40}\z")
    endpoint: str
    tenants: tuple[UUID, ...] = ()
    private: bool = False
    headers: dict[str, SecretStr] = {}
    ca: Path | None = None
    insecure: bool = False
    history: bool = False


_DESTINATIONS = TypeAdapter(tuple[Destination, ...])


class OtlpSettings(ServiceSettings):
    """What the relay adds to the settings of every service."""

    otlp_port: int = Field(9111, description="OTLP relay: port of health and metrics.")
    otlp_destinations: SecretStr = Field(
        SecretStr("[]"), description="OTLP relay: the collectors, as JSON: [OpenTelemetry](otlp.md)."
    )
    otlp_max_spans: int = Field(512, ge=1, le=10_000, description="OTLP relay: a request has this many spans,")
    otlp_linger_seconds: float = Field(
        1.0, ge=0, le=60, description="OTLP relay: or is sent this long after its first one."
    )
    otlp_seconds: float = Field(
        10.0, gt=0, le=60, description="OTLP relay: a collector must have answered by then."
    )
    otlp_session_hours: float = Field(
        6.0,
        gt=0,
        le=168,
        description="OTLP relay: the start of a session that has no end yet is remembered for this long. "
        "A restart reads as far back.",
    )
    otlp_sessions: int = Field(
        10_000, ge=1, description="OTLP relay: and of so many sessions of each partition at most."
    )

    def destinations(self) -> tuple[Destination, ...]:
        """What `otlp_destinations` says.

        Raises:
            Fatal: it is not of this form, or would be careless; no value is shown.
        """
        try:
            found = _DESTINATIONS.validate_json(self.otlp_destinations.get_secret_value())
        except ValidationError as error:
            fault = error.errors(include_input=False, include_context=False)[0]
            where = ".".join(map(str, fault["loc"]))
            raise Fatal(f"{_VARIABLE}: {where or '(whole)'}: {fault['msg']}") from None
        if not found:
            raise Fatal(f"{_VARIABLE} names no collector")
        if len({one.name for one in found}) != len(found):
            raise Fatal(f"{_VARIABLE}: two destinations have one name")
        for one in found:
            _check(one)
        return found


def _check(one: Destination) -> None:
    if one.private and not one.tenants:
        raise Fatal(f"{_VARIABLE}: {one.name}: private values are for tenants that are named")
    try:
        checked_url(one.endpoint, allow_insecure=one.insecure)
    except ValueError as error:
        said = str(error).replace("base_url", "endpoint").replace("allow_insecure=True", '"insecure": true')
        raise Fatal(f"{_VARIABLE}: {one.name}: {said}") from None
