"""The page for consumers names every topic, with the schema ids and the retention that it has."""

from __future__ import annotations

import re
from pathlib import Path

from pactstream import avro
from pactstream.kafka import topics

PAGE = Path(__file__).parents[2] / "docs" / "consumers.md"
_DAY_MS, _HOUR_MS = 86_400_000, 3_600_000


def _stated() -> dict[str, tuple[list[int], str]]:
    """Of each topic in a table: schema ids and how long a record is kept."""
    found = {}
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `"):
            ids, kept = cells[2:4] if len(cells) == 5 else cells[1:3]
            found[cells[0].strip("`")] = ([int(one) for one in ids.split(",")], kept)
    return found


def _kept(topic: topics.Topic) -> str:
    compacted = "compact" in topic.settings["cleanup.policy"]
    retention = int(topic.settings.get("retention.ms", "-1"))
    if retention == -1:
        return "compacted" if compacted else "for ever"
    unit, of = ("days", _DAY_MS) if retention >= _DAY_MS else ("hours", _HOUR_MS)
    return f"{retention // of} {unit}" + (", compacted" if compacted else "")


def test_every_topic_is_there_as_it_is() -> None:
    ids: dict[str, list[int]] = {}
    for schema in avro.registered():
        ids.setdefault(schema.subject.rsplit("-", 1)[0], []).append(schema.id)
    assert _stated() == {
        one.name: (ids[one.name], _kept(one)) for one in topics.TOPICS if not one.name.endswith(".dlq")
    }


def test_every_dead_letter_topic_is_named() -> None:
    named = set(re.findall(r"`([a-z.]+\.dlq)`", PAGE.read_text()))
    assert named == {one.name for one in topics.TOPICS if one.name.endswith(".dlq")}
