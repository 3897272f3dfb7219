"""What people do with dead letters: list them, look at them, send them back to their topic, set them aside.

What became of a letter is written into the dead letter queue itself: a *mark*, a record without a value in the
letter's partition, whose headers name the letter's offset. A letter goes back to its topic in the same Kafka
transaction as its mark, so it goes back once. Marks need no further topic, and retention removes a letter
before its mark.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final, Literal, TypeAlias

from confluent_kafka import OFFSET_BEGINNING, KafkaException, Producer

from pactstream.errors import Fatal, Retryable
from pactstream.kafka import config, letters, reach, topics
from pactstream.kafka.letters import Letter, Position, State
from pactstream.kafka.scan import partitions, scan
from pactstream.settings import KafkaSettings

# A batch of judged events is a link of its agent's chain, and sealed where it stands. Sent again it would be
# sealed twice, or after what comes later: the ledger would no longer verify.
REPLAYABLE: Final = (topics.BATCHES, topics.DELIVERIES, topics.PAGE_DELIVERIES)

_ProducedHeaders: TypeAlias = list[tuple[str, str | bytes | None]]

_TIMEOUT_SECONDS: Final = 30.0
# What one transaction takes: small enough to be written well within its time-out.
_MAX_LETTERS: Final = 100
_MAX_BYTES: Final = 16 * 1_024 * 1_024


def queues() -> list[str]:
    """The topics that have a dead letter queue, without prefix."""
    known = (topic.name for topic in topics.TOPICS)
    return [name.removesuffix(letters.SUFFIX) for name in known if name.endswith(letters.SUFFIX)]


def read(settings: KafkaSettings, topic: str) -> list[Letter]:
    """Every letter of the topic's queue by position, each with what became of it; values are not kept.

    Raises:
        Fatal: the topic has no dead letter queue, or Kafka refuses.
        Retryable: Kafka does not answer.
    """
    queue = _queue(topic)
    found: dict[Position, Letter] = {}
    marks: dict[Position, State] = {}
    starts = dict.fromkeys(partitions(settings, queue), OFFSET_BEGINNING)
    for record, written_at_micros in scan(settings, queue, starts):
        if letter := letters.read(record, written_at_micros=written_at_micros):
            found[letter.position] = letter
        elif mark := letters.handled(record):
            marks[mark[0]] = mark[1]
    return [replace(found[at], state=marks.get(at, "open")) for at in sorted(found)]


def values(
    settings: KafkaSettings, topic: str, chosen: Collection[Letter]
) -> Iterator[tuple[Letter, bytes | None]]:
    """The chosen letters, in order within a partition, each with its value.

    Raises:
        Fatal, Retryable: as `read`.
    """
    wanted = {letter.position: letter for letter in chosen}
    starts: dict[int, int] = {}
    for partition, offset in sorted(wanted, reverse=True):
        starts[partition] = offset
    for record, _ in scan(settings, _queue(topic), starts):
        letter = wanted.pop(Position(record.partition, record.offset), None)
        if letter is not None:
            yield letter, record.value
        if not wanted:
            return


def settle(
    settings: KafkaSettings,
    topic: str,
    positions: Collection[Position] | None,
    state: Literal["replayed", "discarded"],
) -> list[Letter]:
    """Send letters back to their topic, or set them aside; returns those that were. None: all that are open.

    One caller at a time: the transactional id is the queue's, so a second caller fences the first, whose open
    transaction is abandoned, and then reads what the first has committed.

    Raises:
        Fatal: a position is no letter's, or its letter has gone back already or cannot; nothing was done.
        Retryable: Kafka does not answer, or another caller came in between. What was committed is marked, and
            doing the same again goes on from there.
    """
    if state == "replayed" and topic not in REPLAYABLE:
        raise Fatal(
            f"{topic} cannot be replayed: its records are links of the agents' chains and would be sealed "
            "twice or out of order; mend what refused them, then discard the letters"
        )
    partitions(settings, _queue(topic))
    producer = Producer(config.transactional_producer(settings, f"dlq-{topic}"))
    try:
        reach.connect(producer, topics.name(settings, topic))
        producer.init_transactions(_TIMEOUT_SECONDS)
        chosen = _chosen(read(settings, topic), positions, state)
        for part in _parts(chosen):
            bodies = _bodies(settings, topic, part) if state == "replayed" else []
            with _transaction(producer):
                _write(settings, producer, topic, part, bodies, state)
    except KafkaException as error:
        fault = error.args[0].str()
        raise Retryable(f"not finished: {fault}; what was done is marked, run the same again") from error
    return chosen


def _queue(topic: str) -> str:
    if topic not in queues():
        raise Fatal(f"{topic} has no dead letter queue; these topics have: {', '.join(queues())}")
    return topic + letters.SUFFIX


def _chosen(found: list[Letter], positions: Collection[Position] | None, state: State) -> list[Letter]:
    if positions is None:
        return [one for one in found if one.state == "open" and not _obstacle(one, state)]
    known = {letter.position: letter for letter in found}
    for position in positions:
        letter = known.get(position)
        if letter is None:
            raise Fatal(f"there is no dead letter at {position}")
        if obstacle := _obstacle(letter, state):
            raise Fatal(f"the dead letter at {position} {obstacle}")
    return [known[position] for position in sorted(set(positions))]


def _obstacle(letter: Letter, state: State) -> str | None:
    """Why this cannot be done with the letter; None if it can."""
    if letter.state == "replayed":
        return "was replayed already"
    if letter.state == state:
        return f"was {state} already"
    if state == "replayed" and letter.omitted_bytes is not None:
        where = f"{letter.source_topic}, partition {letter.source.partition}, offset {letter.source.offset}"
        return f"does not hold its {letter.omitted_bytes} bytes: they are at {where}"
    return None


def _parts(chosen: list[Letter]) -> Iterator[list[Letter]]:
    part: list[Letter] = []
    size = 0
    for letter in chosen:
        if part and (len(part) == _MAX_LETTERS or size + letter.value_bytes > _MAX_BYTES):
            yield part
            part, size = [], 0
        part.append(letter)
        size += letter.value_bytes
    if part:
        yield part


@contextmanager
def _transaction(producer: Producer) -> Iterator[None]:
    producer.begin_transaction()
    try:
        yield
        # A crash before this line leaves an open transaction that nobody sees; after it, letters and marks.
        producer.commit_transaction(_TIMEOUT_SECONDS)
    except BaseException:
        _abort(producer)
        raise


def _abort(producer: Producer) -> None:
    """Leave nothing open: it would hold back the readers of the topic until its time-out."""
    try:
        producer.abort_transaction(_TIMEOUT_SECONDS)
    except KafkaException:
        return  # fenced or cut off: the next caller, or the broker, aborts it; the first error is what counts


def _bodies(settings: KafkaSettings, topic: str, part: list[Letter]) -> list[tuple[Letter, bytes | None]]:
    """Read before the transaction begins, which has only so much time."""
    found = list(values(settings, topic, part))
    if len(found) != len(part):
        raise Retryable("retention removed letters at this moment; run the same again")
    return found


def _write(
    settings: KafkaSettings,
    producer: Producer,
    topic: str,
    part: list[Letter],
    bodies: list[tuple[Letter, bytes | None]],
    state: State,
) -> None:
    source, queue = topics.name(settings, topic), topics.name(settings, _queue(topic))
    for letter, value in bodies:
        headers: _ProducedHeaders = [*letter.source_headers]
        # The partition it came from, which is its agent's: order and log stay the agent's own.
        producer.produce(source, value, letter.key, letter.position.partition, headers=headers)
    for letter in part:
        headers = [*letters.mark(letter.position, state)]
        producer.produce(queue, None, letter.key, letter.position.partition, headers=headers)
