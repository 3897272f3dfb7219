"""Pactstream: continuous behavioural telemetry for AI agents.

The SDK's names are here too, loaded when they are first used, so that `import pactstream` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pactstream.sdk import (
        PactViolation,
        PreflightUnavailable,
        Receipt,
        Telemetry,
        TelemetryProblem,
        Verdict,
        last_receipt,
    )

__version__ = "0.1.0"

__all__ = [
    "PactViolation",
    "PreflightUnavailable",
    "Receipt",
    "Telemetry",
    "TelemetryProblem",
    "Verdict",
    "__version__",
    "last_receipt",
]


def __getattr__(name: str) -> object:
    """The SDK's public names, from `pactstream.sdk`."""
    if name in __all__:
        from pactstream import sdk

        return getattr(sdk, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
