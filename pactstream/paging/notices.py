"""Notices that page nobody: to the routes of a tenant that take them, each once however often it is found.

Whoever finds that a score fell, or that an agent's behaviour drifted, finds it again at every run. That it was
told is a mark; mark and deliveries are one Kafka transaction, decided after all that was written before.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

from pactstream import canonical, clock
from pactstream.kafka import topics
from pactstream.kafka.table import Changed, Changes, Table
from pactstream.paging.records import Mark, RouteBook
from pactstream.webhooks.records import Delivery


class Notices:
    """Tells teams. `changes` covers both tables."""

    def __init__(self, changes: Changes, marks: Table[Mark], routes: RouteBook) -> None:
        self._changes = changes
        self._marks = marks
        self._routes = routes

    def send(self, tenant_id: str, title: str, body: str, links: Mapping[str, str], dedup_key: str) -> bool:
        """Have a notice delivered to the tenant's routes of severity `notice`; whether it had not been before.

        `links` are addresses by what they show; `dedup_key` says what the notice is about, within the tenant.
        Blocks. Raises `Retryable`: Kafka did not take it.
        """
        told = sha256(f"{tenant_id}\0{dedup_key}".encode()).hexdigest()[:32]
        key = f"notice/{told}"
        sent = False

        def decide() -> list[Changed]:
            nonlocal sent
            sent = self._marks.get(key) is None
            if not sent:
                return []
            now = clock.now_micros()
            notice = canonical.dumps(_notice(told, title, body, links, now))
            changed: list[Changed] = [(topics.PAGING_MARKS, key, Mark("done", tenant_id, now).encode())]
            for route in self._routes.of_tenant(tenant_id, "notice"):
                delivery = Delivery(told, route.route_id, notice, now)
                changed.append((topics.PAGE_DELIVERIES, delivery.key.decode(), delivery.encode()))
            return changed

        if self._marks.get(key) is None:
            self._changes.apply(decide)
        return sent


def _notice(told: str, title: str, body: str, links: Mapping[str, str], now_micros: int) -> dict[str, object]:
    at = clock.to_iso(now_micros)
    return {
        "type": "notice",
        "timestamp": at,
        "data": {
            "pageId": told,
            "title": title,
            "body": body,
            "severity": "notice",
            "status": "open",
            "openedAt": at,
            "links": dict(links),
        },
    }
