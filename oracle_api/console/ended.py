"""Sessions that were logged out of: told to every process of the console by a compacted topic of its own.

A record is a session's id, which opens nothing, and when the session would have ended by itself. After that it
is deleted, by whichever process is asked next to end a session: so the topic and the table stay as small as the
number of people who log out in the life of a session.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple, Protocol, TypeAlias

from oracle_api.confirmed import Confirmed
from pactstream import avro, clock
from pactstream.errors import Backpressure
from pactstream.kafka import topics
from pactstream.kafka.table import Table
from pactstream.settings import KafkaSettings

_SCHEMA: Final = "EndedSession"


class EndedSession(NamedTuple):
    """A session that was logged out of; when it would have ended by itself, in microseconds since 1970."""

    session_id: str
    until_micros: int

    def encode(self) -> bytes:
        """Its Avro record."""
        return avro.encode(_SCHEMA, self._asdict())


def decode(data: bytes) -> EndedSession:
    """A session from its Avro record. Raises `InvalidInput`."""
    return EndedSession(**avro.decode_as(_SCHEMA, data))


class Ended(Protocol):
    """What the console asks."""

    @property
    def ready(self) -> bool:
        """Whether it is known which sessions have ended."""

    def has(self, session_id: str) -> bool:
        """Whether somebody logged out of this session."""

    async def end(self, session_id: str, until_micros: int) -> None:
        """End a session that would otherwise last until then. Raises `Backpressure`."""


Publish: TypeAlias = Callable[[str, bytes, bytes | None], Awaitable[None]]
"""Writes a record to a topic under a key, or deletes it (None). Raises `Backpressure`: not acknowledged."""


class EndedSessions:
    """The topic `console.ended`, followed by this process, and written by it."""

    def __init__(self, settings: KafkaSettings, publish: Publish) -> None:
        self._table = Table(settings, topics.CONSOLE_ENDED, decode)
        self._confirmed = Confirmed(self._table, "which sessions have ended")
        self._publish = publish
        self._here: dict[str, int] = {}

    @property
    def ready(self) -> bool:
        """Whether the topic was read to its end a short while ago."""
        return self._confirmed.ready

    def has(self, session_id: str) -> bool:
        """Whether somebody logged out of this session, here or at another process."""
        return session_id in self._here or self._table.get(session_id) is not None

    async def end(self, session_id: str, until_micros: int) -> None:
        """End a session; returns once every process that reads the topic will see it.

        Raises:
            Backpressure: Kafka did not acknowledge. The session has ended at this process.
        """
        now = clock.now_micros()
        self._here = {one: until for one, until in self._here.items() if until > now}
        self._here[session_id] = until_micros
        if until_micros <= now or self._table.get(session_id) is not None:
            return
        try:
            record = EndedSession(session_id, until_micros).encode()
            await self._publish(topics.CONSOLE_ENDED, session_id.encode(), record)
            # A crash here leaves records that the next logout deletes.
            for one in self._table.values():
                if one.until_micros <= now:
                    await self._publish(topics.CONSOLE_ENDED, one.session_id.encode(), None)
        except Backpressure as error:
            raise Backpressure(
                "logged out here, but other processes of the console could not be told; "
                f"if somebody may have a copy of the cookie, revoke the key ({error})"
            ) from error

    def close(self) -> None:
        """Stop following."""
        self._confirmed.close()
        self._table.close()
