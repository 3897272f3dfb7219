"""Copies pact versions into the table `pacts`, each once."""

from __future__ import annotations

import logging

from ledger_sealer import metrics
from pactstream.clickhouse.client import ClickHouse
from pactstream.control import pacts
from pactstream.errors import InvalidInput

_COLUMNS = (
    "pact_id",
    "version",
    "tenant_id",
    "agent_id",
    "name",
    "hash",
    "document",
    "created_at",
    "created_by",
)
_PRESENT = "SELECT count() FROM pacts WHERE pact_id = {pact_id:UUID} AND version = {version:UInt32}"

_log = logging.getLogger(__name__)


def project(database: ClickHouse, value: bytes | None) -> None:
    """Write one record of the topic `pacts`, unless the table has that version. A deletion changes nothing.

    Raises:
        Retryable: ClickHouse does not answer.
        Fatal: there is no such table.
    """
    if value is None:
        return
    try:
        version = pacts.decode(value)
        key = {"pact_id": version.pact_id, "version": version.version}
        if database.rows(_PRESENT, key) != [(0,)]:
            return
        row = (
            version.pact_id,
            version.version,
            version.tenant_id,
            version.agent_id,
            version.name,
            bytes.fromhex(version.hash),
            version.document,
            version.created_at_micros,
            version.created_by,
        )
        # The token, for two processes that both saw no row.
        database.insert("pacts", _COLUMNS, [row], token=f"{version.key}/pacts")
    except (InvalidInput, ValueError) as error:
        metrics.SKIPPED_PACTS.inc()
        _log.error("a record of the topic pacts is skipped: %s", error)
        return
    metrics.PACTS.inc()
