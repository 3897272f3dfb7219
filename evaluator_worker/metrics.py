"""Prometheus metrics of judgement. Labels come from fixed sets: nothing a tenant sends becomes one."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import Counter

from pactstream.pacts import Verdict

VERDICTS = Counter("pactstream_verdicts_total", "Calls judged, by verdict.", ["verdict"])
DUPLICATES = Counter("pactstream_duplicate_events_total", "Events left out: judged before under the same id.")
REFUSED = Counter("pactstream_refused_events_total", "Events put in the dead letter queue one by one.")


def count(events: Sequence[object], verdicts: Sequence[Verdict], refused: int, judged: int) -> None:
    """Count one batch: `judged` of its `events` were new and well formed."""
    for verdict in verdicts:
        label = (
            (verdict.severity or "violated") if not verdict.valid else "valid" if verdict.bound else "unbound"
        )
        VERDICTS.labels(label).inc()
    REFUSED.inc(refused)
    DUPLICATES.inc(len(events) - refused - judged)
