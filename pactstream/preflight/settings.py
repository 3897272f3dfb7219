"""Settings that gateway and evaluator share."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr

from pactstream.settings import Settings


class PreflightSettings(Settings):
    """How the gateway and the evaluators talk to each other."""

    preflight_secret: SecretStr = Field(
        SecretStr(""),
        description="Pre-flight: what the gateway shows to evaluators. Unset: they answer on loopback only.",
    )
    preflight_ssl_ca: Path | None = Field(
        None, description="Pre-flight: CA bundle (PEM) that signs the evaluators; system's if unset."
    )
    preflight_ssl_certificate: Path | None = Field(
        None, description="Pre-flight: an evaluator's certificate (PEM); set it to have it serve HTTPS."
    )
    preflight_ssl_key: Path | None = Field(None, description="Pre-flight: its key (PEM).")
