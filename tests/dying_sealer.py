"""The sealing loop, which kills itself at one step of its transaction.

FATE: `lost`, the call never happens; `persisted`, it does and nothing after it. Settings come from the
environment.
"""

from __future__ import annotations

from threading import Event

from confluent_kafka import Producer

from ledger_sealer import wiring
from ledger_sealer.settings import SealerSettings
from pactstream import settings
from pactstream.kafka import processor
from tests.dying_publisher import dying

STEPS = {
    "records": "flush",
    "offsets": "send_offsets_to_transaction",
    "commit": "commit_transaction",
}


def main(step: str, fate: str) -> None:
    """Seal until the step is reached."""
    name = STEPS[step]
    members = {name: dying(getattr(Producer, name), fate)}
    setattr(processor, "Producer", type("DyingProducer", (Producer,), members))  # noqa: B010
    ours = settings.load(SealerSettings)
    wiring.build(ours, ours.ledger_key()).run(Event())
