"""The committed dashboards are what `deploy/grafana/build.py` makes, of the published queries alone."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

_ROOT = Path(__file__).parents[2]
_QUERIES = _ROOT / "docs" / "queries"


@pytest.fixture(scope="module")
def build() -> ModuleType:
    """The script, which no Python imports otherwise."""
    spec = importlib.util.spec_from_file_location("grafana_build", _ROOT / "deploy" / "grafana" / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def dashboards() -> dict[str, dict[str, Any]]:
    directory = _ROOT / "deploy" / "grafana" / "dashboards"
    return {path.name: json.loads(path.read_text(encoding="utf-8")) for path in directory.glob("*.json")}


def test_they_are_current(build: ModuleType) -> None:
    wanted = build.files()
    assert {path.name for path in wanted} == dashboards().keys()
    for path, text in wanted.items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name}: run python deploy/grafana/build.py"


def test_each_panel_asks_what_is_published(build: ModuleType) -> None:
    published = {
        build.grafana_sql(path.read_text(encoding="utf-8"))
        for path in _QUERIES.glob("*.sql")
        if "{agent:" not in (text := path.read_text(encoding="utf-8"))
        and "{event:" not in text
        and "{hours:" not in text
    }
    sources = (_ROOT / "deploy/grafana/provisioning/datasources/clickhouse.yml").read_text(encoding="utf-8")
    for name, one in dashboards().items():
        assert one["panels"], name
        for panel in one["panels"]:
            (target,) = panel["targets"]
            assert target["rawSql"] in published, (name, panel["title"])
            assert f"uid: {panel['datasource']['uid']}\n" in sources


def test_columns_and_bands_are_those_that_were_promised() -> None:
    columns = {
        "session_health": "sessions_a_minute success_percent p50_seconds p95_seconds p99_seconds "
        "tool_error_percent violation_percent",
        "pact_compliance": "bound_calls valid_percent critical_percent major_percent minor_percent "
        "info_percent top_paths",
        "oracle_health": "queries_a_second p99_seconds signatures_held_percent freshness_seconds",
    }
    for name, wanted in columns.items():
        sql = (_QUERIES / f"{name}.sql").read_text(encoding="utf-8")
        assert [one for one in wanted.split() if one not in sql] == []
    text = json.dumps(dashboards()["pactstream-pact-compliance.json"])
    bands = [("red", None), ("orange", 99.0), ("green", 99.5)]
    steps = json.dumps([{"color": color, "value": value} for color, value in bands])
    assert text.count(steps) == 2  # the whole, and each row


def test_a_parameter_that_grafana_cannot_fill_in_is_refused(build: ModuleType) -> None:
    with pytest.raises(ValueError, match="no macro"):
        build.grafana_sql("SELECT {agent:UUID}")
