"""Erasing private values: find whose they are, order it as an event in the ledger, wait until it is done.

The order is a record of `telemetry.batches` like any other, written with the operator's rights on Kafka. The
projector carries it out when it comes to it, so it is done in every table that is ever made from Kafka.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from confluent_kafka import KafkaException, Producer
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from pactstream import clock, ids
from pactstream.clickhouse import erasure
from pactstream.clickhouse.client import ClickHouse
from pactstream.control.tenants import Tenant
from pactstream.errors import Fatal, InvalidInput, Retryable
from pactstream.kafka import config, reach, topics
from pactstream.kafka.faults import classify
from pactstream.kafka.publisher import Place
from pactstream.ledger.erasure import Erasure, Scope, encode_order
from pactstream.settings import KafkaSettings

_WRITE_SECONDS = 30
_LOOK_SECONDS = 0.2
_MAX_AGENTS = 1_000

_OWNERS = f"""
SELECT DISTINCT toString(agent_id), session_id FROM room_event_payloads
WHERE tenant = {{tenant:String}} AND ({{agent:String}} = '' OR agent_id = toUUIDOrZero({{agent:String}}))
  AND ({{session:String}} = '' OR session_id = {{session:String}})
  AND ({{event:String}} = '' OR event_id = toUUIDOrZero({{event:String}}))
LIMIT {_MAX_AGENTS + 1}
"""  # noqa: S608 - our own constant
_DONE = """
SELECT log, leaf_index FROM room_events WHERE event_id = {erasure:UUID} AND agent_id = {agent:UUID}
"""


class Order(NamedTuple):
    """An erasure to be: `session_id` is that of the event where the scope is one."""

    scope: Scope
    session_id: str


class Done(NamedTuple):
    """An erasure that was carried out: its event's id and place in the ledger."""

    erasure_id: str
    log: int
    leaf_index: int


@dataclass(frozen=True, slots=True)
class Eraser:
    """Erases for one tenant. Every method raises `Retryable` when ClickHouse or Kafka does not answer."""

    settings: KafkaSettings
    database: ClickHouse
    tenant: Tenant
    place: Place

    def orders(
        self, *, agent_id: str | None = None, session_id: str | None = None, event_id: str | None = None
    ) -> list[Order]:
        """What to order for an agent, a session (of each agent that had one of that name), or an event.

        Raises:
            InvalidInput: the agent is not the tenant's, or the tenant has no private value in that scope.
        """
        pseudonym = self.tenant.pseudonym
        if agent_id is not None and session_id is None and event_id is None:
            if agent_id not in self.tenant.agents:
                raise InvalidInput(f"the agent {agent_id} is not one of this tenant's")
            return [Order(Scope(pseudonym, agent_id), "")]
        wanted = {"agent": agent_id, "session": session_id, "event": event_id, "tenant": pseudonym}
        found = self.database.rows(_OWNERS, {name: value or "" for name, value in wanted.items()})
        if not found:
            raise InvalidInput("the tenant has no private values there: unknown, another's, or erased already")
        if len(found) > _MAX_AGENTS:
            raise Fatal(f"more than {_MAX_AGENTS} agents had such a session: name the agent too")
        return [
            Order(Scope(pseudonym, agent, None if event_id else session, event_id), session)
            for agent, session in found
        ]

    def write(self, order: Order, reason: str | None = None) -> str:
        """Order it; the id of the erasure's event. From here on it will be carried out, whoever waits.

        Raises:
            InvalidInput: the reason is no text that a record can hold.
        """
        erasure_id = str(ids.uuid7())
        value = encode_order(
            order.scope,
            tenant_id=self.tenant.tenant_id,
            erasure_id=erasure_id,
            session_id=order.session_id,
            now_micros=clock.now_micros(),
            reason=reason,
        )
        failures: list[Any] = []
        try:
            producer = Producer(config.producer(self.settings))
            reach.connect(producer, topics.name(self.settings, topics.BATCHES))
            producer.produce(
                topics.name(self.settings, topics.BATCHES),
                value,
                order.scope.agent_id.encode(),
                self.place(order.scope.agent_id),
                on_delivery=lambda error, _: failures.append(error),
            )
            left = producer.flush(_WRITE_SECONDS)
        except KafkaException as error:
            raise classify(error) from error
        if left or failures != [None]:
            # It may have been written all the same: then it is carried out, and a second one finds nothing.
            raise Retryable("Kafka did not acknowledge the erasure in time; order it again")
        return erasure_id

    def wait(self, order: Order, erasure_id: str, timeout_seconds: float) -> Done:
        """Wait until the erasure is sealed, its values are deleted, and both are to be seen in ClickHouse.

        Raises:
            Retryable: not within the time-out. It is done as soon as sealer and projector come to it.
        """
        attempts = Retrying(
            retry=retry_if_result(lambda rows: not rows),
            stop=stop_after_delay(timeout_seconds),
            wait=wait_fixed(_LOOK_SECONDS),
            retry_error_callback=lambda _: [],
        )
        # The projector writes this row after the values are deleted on every replica.
        rows = attempts(self.database.rows, _DONE, {"erasure": erasure_id, "agent": order.scope.agent_id})
        if not rows:
            raise Retryable(
                f"the erasure {erasure_id} is ordered, but not carried out within {timeout_seconds:g} s: "
                "it will be, as soon as evaluator and sealer come to it"
            )
        log, leaf_index = rows[0]
        left = erasure.left(self.database, Erasure(order.scope, log, leaf_index))
        if left:
            raise Fatal(
                f"{left} values are in ClickHouse in spite of the erasure {erasure_id}: who wrote them?"
            )
        return Done(erasure_id, log, leaf_index)
