"""Copies `pages` to the ClickHouse table of that name, at least once; the table makes that exactly once.

A row's version is the offset of the latest record that it reflects: a record that is read again, after a crash,
is one that its row has already. Two kinds of records make a row (the page, and what became of sending it), so
the row as it stands is read before it is replaced.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, Protocol

from pactstream.errors import InvalidInput
from pactstream.kafka import topics
from pactstream.kafka.copier import Copier
from pactstream.kafka.records import Record
from pactstream.paging.records import Page, PageDeliveries, decode_page
from pactstream.settings import KafkaSettings

GROUP: Final = "page-projector"
COLUMNS: Final = (
    "tenant_id",
    "page_id",
    "agent_id",
    "pact_id",
    "pact_version",
    "rule",
    "param_path",
    "severity",
    "tool",
    "session_id",
    "status",
    "resolution",
    "occurrences",
    "opened_at",
    "last_at",
    "updated_at",
    "event_id",
    "last_event_id",
    "violations",
    "recent_calls",
    "history",
    "deliveries",
    "version",
)

_STANDING = """
SELECT toString(page_id), deliveries, version FROM pages FINAL WHERE page_id IN {ids:Array(UUID)}
"""
_TIMES: Final = ("opened_at", "last_at", "updated_at")
_SHOWN = (f"toUnixTimestamp64Micro({name})" if name in _TIMES else name for name in COLUMNS[:-2])
_NOW = f"SELECT {', '.join(_SHOWN)} FROM pages FINAL WHERE page_id = {{id:UUID}}"  # noqa: S608 - our own names
_MAX_RECORDS = 500
_WAIT_SECONDS = 0.2
_log = logging.getLogger(__name__)
_Row = tuple[Any, ...]


class Database(Protocol):
    """What is needed of ClickHouse."""

    def rows(  # noqa: D102
        self, sql: str, parameters: Any = None, *, formats: Any = None
    ) -> Sequence[Sequence[Any]]: ...

    def insert(self, table: str, columns: Sequence[str], rows: Any) -> None: ...  # noqa: D102


Read = tuple[int, Page | PageDeliveries]  # offset and what stands there


def project(database: Database, records: Iterable[Read]) -> int:
    """Bring the table up to these records, in order; how many rows that took. Raises as `ClickHouse`."""
    by_page: dict[str, list[Read]] = {}
    for offset, record in records:
        by_page.setdefault(record.page_id, []).append((offset, record))
    if not by_page:
        return 0
    standing = {
        page_id: (deliveries, version)
        for page_id, deliveries, version in database.rows(_STANDING, {"ids": list(by_page)})
    }
    rows = []
    for page_id, read in by_page.items():
        deliveries, version = standing.get(page_id, ("[]", -1))
        row = _row(database, [one for one in read if one[0] > version], deliveries)
        if row is not None:
            rows.append(row)
    if rows:
        database.insert("pages", COLUMNS, rows)
    return len(rows)


def _row(database: Database, read: list[Read], standing: str) -> _Row | None:
    """The row with what is new; None where nothing is, or nothing is known of the page."""
    if not read:
        return None
    pages = [record for _, record in read if isinstance(record, Page)]
    outcomes = {one["route"]: one for one in json.loads(standing)}
    for _, record in read:
        if isinstance(record, PageDeliveries):
            outcomes |= {
                one.route: {
                    "route": one.route,
                    "kind": one.kind,
                    "state": one.state,
                    "attempts": one.attempts,
                    "error": one.error,
                }
                for one in record.deliveries
            }
    if pages:
        fields = _fields(pages[-1])
    else:
        found = database.rows(_NOW, {"id": read[0][1].page_id}, formats={"UUID": "string"})
        if not found:
            return None
        fields = tuple(found[0])
    return (*fields, json.dumps(list(outcomes.values())), read[-1][0])


def _fields(page: Page) -> _Row:
    return (
        page.tenant_id,
        page.page_id,
        page.agent_id,
        page.pact_id,
        page.pact_version,
        page.rule,
        page.param_path,
        page.severity,
        page.tool,
        page.session_id,
        page.status,
        page.resolution,
        page.occurrences,
        page.created_at_micros,
        page.last_at_micros,
        page.updated_at_micros,
        page.event_id,
        page.last_event_id,
        page.violations.decode(),
        page.recent_calls.decode(),
        page.history.decode(),
    )


def projector(settings: KafkaSettings, database: Database) -> Copier:
    """The loop that copies."""

    def write(records: Sequence[Record]) -> None:
        project(database, _decoded(records))

    return Copier(settings, GROUP, topics.PAGES, write, max_records=_MAX_RECORDS, wait_seconds=_WAIT_SECONDS)


def _decoded(records: Sequence[Record]) -> Iterator[Read]:
    for record in records:
        if record.value is None:
            continue  # long closed: the table keeps it
        try:
            yield record.offset, decode_page(record.value)
        except InvalidInput as error:
            _log.error("%s: the record at offset %s is skipped: %s", GROUP, record.offset, error)
