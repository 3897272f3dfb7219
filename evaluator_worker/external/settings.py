"""Settings of the process that asks third parties."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from pactstream.settings import ServiceSettings


class ExternalSettings(ServiceSettings):
    """What it adds to the settings of every service."""

    external_port: int = Field(9113, description="Third-party evaluators: port of health and metrics.")
    key_dir: Path = Field(Path("keys"), description="Directory of the signing keys.")
    external_evaluators: Path = Field(
        Path("evaluators.json"),
        description="Third-party evaluators: file that says how each issuer is reached.",
    )
    external_seconds: float = Field(
        2.0, gt=0, le=10, description="Third-party evaluators: an answer must be there by then."
    )
    external_max_events: int = Field(
        200, ge=1, description="Third-party evaluators: a transaction closes after this many events,"
    )
    external_linger_seconds: float = Field(
        0.02, ge=0, le=1, description="Third-party evaluators: or this long after its first record."
    )
    external_max_age_minutes: int = Field(
        60,
        ge=1,
        description="Third-party evaluators: a call that arrived longer ago is not asked about any more.",
    )
    external_failures: int = Field(
        5, ge=1, description="Third-party evaluators: after so many failures in a row one is left alone"
    )
    external_rest_seconds: float = Field(30, gt=0, description="Third-party evaluators: for so long.")
    external_allow_private: bool = Field(
        False,
        description="Third-party evaluators: also ask over http and at addresses of private networks; for "
        "development, or where evaluators are your own.",
    )
