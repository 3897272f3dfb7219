"""What the SDK raises (two errors, both from a blocked call) and what it reports instead of raising."""

from __future__ import annotations

from typing import Literal

from pactstream.errors import PactstreamError
from pactstream.sdk.verdict import Verdict

ProblemKind = Literal["dropped", "rejected", "delayed", "invalid", "answer", "preflight", "callback", "journal"]
"""Why a `TelemetryProblem` is reported:

- `dropped`: events are lost on this side (buffer full, closed, or given up after retries);
- `rejected`: the server refused events and will refuse them again;
- `delayed`: a delivery failed and is being retried, or had not ended when the time to close was up;
- `invalid`: a telemetry method was called with unusable arguments, or a value could not be read;
- `answer`: the server's answer could not be used (the events themselves arrived);
- `preflight`: a pre-flight could not be had, and the call went ahead (`preflight_unavailable="allow"`);
- `callback`: `on_verdict` or `on_error` raised;
- `journal`: the journal could not be written (the events themselves arrived).
"""


class TelemetryProblem(PactstreamError):
    """A telemetry fault: logged and handed to `on_error`, never raised into the agent.

    `count` is the number of events (or faults) of this kind since the last report of the kind; `event_id` is
    set where one event is meant.
    """

    def __init__(self, kind: ProblemKind, message: str, *, count: int = 1, event_id: str | None = None) -> None:
        super().__init__(message)
        self.kind: ProblemKind = kind
        self.count = count
        self.event_id = event_id


class PactViolation(PactstreamError):
    """The pact forbids this call; the tool was not called. `verdict` says which rules it breaks."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(f"the pact forbids this call ({verdict.severity}): {verdict.summary()}")
        self.verdict = verdict

    def __reduce__(self) -> tuple[type[PactViolation], tuple[Verdict]]:
        # Exceptions pickle their text only; a process pool hands this one on with its verdict.
        return type(self), (self.verdict,)


class PreflightUnavailable(PactstreamError):
    """`block_on` is set and no verdict could be had before the call, so the tool was not called."""
