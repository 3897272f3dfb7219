"""Publishing from asyncio: a record is awaited until the brokers have acknowledged it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from threading import get_ident
from typing import TypeAlias

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from pactstream import tracing
from pactstream.errors import Backpressure, Fatal, InvalidInput
from pactstream.kafka import config, topics
from pactstream.kafka.records import Headers
from pactstream.settings import KafkaSettings

_log = logging.getLogger(__name__)
_POLL_SECONDS = 0.001
_QUEUE_KBYTES = 128 * 1024
_CLOSE_SECONDS = 10.0
_LOOK_SECONDS = 5.0
_BY_KEY = -1  # librdkafka's RD_KAFKA_PARTITION_UA

Place: TypeAlias = Callable[[str], int]
"""An agent's partition."""


class Publisher:
    """An idempotent producer for one event loop. Not transactional: each record stands by itself.

    `place` says where an agent's batches go; all other records go where their key leads.

    While records are on their way, the loop itself looks for acknowledgements each millisecond. A thread that
    waits for them would take the interpreter from the loop, and wake it, for each.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        place: Place | None = None,
        *,
        queue_records: int = 20_000,
        timeout_seconds: float = 10,
    ) -> None:
        self._settings = settings
        self._place = place
        self._producer = Producer(
            config.producer(settings)
            | {
                "queue.buffering.max.messages": queue_records,
                # librdkafka's own bound, 1 GiB, is more than a gateway should hold while brokers are away.
                "queue.buffering.max.kbytes": _QUEUE_KBYTES,
                "delivery.timeout.ms": int(timeout_seconds * 1_000),
            }
        )
        self._reached: dict[int, int] = {}
        self._under_way = 0
        self._serving = False

    async def publish(self, topic: str, key: bytes, value: bytes | None, *, headers: Headers = ()) -> None:
        """Returns once all in-sync replicas have the record; without a value it deletes its key's.

        Raises:
            Backpressure: the queue is full or the brokers do not acknowledge in time. The record may have been
                written all the same; whoever sends it again must send it with the same event ids.
            InvalidInput: the record is larger than the brokers take.
        """
        loop = asyncio.get_running_loop()
        in_loop = get_ident()
        acknowledged: asyncio.Future[None] = loop.create_future()

        def settle(error: KafkaError | None) -> None:
            if acknowledged.done():
                return  # whoever waited has gone away
            if error is None:
                acknowledged.set_result(None)
            else:
                acknowledged.set_exception(_classify(error))

        def on_delivery(error: KafkaError | None, message: Message) -> None:
            self._under_way -= 1
            if error is None and topic == topics.BATCHES:
                self._note(message.partition(), message.offset())
            if get_ident() == in_loop:
                settle(error)
            else:  # of `close`
                loop.call_soon_threadsafe(settle, error)

        full_name = topics.name(self._settings, topic)
        where = self._place(key.decode()) if self._place and topic == topics.BATCHES else _BY_KEY
        told: list[tuple[str, str | bytes | None]] = [*headers, *tracing.headers()]
        try:
            self._producer.produce(full_name, value, key, where, on_delivery=on_delivery, headers=told)
        except BufferError:
            raise Backpressure("the queue to Kafka is full") from None
        except KafkaException as error:
            await self._look_again(full_name, error.args[0])
            raise _classify(error.args[0]) from error
        self._under_way += 1
        if not self._serving:
            self._serving = True
            loop.call_later(_POLL_SECONDS, self._serve, loop)
        await acknowledged

    def partition_of(self, agent_id: str) -> int:
        """Where an agent's batches go. Raises Fatal: this publisher was not told of places."""
        if self._place is None:
            raise Fatal("this publisher writes no batches")
        return self._place(agent_id)

    def reached(self, partition: int) -> int:
        """The offset of the latest batch that was acknowledged to this process; -1: none was."""
        return self._reached.get(partition, -1)

    def close(self) -> None:
        """Send what is queued, waiting a bounded time, and stop."""
        left = self._producer.flush(_CLOSE_SECONDS)
        if left:
            _log.error(
                "%d records were not acknowledged before the stop; their senders were not told yes", left
            )

    async def _look_again(self, full_name: str, error: KafkaError) -> None:
        """Have the client hear of a partition that was made a moment ago, before the sender tries again."""
        if error.code() == KafkaError._UNKNOWN_PARTITION:
            with suppress(KafkaException):
                await asyncio.to_thread(self._producer.list_topics, full_name, _LOOK_SECONDS)

    def _note(self, partition: int | None, offset: int | None) -> None:
        if partition is not None and offset is not None:
            self._reached[partition] = max(offset, self.reached(partition))

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        self._producer.poll(0)
        self._serving = self._under_way > 0
        if self._serving:
            loop.call_later(_POLL_SECONDS, self._serve, loop)


def _classify(error: KafkaError) -> Backpressure | InvalidInput:
    if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
        return InvalidInput("the batch is larger than Kafka takes")
    return Backpressure(f"Kafka did not acknowledge: {error.str()}", retry_after_seconds=2)
