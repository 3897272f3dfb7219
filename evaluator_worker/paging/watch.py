"""What is worth a page: a critical verdict; and what becomes of pages, which comes back as events of the agent.

Reads `telemetry.evaluated`. Pages, deliveries and the event that says a page was opened are one Kafka
transaction with the source's offset: after a crash a violation has its page once. The event goes round through
`telemetry.batches`, the evaluator and the ledger, as what responders do with pages does: so all of a page's
life comes here in the agent's own order.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from evaluator_worker.paging import memory as memories
from evaluator_worker.paging.calls import Event, read_event, shown_violations, values_of
from evaluator_worker.paging.memory import MORE, AgentMemory, place_of
from evaluator_worker.paging.telling import Teller
from pactstream import avro, clock, metrics
from pactstream.errors import Fatal, InvalidInput
from pactstream.kafka import topics
from pactstream.kafka.records import Emit, Record, Task
from pactstream.paging import events
from pactstream.paging.records import RESOLUTIONS, Page, dumps

KEPT_MICROS: Final = 30 * 86_400 * clock.MICROS_PER_SECOND
"""A closed page is kept for so long."""
IDLE_MICROS: Final = 7 * 86_400 * clock.MICROS_PER_SECOND
"""The latest calls of an agent without pages are forgotten after so long."""
SYSTEM: Final = "pactstream"

_MAX_HOT = 2_000
_SWEPT_AT_ONCE = 50
_log = logging.getLogger(__name__)
_PAGES = metrics.counter("pactstream_pages_opened_total")
_REPEATS = metrics.counter("pactstream_pages_repeated_total")

Expected = Callable[[str, int, str, str, str | None], Any]
"""What a pact's version demands: given its id, version, parameter path, rule and tool."""


@dataclass(frozen=True, slots=True)
class _Arrived:
    """One batch, as far as its events share it."""

    record: Record
    tenant_id: str
    pseudonym: str
    agent_id: str
    at_micros: int


