"""Alert rules: checked and made to fire by promtool, about metrics that exist, with a runbook each."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from pactstream.metric_kinds import PROCESSES
from pactstream.metric_list import METRICS

_ROOT = Path(__file__).parents[2]
_DIRECTORY = _ROOT / "deploy" / "prometheus"
_RUNBOOKS = _ROOT / "docs" / "runbooks"
_RULES = (_DIRECTORY / "rules" / "pactstream.yml").read_text(encoding="utf-8")
_TESTS = ("rules_test.yml", "rules_night_test.yml")
_ALERTS = re.findall(r"- alert: (\w+)", _RULES)


@pytest.mark.parametrize(
    "command",
    [
        ("promtool", "check", "rules", "rules/pactstream.yml"),
        ("promtool", "test", "rules", *_TESTS),
        ("promtool", "check", "config", "prometheus.yml"),
        ("promtool", "check", "config", "compose.yml"),
        ("amtool", "check-config", "alertmanager.yml"),
    ],
    ids=" ".join,
)
def test_the_tools_find_nothing(command: tuple[str, ...]) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed: apt-get install prometheus prometheus-alertmanager")
    done = subprocess.run(command, cwd=_DIRECTORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_is_made_to_fire_and_is_silent_otherwise() -> None:
    tests = "".join((_DIRECTORY / name).read_text(encoding="utf-8") for name in _TESTS)
    assert len(_ALERTS) == len(set(_ALERTS)) > 15
    for alert in _ALERTS:
        assert f'ALERTS{{alertname="{alert}", alertstate="firing", severity=' in tests, alert
    assert tests.count("exp_samples: []") == 2


def test_rules_are_about_metrics_of_the_list() -> None:
    named = set(re.findall(r"\bpactstream_\w+", _RULES))
    histograms = {one.name for one in METRICS.values() if one.kind == "histogram"}
    series = METRICS.keys() | {f"{name}_bucket" for name in histograms}
    assert named
    assert named <= series


def test_each_alert_has_a_runbook_and_the_other_way_round() -> None:
    pages = {path.stem for path in _RUNBOOKS.glob("*.md")} - {"README"}
    assert pages == {alert.removeprefix("Pactstream") for alert in _ALERTS}
    index = (_RUNBOOKS / "README.md").read_text(encoding="utf-8")
    for page in pages:
        assert f"runbook_url: docs/runbooks/{page}.md\n" in _RULES
        assert f"[{page}]({page}.md)" in index
        text = (_RUNBOOKS / f"{page}.md").read_text(encoding="utf-8")
        headings = ["What it means", "What to look at", "What to do"]
        assert re.findall(r"^## (.+)$", text, re.MULTILINE) == headings, page


def test_every_process_is_scraped_and_watched() -> None:
    scraped = (_DIRECTORY / "prometheus.yml").read_text(encoding="utf-8")
    assert set(re.findall(r"job_name: (\w+)", scraped)) == PROCESSES.keys()
    ports = re.findall(r"127\.0\.0\.1:((?:91|80)\d\d)", scraped)
    assert len(ports) == len(set(ports)) == len(PROCESSES)
    settings = (_ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    for port in ports:
        assert f"| `{port}` |" in settings, port
    # The latter run only where they are wanted, and are missed where they ran.
    always, wanted = (set(one.split("|")) for one in re.findall(r'up\{job=~"([\w|]+)"\} == 0', _RULES))
    assert always | wanted == PROCESSES.keys()
    assert wanted == {"otlp", "external", "sidecar"}
