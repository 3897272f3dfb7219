"""What docs/capacity.md shows is what `pactstream plan` prints; its costs are of the topics that there are."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pactstream.capacity import costs
from pactstream.kafka import topics
from tests.cli_tools import runner

PAGE = Path(__file__).parents[2] / "docs" / "capacity.md"
EXAMPLE = re.compile(r"```console\n\$ pactstream (plan [^\n]*)\n(.*?)```", re.DOTALL)
EXAMPLES = EXAMPLE.findall(PAGE.read_text(encoding="utf-8"))
DAY_MS = 86_400_000


@pytest.mark.parametrize(("command", "shown"), EXAMPLES, ids=[command for command, _ in EXAMPLES])
def test_the_page_shows_what_is_printed(
    command: str, shown: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = runner(monkeypatch, capsys)(*command.split())
    assert ran.code == 0
    printed = [line.rstrip() for line in ran.out.splitlines()]
    assert shown.splitlines() == printed


def test_there_are_examples_of_a_thousand_to_a_million_events() -> None:
    assert [command.split()[2] for command, _ in EXAMPLES] == ["1000", "100000", "1000000"]


def test_json_says_the_same(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    ran = runner(monkeypatch, capsys)("plan", "--events-per-second", 1_000, "--agents", 1_000, "--json")
    found = json.loads(ran.out)
    assert found["wanted"] == {"events_per_second": 1_000.0, "agents": 1_000, "retention_days": 365}
    assert found["partitions"] == 12
    assert {one["store"] for one in found["disks"]} == {"kafka", "clickhouse", "files"}


@pytest.mark.parametrize("retention", ["forever", "12", "0d"])
def test_what_is_no_time_is_refused(
    retention: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = runner(monkeypatch, capsys)("plan", "--events-per-second", 1, "--agents", 1, "--retention", retention)
    assert (ran.code, "is not a duration" in ran.err) == (3, True)


def test_topics_are_kept_as_long_as_the_plan_says() -> None:
    settings = {one.name: one.settings for one in topics.TOPICS}
    for topic, days in costs.TOPIC_DAYS.items():
        assert settings[topic]["retention.ms"] == str(days * DAY_MS), topic
    for topic in costs.STATE_BYTES:
        assert settings[topic]["cleanup.policy"] == "compact", topic
    assert costs.TOPIC_BYTES.keys() == costs.TOPIC_DAYS.keys() == costs.READERS.keys()
    assert costs.STATE_BYTES.keys() == costs.STATE_WRITTEN.keys()


def test_every_cost_says_where_it_comes_from() -> None:
    found = [
        one
        for value in vars(costs).values()
        for one in (value.values() if isinstance(value, dict) else [value])
    ]
    measured = [one for one in found if isinstance(one, costs.Cost)]
    assert len(measured) > 25
    assert all(one.value > 0 and one.source for one in measured)