class Watch(Task):
    """The agents of one partition, each by tenant: no tenant's calls show on another's page.

    A violation that arrived longer than `max_age_micros` ago opens no page.
    """

    def __init__(
        self, partition: int, expected: Expected, teller: Teller, *, max_age_micros: int | None = None
    ) -> None:
        self._partition = partition
        self._max_age_micros = max_age_micros
        self._expected = expected
        self._teller = teller
        self._hot: dict[str, AgentMemory] = {}
        self._cold: dict[str, bytes] = {}  # the one touched longest ago first
        self._touched_at: dict[str, int] = {}
        self._pages: dict[str, dict[str, Page]] = {}
        self._closed: dict[str, tuple[str, int]] = {}  # page id to owner and time, the oldest first
        self._touched: dict[str, None] = {}
        self._now_micros = 0

    def restore(self, key: bytes, value: bytes | None) -> None:
        """Take one changelog record: an agent's, or one of a page of it."""
        agent_id, tenant_id, *page_id = key.decode().split("/")
        owner = f"{agent_id}/{tenant_id}"
        try:
            if page_id:
                self._restore_page(owner, page_id[0], value)
            else:
                self._restore_agent(owner, value)
        except InvalidInput as error:
            raise Fatal(f"the state {key!r} cannot be read: {error}") from error

    def _restore_page(self, owner: str, page_id: str, value: bytes | None) -> None:
        if value is None:
            self._pages.get(owner, {}).pop(page_id, None)
            self._closed.pop(page_id, None)
            return
        page = memories.restored_page(value)
        self._pages.setdefault(owner, {})[page_id] = page
        if page.status == "closed":
            self._closed[page_id] = (owner, page.updated_at_micros)

    def _restore_agent(self, owner: str, value: bytes | None) -> None:
        for kept in (self._cold, self._touched_at):
            kept.pop(owner, None)
        if value is not None:
            self._cold[owner] = value
            self._touched_at[owner] = memories.restored(value).touched_at_micros

    def process(self, record: Record, emit: Emit) -> int:
        """Look at one batch. Raises `InvalidInput`: it is none."""
        batch = avro.decode_as("EvaluatedBatch", record.value)
        read = [(read_event(one["leaf"]), one["private"]) for one in batch["events"]]
        concerned = [one for one in read if one[0].type in _CONCERNED]
        if not concerned or "/" in batch["tenant_id"]:
            return len(read)
        arrived = _Arrived(
            record,
            batch["tenant_id"],
            batch["tenant_pseudonym"],
            batch["agent_id"],
            batch["received_at_micros"],
        )
        memory = self._memory(arrived)
        for event, private in concerned:
            _CONCERNED[event.type](self, memory, arrived, event, private, emit)
        return len(read)

    def flush(self, emit: Emit) -> None:
        """Write agents and pages that changed since the last call, each once, and forget what is long over."""
        for owner in self._touched:
            memory = self._hot[owner]
            self._cold.pop(owner, None)
            self._cold[owner] = memory.encode()
            self._touched_at.pop(owner, None)
            self._touched_at[owner] = memory.touched_at_micros
            self._log(emit, owner, self._cold[owner])
            for page_id in memory.changed:
                page = memory.pages[page_id]
                emit(topics.PAGES, page_id.encode(), page.encode())
                self._log(emit, f"{owner}/{page_id}", page.encode())
            memory.changed = {}
        self._touched = {}
        if len(self._hot) > _MAX_HOT:
            self._hot = {}
        self._sweep(emit)

    # Each kind of event.

    def _called(
        self, memory: AgentMemory, arrived: _Arrived, event: Event, private: bytes | None, emit: Emit
    ) -> None:
        memory.calls.appendleft((event, private))
        if event.verdict is None or event.verdict.severity != "critical" or event.pact is None:
            return
        # Who starts paging on a deployment with a history is not called for all of it.
        oldest = None if self._max_age_micros is None else clock.now_micros() - self._max_age_micros
        if oldest is None or arrived.at_micros >= oldest:
            self._violated(memory, arrived, event, private, emit)

    def _violated(
        self, memory: AgentMemory, arrived: _Arrived, event: Event, private: bytes | None, emit: Emit
    ) -> None:
        if event.pact is None or event.verdict is None:
            return
        about = {
            (one.rule, place_of(one.rule, one.param_path)): one.param_path
            for one in reversed(event.verdict.violations)
            if one.severity == "critical"
        }
        for (rule, place), param_path in reversed(about.items()):
            page = memory.open_page(event.pact.id, rule, place)
            if page is None and memory.open_count() >= memories.MAX_OPEN_PAGES:
                rule, param_path = MORE, ""
                page = memory.open_page(event.pact.id, MORE, "")
            if page is None:
                self._open(memory, arrived, event, private, rule, param_path, emit)
            elif page.last_event_id != event.event_id:
                _REPEATS.inc()
                memory.put(
                    replace(
                        page,
                        occurrences=page.occurrences + 1,
                        last_at_micros=arrived.at_micros,
                        last_event_id=event.event_id,
                        updated_at_micros=arrived.at_micros,
                    )
                )

    def _open(
        self,
        memory: AgentMemory,
        arrived: _Arrived,
        event: Event,
        private: bytes | None,
        rule: str,
        param_path: str,
        emit: Emit,
    ) -> None:
        page = self._new_page(memory, arrived, event, private, rule, param_path)
        memory.put(page)
        # Before anything else that is told of it, and again with what else happens in this transaction.
        emit(topics.PAGES, page.page_id.encode(), page.encode())
        _PAGES.inc()
        opened = events.page_event(
            page, "opened", event_id=page.page_id, by=SYSTEM, reason=None, at_micros=arrived.at_micros
        )
        self._send(arrived, [opened], emit)
        self._teller.tell(page, "opened", page.page_id, arrived.record, emit)

    def _new_page(
        self,
        memory: AgentMemory,
        arrived: _Arrived,
        event: Event,
        private: bytes | None,
        rule: str,
        param_path: str,
    ) -> Page:
        pact, verdict = event.pact, event.verdict
        if pact is None or verdict is None:
            raise Fatal("a page needs a verdict")
        version, tool = pact.version or 0, event.tool
        expected = {
            (one.param_path, one.rule): self._expected(pact.id, version, one.param_path, one.rule, tool)
            for one in verdict.violations
        }
        at = arrived.at_micros
        page = Page(
            page_id=events.page_id(
                arrived.tenant_id, arrived.agent_id, event.event_id, f"{pact.id}|{rule}|{param_path}"
            ),
            tenant_id=arrived.tenant_id,
            tenant_pseudonym=arrived.pseudonym,
            agent_id=arrived.agent_id,
            event_id=event.event_id,
            session_id=event.session_id,
            tool=tool or "",
            severity="critical",
            violations=dumps(shown_violations(verdict.violations, values_of(private), expected)),
            recent_calls=dumps(memory.shown_calls()),
            occurred_at_micros=at,
            created_at_micros=at,
            pact_id=pact.id,
            pact_version=version,
            rule=rule,
            param_path=param_path,
            status="open",
            resolution="",
            occurrences=1,
            last_at_micros=at,
            last_event_id=event.event_id,
            updated_at_micros=at,
            history=b"[]",
        )
        return memories.told(page, at=clock.to_iso(at), by=SYSTEM, action="opened", reason=None, at_micros=at)

    def _acted(
        self, memory: AgentMemory, arrived: _Arrived, event: Event, private: bytes | None, emit: Emit
    ) -> None:
        """Somebody did something with a page, or with the agent."""
        action = event.outcome or ""
        page = memory.pages.get(event.parent_event_id or "")
        if action == "opened" or page is None:
            return
        values = values_of(private)
        if action == "rotated":
            self._abort_sessions(memory, arrived, page, emit)
        was_closed = page.status == "closed"
        page = memories.told(
            page,
            at=event.occurred_at,
            by=str(values.get("metadata.by", "")),
            action=action,
            reason=values.get("reason"),
            at_micros=arrived.at_micros,
        )
        if not was_closed and action in RESOLUTIONS:
            page = replace(page, status="closed", resolution=action)
            self._closed[page.page_id] = (f"{arrived.agent_id}/{arrived.tenant_id}", arrived.at_micros)
        elif not was_closed and action == "acknowledged":
            page = replace(page, status="acknowledged")
        memory.put(page)
        if not was_closed:
            self._teller.tell(page, action, event.event_id, arrived.record, emit)

    def _abort_sessions(self, memory: AgentMemory, arrived: _Arrived, page: Page, emit: Emit) -> None:
        ends = [
            events.session_end(session_id, page, at_micros=arrived.at_micros) for session_id in memory.sessions
        ]
        if ends:
            # Each comes back as an event and ends its session here as well.
            self._send(arrived, ends, emit)

    def _began(self, memory: AgentMemory, _: _Arrived, event: Event, *__: Any) -> None:
        memory.began(event.session_id)

    def _ended(self, memory: AgentMemory, _: _Arrived, event: Event, *__: Any) -> None:
        memory.sessions.pop(event.session_id, None)

    def _erased(self, memory: AgentMemory, _: _Arrived, event: Event, *__: Any) -> None:
        memory.forget_values(event.session_id, event.parent_event_id)

    # State.

    def _memory(self, arrived: _Arrived) -> AgentMemory:
        owner = f"{arrived.agent_id}/{arrived.tenant_id}"
        memory = self._hot.get(owner)
        if memory is None:
            cold = self._cold.get(owner)
            memory = AgentMemory() if cold is None else memories.restored(cold)
            memory.pages = self._pages.setdefault(owner, {})
            self._hot[owner] = memory
        memory.touched_at_micros = max(memory.touched_at_micros, arrived.at_micros)
        self._now_micros = max(self._now_micros, arrived.at_micros)
        self._touched[owner] = None
        return memory

    def _sweep(self, emit: Emit) -> None:
        now = min(self._now_micros, clock.now_micros())
        for page_id, (owner, at) in list(self._closed.items())[:_SWEPT_AT_ONCE]:
            if at < now - KEPT_MICROS:
                del self._closed[page_id]
                self._pages.get(owner, {}).pop(page_id, None)
                emit(topics.PAGES, page_id.encode(), None)
                emit(topics.PAGES, f"{page_id}/deliveries".encode(), None)
                self._log(emit, f"{owner}/{page_id}", None)
        for owner, at in list(self._touched_at.items())[:_SWEPT_AT_ONCE]:
            if at < now - IDLE_MICROS and not self._pages.get(owner):
                for kept in (self._touched_at, self._cold, self._hot, self._pages):
                    kept.pop(owner, None)
                self._log(emit, owner, None)

    def _send(self, arrived: _Arrived, sent: list[dict[str, Any]], emit: Emit) -> None:
        value = events.batch(
            sent,
            tenant_id=arrived.tenant_id,
            tenant_pseudonym=arrived.pseudonym,
            agent_id=arrived.agent_id,
            key_id=SYSTEM,
            at_micros=arrived.at_micros,
        )
        # The evaluator writes to the partition that it reads from, so this is where the agent's events come in.
        emit(topics.BATCHES, arrived.agent_id.encode(), value, partition=self._partition)

    def _log(self, emit: Emit, key: str, value: bytes | None) -> None:
        emit(topics.PAGING_STATE, key.encode(), value, partition=self._partition)


_Handler = Callable[[Watch, AgentMemory, _Arrived, Event, bytes | None, Emit], None]
_CONCERNED: Final[Mapping[str, _Handler]] = {
    "tool_call": Watch._called,
    "session_start": Watch._began,
    "session_end": Watch._ended,
    events.TYPE: Watch._acted,
    "erasure": Watch._erased,
}
