"""Finds the files of `schemas/`: inside the package in a wheel, at the top of the tree in a checkout."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path


@cache
def root() -> Traversable:
    """The folder that holds `registry.json`, `avro/`, `templates/` and `pact.schema.json`."""
    packaged = files("pactstream") / "schemas"
    if packaged.is_dir():
        return packaged
    return Path(__file__).parent.parent / "schemas"


def read_text(name: str) -> str:
    """The text of one file, by its path below `schemas/`.

    Raises:
        OSError: there is no such file.
    """
    return root().joinpath(*name.split("/")).read_text("utf-8")
