"""The closed list of metrics: what processes register, what the page says, what labels may hold."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pactstream.metric_kinds import LABELS, PROCESSES
from pactstream.metric_list import METRICS
from tests.metrics_page import PAGE, page

_ROOT = Path(__file__).parents[2]
_SOURCES = sorted({"pactstream", *(module.partition(".")[0] for module in PROCESSES.values())})
# A process of its own each: in this one, every service has registered its own already.
_REGISTERED = """
import importlib, json, sys
importlib.import_module(sys.argv[1])
from prometheus_client import REGISTRY
found = []
for one in REGISTRY.collect():
    if not one.name.startswith(("python_", "process_")):
        found.append(one.name + ("_total" if one.type == "counter" else ""))
print(json.dumps(found))
"""
_PRIVATE = {"tenant", "agent", "session", "pact", "event", "key", "instance", "tool", "path"}


@pytest.mark.parametrize("process", PROCESSES)
def test_a_process_exports_what_the_list_says_of_it_and_nothing_else(process: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _REGISTERED, PROCESSES[process]],
        capture_output=True,
        text=True,
        check=True,
        cwd=_ROOT,
    )
    listed = {one.name for one in METRICS.values() if process in one.processes}
    assert set(json.loads(done.stdout)) == listed


def test_no_other_module_makes_metrics() -> None:
    made = [
        str(path.relative_to(_ROOT))
        for name in _SOURCES
        for path in (_ROOT / name).rglob("*.py")
        if "from prometheus_client import" in (text := path.read_text(encoding="utf-8"))
        and any(f"{kind}(" in text for kind in ("Counter", "Gauge", "Histogram", "Summary"))
    ]
    assert made == ["pactstream/metrics.py"]


def test_the_page_is_current() -> None:
    stale = "docs/metrics.md is out of date: run python -m tests.metrics_page"
    assert PAGE.read_text(encoding="utf-8") == page(), stale


def test_names_units_and_labels_are_as_prometheus_wants_them() -> None:
    for one in METRICS.values():
        assert one.name.startswith("pactstream_")
        assert one.name.endswith("_total") == (one.kind == "counter"), one.name
        if one.unit in {"seconds", "bytes"} and one.kind != "counter":
            assert one.name.endswith(f"_{one.unit}"), one.name
        assert one.meaning.endswith("."), one.name
        assert set(one.processes) <= PROCESSES.keys(), one.name
        assert set(one.labels) <= LABELS.keys() - _PRIVATE, one.name
    assert {label for one in METRICS.values() for label in one.labels} == LABELS.keys()
