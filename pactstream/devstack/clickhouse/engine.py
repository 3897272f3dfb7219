"""Runs one request on the embedded engine.

Every request opens its own connection (0.4 ms): connections run in parallel, settings and the current database
end with it, and the output of a failed query, which the engine hands to the connection's next one, cannot leak.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from pactstream.devstack.clickhouse.errors import Refused
from pactstream.devstack.clickhouse.statement import Statement

# The engine takes its time zone from the environment as it loads: UTC, as in ClickHouse's own image.
os.environ["TZ"] = "UTC"
import chdb

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# The engine is built for notebooks; a server does not take a bare expression for a SELECT.
_DEFAULTS = {"implicit_select": "0"}
# Where `BACKUP … TO File('…')` may write, and nowhere else.
_CONFIG = "<clickhouse><backups><allowed_path>{backups}</allowed_path></backups></clickhouse>"
BACKUPS = "backups"
"""Below the data directory."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A result in `output_format` (None: the statement has no result) and ClickHouse's counters."""

    body: bytes
    output_format: str | None
    counters: Mapping[str, int]


class Engine:
    """The engine of one data directory; at most one process may hold it."""

    def __init__(self, data_dir: Path) -> None:
        data_dir.mkdir(parents=True, exist_ok=True)
        config = data_dir / "config.xml"
        config.write_text(_CONFIG.format(backups=escape(str(data_dir / BACKUPS))))
        self._path = f"{data_dir}?config-file={config}"
        self._keep_open = chdb.connect(self._path)  # the engine lives as long as one connection does
        zone, version = self._keep_open.query("SELECT timezone(), version()", "TSV").bytes().decode().split()
        self.timezone = zone
        self.version = version

    def close(self) -> None:
        """Close the engine, which writes out what it holds in memory."""
        self._keep_open.close()

    def run(
        self, statement: Statement, *, database: str | None, settings: Mapping[str, str], default_format: str
    ) -> Answer:
        """Run one statement under these settings, query parameters among them as `param_<name>`.

        Raises `Refused`, also for a setting that the engine does not know.
        """
        try:
            with closing(chdb.connect(self._path)) as connection:
                if database:
                    connection.query(f"USE {_quote(database, '`')}")
                connection.query(_set_clause({**_DEFAULTS, **settings}))
                if statement.data_format is None:
                    return _query(connection, statement, default_format)
                return _insert(connection, statement)
        except RuntimeError as error:  # chdb's error class is one, and its inserter raises bare ones
            raise Refused.by_engine(str(error)) from error


def _query(connection: Any, statement: Statement, default_format: str) -> Answer:
    if statement.output_format is not None:
        result = connection.query(statement.sql, default_format)
        return Answer(result.bytes(), statement.output_format, _counters(result))
    if default_format != "TabSeparated":
        result = connection.query(statement.sql, default_format)
        return Answer(result.bytes(), default_format, _counters(result))
    # A statement without a result yields no names either; an empty result does.
    result = connection.query(statement.sql, "TabSeparatedWithNames")
    names, _newline, body = result.bytes().partition(b"\n")
    return Answer(body, default_format if names else None, _counters(result))


def _insert(connection: Any, statement: Statement) -> Answer:
    with connection.send_insert(statement.sql.decode(), statement.data_format) as inserter:
        inserter.append(statement.data)
        # A crash before this leaves nothing; after it, the whole part and its deduplication token.
        result = inserter.finish()
    counters = {
        "written_rows": result.rows_written,
        "written_bytes": result.bytes_written,
        "elapsed_ns": int(result.elapsed * 1e9),
    }
    return Answer(b"", None, counters)


def _counters(result: Any) -> dict[str, int]:
    return {
        "read_rows": result.storage_rows_read(),
        "read_bytes": result.storage_bytes_read(),
        "written_rows": result.rows_written(),
        "written_bytes": result.bytes_written(),
        "result_rows": result.rows_read(),
        "result_bytes": result.bytes_read(),
        "elapsed_ns": int(result.elapsed() * 1e9),
    }


def _set_clause(settings: Mapping[str, str]) -> str:
    for name in settings:
        if not _NAME.fullmatch(name):
            raise Refused.by_interface(115, "UNKNOWN_SETTING", f"Unknown setting {name!r}")
    quote = "'"
    return "SET " + ", ".join(f"{name} = {_quote(value, quote)}" for name, value in settings.items())


def _quote(text: str, quote: str) -> str:
    escaped = text.replace("\\", "\\\\").replace(quote, "\\" + quote)
    return f"{quote}{escaped}{quote}"
