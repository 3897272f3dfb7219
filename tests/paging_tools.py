"""The evaluator and paging's watch without Kafka, each fed with what the other writes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from evaluator_worker.paging.telling import Addresses, Teller
from evaluator_worker.paging.watch import Watch
from evaluator_worker.task import EvaluatorTask
from pactstream import avro
from pactstream.kafka import topics
from pactstream.kafka.records import Record
from pactstream.pacts.loosen import demanded
from pactstream.paging import events
from pactstream.paging.keys import PagingKeys
from pactstream.paging.records import Action, Page, Route, decode_page
from pactstream.webhooks.records import Delivery, decode_delivery
from tests.evaluator_tools import AGENT, DOCUMENT, HOUR, PACT, Written, record, task

TENANT = "t"
KEYS = PagingKeys(b"k" * 32)
ADDRESSES = Addresses("https://gateway.example", "https://oracle.example", "https://console.example")


def route(route_id: str = "r-1", kind: str = "webhook", **changes: Any) -> Route:
    """A route of the tests' tenant."""
    fields = {
        "route_id": route_id,
        "tenant_id": TENANT,
        "kind": kind,
        "name": "team",
        "severities": ("critical",),
        "url": "https://hooks.example/x",
        "to": (),
        "secret": b"",
        "created_at_micros": 1,
        "updated_at_micros": 1,
    }
    return Route(**fields | changes)  # type: ignore[arg-type]


@dataclass
class Routes:
    """A `RouteBook`."""

    listed: list[Route] = field(default_factory=lambda: [route()])

    def of_tenant(self, tenant_id: str, severity: str | None = None) -> list[Route]:
        return [
            one for one in self.listed if one.tenant_id == tenant_id and severity in (None, *one.severities)
        ]


@dataclass
class Paging:
    """Both tasks of one partition, and all that the watch wrote."""

    routes: Routes = field(default_factory=Routes)
    fallback: bool = False
    max_age_micros: int | None = None
    written: Written = field(default_factory=Written)
    ledger: Written = field(default_factory=Written)
    evaluator: EvaluatorTask = field(default_factory=task)
    watch: Watch = field(init=False)
    offset: int = 0

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """A new task, with what the changelog holds."""
        teller = Teller(self.routes, KEYS, ADDRESSES, 3_600, lambda *_: "Atlas", self.fallback)
        self.watch = Watch(3, _expected, teller, max_age_micros=self.max_age_micros)
        newest = dict(self.written.of(topics.PAGING_STATE))
        for key, value in self.written.of(topics.PAGING_STATE):
            if newest.get(key) == value:
                self.watch.restore(key, value)

    def send(self, *sent: dict[str, Any], received: int = HOUR, tenant: str = TENANT) -> None:
        """Events come in, as one batch; what follows from them goes round until nothing more does."""
        batch = avro.decode_as("TelemetryBatch", record(*sent, received=received).value)
        self._round(avro.encode("TelemetryBatch", batch | {"tenant_id": tenant}))

    def act(self, page: Page, action: Action, *, by: str = "key/1", reason: str | None = None) -> None:
        """Somebody does something with a page."""
        event_id = events.action_id(page, action, by)
        event = events.page_event(page, action, event_id=event_id, by=by, reason=reason, at_micros=HOUR)
        self.send(event)

    def pages(self) -> list[Page]:
        """Each page as it stands, in order of opening."""
        newest: dict[str, Page] = {}
        for _, value in self.written.of(topics.PAGES):
            if value is not None:
                found = decode_page(value)
                if isinstance(found, Page):
                    newest[found.page_id] = found
        return list(newest.values())

    def deliveries(self) -> list[Delivery]:
        """Every delivery that was written."""
        return [decode_delivery(value or b"") for _, value in self.written.of(topics.PAGE_DELIVERIES)]

    def told(self) -> list[str]:
        """What they tell."""
        return [json.loads(one.body)["type"] for one in self.deliveries()]

    def _round(self, batch: bytes) -> None:
        waiting = [batch]
        while waiting:
            evaluated, written = Written(), Written()
            value = waiting.pop(0)
            self.evaluator.process(
                Record("telemetry.batches", 3, self.offset, AGENT.encode(), value), evaluated
            )
            self.offset += 1
            self.ledger.records += evaluated.records
            for key, judged in evaluated.of(topics.EVALUATED):
                self.watch.process(Record("telemetry.evaluated", 3, self.offset, key, judged), written)
            self.watch.flush(written)
            self.written.records += written.records
            waiting += [value for _, value in written.of(topics.BATCHES) if value is not None]


def _expected(pact_id: str, version: int, param_path: str, rule: str, tool: str | None) -> Any:
    assert (pact_id, version) == (PACT, 1)
    return demanded(DOCUMENT, param_path=param_path, rule=rule, tool=tool)
