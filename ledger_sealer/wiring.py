"""Puts the sealer's parts together."""

from __future__ import annotations

from ledger_sealer.published import last_published
from ledger_sealer.sealer import Log, SealerTask
from ledger_sealer.settings import SealerSettings
from pactstream.kafka import topics
from pactstream.kafka.processor import Plan, Processor
from pactstream.signing.keys import SigningKey

GROUP = "ledger-sealer"


def build(settings: SealerSettings, key: SigningKey) -> Processor:
    """The loop that seals `telemetry.evaluated`, signing with `key`."""

    def make_task(partition: int) -> SealerTask:
        origin = f"{settings.deployment}/ledger/{partition}"
        # Read before the state is restored: a former holder's last segment may show in one and not in the
        # other, and only a state that is *behind* is a fault.
        published = last_published(settings, partition)
        return SealerTask(Log(partition, origin, key.note_signer(origin)), published)

    plan = Plan(
        group=GROUP,
        source=topics.EVALUATED,
        changelog=topics.SEALER_STATE,
        make_task=make_task,
        max_events=settings.segment_max_leaves,
        linger_seconds=settings.segment_interval_seconds,
    )
    return Processor(settings, plan)
