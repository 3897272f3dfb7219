"""`docs/settings.md` is what the settings classes say."""

from __future__ import annotations

from pactstream.settings import PREFIX
from tests.settings_table import CLASSES, PAGE, page


def test_the_page_is_current() -> None:
    stale = "docs/settings.md is out of date: run python -m tests.settings_table"
    assert PAGE.read_text(encoding="utf-8") == page(), stale


def test_every_variable_has_one_row_with_a_meaning() -> None:
    rows = [line.split("|") for line in page().splitlines() if line.startswith(f"| `{PREFIX}")]
    names = [row[1].strip().strip("`") for row in rows]
    assert len(names) == len(set(names))
    assert {PREFIX + name.upper() for cls in CLASSES for name in cls.model_fields} <= set(names)
    assert all(len(row[-2].strip()) > 3 for row in rows)
