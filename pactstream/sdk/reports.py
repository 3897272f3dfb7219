"""Faults told through logging and `on_error`: each kind at most once in a while, with a count of the rest."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable

from pactstream import clock
from pactstream.sdk.errors import ProblemKind, TelemetryProblem

OnError = Callable[[TelemetryProblem], object]

INTERVAL_SECONDS = 10.0

_logger = logging.getLogger("pactstream.sdk")


class Reports:
    """Counts faults by kind and reports them, rate-limited.

    The first fault of a kind is reported at once; those that follow within `interval_seconds` are counted and
    told together, by the next report or by `catch_up`. May be called from any thread; never raises.
    """

    def __init__(self, on_error: OnError | None, interval_seconds: float = INTERVAL_SECONDS) -> None:
        self._on_error = on_error
        self._interval_seconds = interval_seconds
        self.reset()

    def reset(self) -> None:
        """Begin anew with a fresh lock, in a process just forked."""
        self._lock = threading.RLock()
        self._counts: Counter[ProblemKind] = Counter()
        self._silent_until: dict[ProblemKind, float] = {}
        self._untold: dict[ProblemKind, tuple[int, str]] = {}

    def count(self, kind: ProblemKind) -> int:
        """How many faults of this kind there have been."""
        return self._counts[kind]

    def report(self, kind: ProblemKind, message: str, *, count: int = 1) -> None:
        """Count a fault (standing for `count` events) and tell it, now or together with later ones."""
        with self._lock:
            self._counts[kind] += count
            earlier, _ = self._untold.get(kind, (0, ""))
            self._untold[kind] = (earlier + count, message)
        self.catch_up()

    def report_event(self, kind: ProblemKind, message: str, event_id: str) -> None:
        """As `report`, but `on_error` hears of this event in any case; only the log is rate-limited."""
        with self._lock:
            self._counts[kind] += 1
            talkative = self._may_tell(kind)
        problem = TelemetryProblem(kind, message, event_id=event_id)
        if talkative:
            _logger.warning("telemetry %s: %s (event %s)", kind, message, event_id)
        self._call_back(problem)

    def catch_up(self, *, force: bool = False) -> None:
        """Tell what was held back, where its time has come (or in any case, at the end)."""
        if not self._untold:
            return
        with self._lock:
            due = [kind for kind in self._untold if force or self._may_tell(kind)]
            told = [(kind, *self._untold.pop(kind)) for kind in due]
        for kind, count, message in told:
            _logger.warning("telemetry %s (%d): %s", kind, count, message)
            self._call_back(TelemetryProblem(kind, message, count=count))

    def _may_tell(self, kind: ProblemKind) -> bool:
        now = clock.monotonic_seconds()
        if now < self._silent_until.get(kind, now):
            return False
        self._silent_until[kind] = now + self._interval_seconds
        return True

    def _call_back(self, problem: TelemetryProblem) -> None:
        if self._on_error is None:
            return
        try:
            self._on_error(problem)
        except Exception:
            # Someone else's code: whatever it raises must neither end the sender nor reach the agent.
            _logger.exception("on_error raised")
