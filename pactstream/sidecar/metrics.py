"""What the sidecar measures."""

from __future__ import annotations

from pactstream import clock, metrics
from pactstream.sidecar.store import Fill, Store

EVENTS = metrics.counter("pactstream_sidecar_events_total")
for _outcome in ("taken", "delivered", "refused", "lost"):
    EVENTS.labels(_outcome)  # from 0 on, or the first would be no increase
FAILED_ATTEMPTS = metrics.counter("pactstream_sidecar_failed_attempts_total")
_BATCHES = metrics.gauge("pactstream_sidecar_waiting_batches")
_OLDEST = metrics.gauge("pactstream_sidecar_oldest_seconds")
_LETTERS = metrics.gauge("pactstream_sidecar_dead_letters")
_BYTES = metrics.gauge("pactstream_sidecar_buffer_bytes")
_ROOM = metrics.gauge("pactstream_sidecar_room_bytes")


def show(store: Store) -> None:
    """Bring the gauges up to date."""
    fill = store.fill()
    _BATCHES.set(fill.batches)
    _OLDEST.set(waiting_seconds(fill))
    _LETTERS.set(fill.letters)
    _BYTES.set(fill.used_bytes)
    _ROOM.set(fill.room_bytes)


def waiting_seconds(fill: Fill) -> float:
    """How long the oldest batch has waited; 0 where none waits."""
    if fill.oldest_micros is None:
        return 0.0
    return max(0, clock.now_micros() - fill.oldest_micros) / clock.MICROS_PER_SECOND
