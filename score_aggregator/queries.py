"""The published SQL that nightly scores are made with, shipped as files in `sql/`."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def sql(name: str) -> str:
    """The text of `sql/<name>.sql`."""
    return files("score_aggregator").joinpath("sql", f"{name}.sql").read_text("utf-8")
