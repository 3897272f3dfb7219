"""The SDK: what an agent's process uses to record its behaviour. `docs/sdk.md` is its guide."""

from pactstream.sdk.call import Call
from pactstream.sdk.errors import PactViolation, PreflightUnavailable, TelemetryProblem
from pactstream.sdk.receipt import Receipt, last_receipt
from pactstream.sdk.session import Session
from pactstream.sdk.telemetry import Stats, Telemetry
from pactstream.sdk.verdict import Verdict, Violation

__all__ = [
    "Call",
    "PactViolation",
    "PreflightUnavailable",
    "Receipt",
    "Session",
    "Stats",
    "Telemetry",
    "TelemetryProblem",
    "Verdict",
    "Violation",
    "last_receipt",
]
