"""Writes the three dashboards: `python deploy/grafana/build.py`. They are committed, and a test compares.

Each panel's SQL is a file of docs/queries/, which names ClickHouse parameters. Grafana has macros instead; what
stands for which is `MACROS`, and nothing else in a query changes.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

from grafana_foundation_sdk.builders import dashboard, stat, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models.dashboard import DataSourceRef, DynamicConfigValue, Threshold, ThresholdsMode

QUERIES: Final = Path(__file__).parents[2] / "docs" / "queries"
OUTPUT: Final = Path(__file__).parent / "dashboards"
MACROS: Final = {
    "{from:DateTime}": "$__fromTime",
    "{to:DateTime}": "$__toTime",
    "{step:UInt32}": "greatest(300, intDiv($__interval_s, 300) * 300)",
}
_SOURCE: Final = DataSourceRef(type_val="grafana-clickhouse-datasource", uid="pactstream-clickhouse")
_TABLE, _TIMESERIES = 1, 0  # formats of the data source's queries
_WIDTH: Final = 24

# Of calls that a pact binds: healthy above 99.5 % valid, an incident below 99 %.
VALID_BANDS: Final = ((None, "red"), (99.0, "orange"), (99.5, "green"))
VIOLATION_BANDS: Final = ((None, "green"), (0.5, "orange"), (1.0, "red"))
ERROR_BANDS: Final = ((None, "green"), (1.0, "orange"), (5.0, "red"))
SIGNATURE_BANDS: Final = ((None, "red"), (100.0, "green"))
FRESHNESS_BANDS: Final = ((None, "green"), (5.0, "orange"), (30.0, "red"))
_Bands = tuple[tuple[float | None, str], ...]


class Query(Dataquery):
    """A query of the ClickHouse data source, which the SDK does not know: the text of a published file."""

    def __init__(self, name: str, form: int) -> None:
        self.sql = grafana_sql((QUERIES / f"{name}.sql").read_text(encoding="utf-8"))
        self.form = form

    def build(self) -> Query:
        """Itself, as the SDK's builders do."""
        return self

    def to_json(self) -> dict[str, object]:
        """The data source's own form."""
        kind = "table" if self.form == _TABLE else "timeseries"
        return {
            "refId": "A",
            "datasource": _SOURCE,
            "editorType": "sql",
            "queryType": kind,
            "format": self.form,
            "rawSql": self.sql,
        }


def grafana_sql(sql: str) -> str:
    """The query with Grafana's macros in place of its parameters.

    Raises:
        ValueError: it has a parameter that Grafana cannot fill in.
    """
    for parameter, macro in MACROS.items():
        sql = sql.replace(parameter, macro)
    if "{" in sql:
        raise ValueError(f"no macro for a parameter: {sql[sql.index('{') :][:40]}")
    return sql.strip()


def session_health() -> dashboard.Dashboard:
    """Rate, errors and duration of sessions, and the share of calls that violate a pact."""
    rows = (
        _rows("Agents", "session_health", 14)
        .override_by_name("success_percent", _column("percent"))
        .override_by_name("tool_error_percent", _column("percent", ERROR_BANDS))
        .override_by_name("violation_percent", _column("percent", VIOLATION_BANDS))
        .override_by_regexp("p[0-9]+_seconds", _column("s"))
    )
    return (
        _dashboard("session-health", "Session health")
        .with_panel(rows)
        .with_panel(_series("Sessions, errors, violations", "session_rates", 10))
    )


def pact_compliance() -> dashboard.Dashboard:
    """What share of bound calls keeps its pact, and what the others violate."""
    rows = _rows("Agents and pacts", "pact_compliance", 14).override_by_name(
        "valid_percent", _column("percent", VALID_BANDS)
    )
    for severity in ("critical", "major", "minor", "info"):
        rows = rows.override_by_name(f"{severity}_percent", _column("percent"))
    whole = (
        stat.Panel()
        .title("Valid, all pacts")
        .datasource(_SOURCE)
        .with_target(Query("compliance_of_all", _TABLE))
        .unit("percent")
        .decimals(3)
        .thresholds(_thresholds(VALID_BANDS))
        .height(10)
        .span(6)
    )
    return (
        _dashboard("pact-compliance", "Pact compliance")
        .with_panel(whole)
        .with_panel(_series("Compliance and violations", "compliance_over_time", 10, span=_WIDTH - 6))
        .with_panel(rows)
    )


def oracle_health() -> dashboard.Dashboard:
    """What counterparties get: rate, latency, signatures that hold, freshness."""
    rows = (
        _rows("Processes of the oracle", "oracle_health", 10)
        .override_by_name("queries_a_second", _column("reqps"))
        .override_by_regexp("p[0-9]+_seconds", _column("s"))
        .override_by_name("failed_percent", _column("percent", ERROR_BANDS))
        .override_by_name("signatures_held_percent", _column("percent", SIGNATURE_BANDS))
        .override_by_name("freshness_seconds", _column("s", FRESHNESS_BANDS))
    )
    return (
        _dashboard("oracle-health", "Oracle health")
        .with_panel(rows)
        .with_panel(_series("Queries, failures, signatures, freshness", "oracle_over_time", 12))
    )


DASHBOARDS: Final = (session_health, pact_compliance, oracle_health)


def files() -> dict[Path, str]:
    """Each file, and what it should hold."""
    built = [one().build() for one in DASHBOARDS]
    for panel in (panel for one in built for panel in one.panels or ()):
        panel.options = panel.options or {}  # or the SDK writes null
    return {
        OUTPUT / f"{one.uid}.json": JSONEncoder(sort_keys=True, indent=2).encode(one) + "\n" for one in built
    }


def _dashboard(name: str, title: str) -> dashboard.Dashboard:
    return (
        dashboard.Dashboard(f"Pactstream: {title}")
        .uid(f"pactstream-{name}")
        .tags(["pactstream"])
        .time("now-24h", "now")
        .timezone("utc")
        .refresh("1m")
        .readonly()
    )


def _rows(title: str, query: str, height: int) -> table.Panel:
    return (
        table.Panel()
        .title(title)
        .datasource(_SOURCE)
        .with_target(Query(query, _TABLE))
        .decimals(2)
        .no_value("–")
        .height(height)
        .span(_WIDTH)
    )


def _series(title: str, query: str, height: int, span: int = _WIDTH) -> timeseries.Panel:
    return (
        timeseries.Panel()
        .title(title)
        .datasource(_SOURCE)
        .with_target(Query(query, _TIMESERIES))
        .interval("5m")
        .height(height)
        .span(span)
    )


def _column(unit: str, bands: _Bands = ()) -> list[DynamicConfigValue]:
    properties: list[tuple[str, Any]] = [("unit", unit)]
    if bands:
        steps = [{"value": at, "color": color} for at, color in bands]
        properties += [
            ("thresholds", {"mode": "absolute", "steps": steps}),
            ("custom.cellOptions", {"type": "color-background"}),
        ]
    return [DynamicConfigValue(id_val=name, value=value) for name, value in properties]


def _thresholds(bands: _Bands) -> dashboard.ThresholdsConfig:
    steps = [Threshold(value=at, color=color) for at, color in bands]
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")
        sys.stdout.write(f"{path.name}\n")
