"""Windows of behaviour on a real broker: written once, through a restart in the middle of a minute."""

from __future__ import annotations

from threading import Event, Thread
from typing import Any

from evaluator_worker.behaviour import wiring
from evaluator_worker.behaviour.settings import BehaviourSettings
from pactstream import avro
from pactstream.kafka import topics
from tests.behaviour_tools import AGENT, MINUTE, START, batch, event, tenant
from tests.kafka_tools import create_topics, produce, read_all
from tests.stack import eventually


def until(settings: BehaviourSettings, count: int) -> list[dict[str, Any]]:
    """Run the loop until so many windows are there; stopped gracefully."""
    stop, processor = Event(), wiring.build(settings)
    thread = Thread(target=processor.run, args=(stop,))
    thread.start()
    try:
        return eventually(lambda: found if len(found := windows(settings)) >= count else None, timeout=30) or []
    finally:
        stop.set()
        thread.join(30)


def windows(settings: BehaviourSettings) -> list[dict[str, Any]]:
    messages = read_all(settings, topics.WINDOWS)
    assert {message.key() for message in messages} <= {AGENT.encode()}
    return [avro.decode_as("BehaviourWindow", message.value()) for message in messages]


def test_windows_are_written_once_through_a_restart(kafka_bootstrap: str, topic_prefix: str) -> None:
    settings = BehaviourSettings(
        kafka_bootstrap=kafka_bootstrap, kafka_topic_prefix=topic_prefix, instance="one"
    )
    create_topics(settings)

    def send(minutes: float, who: int, calls: int) -> None:
        at = START + int(minutes * MINUTE)
        record = batch([event(at=at)] * calls, received=at, who=tenant(who))
        produce(settings, topics.EVALUATED, [(AGENT.encode(), record.value)], partition=1)

    send(0.1, 1, 3)
    send(0.2, 2, 2)
    send(1.3, 1, 4)
    assert [(one["tenant_id"], one["tool_calls"]) for one in until(settings, 2)] == [
        (tenant(1), 3),
        (tenant(2), 2),
    ]
    # The second minute is open across the restart.
    send(1.5, 1, 5)
    send(3.0, 2, 1)
    found = until(settings, 3)
    assert [(one["tenant_id"], one["tool_calls"], one["revision"]) for one in found] == [
        (tenant(1), 3, 1),
        (tenant(2), 2, 1),
        (tenant(1), 9, 1),
    ]
