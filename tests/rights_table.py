"""The table of Kafka rights in `docs/secured.md`: `python -m tests.rights_table` writes it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pactstream.kafka.rights import RIGHTS, USER_PREFIX

PAGE = Path(__file__).parents[1] / "docs" / "secured.md"
_HEAD = "| user | reads | writes | groups | transactional ids |\n|---|---|---|---|---|\n"


def table() -> str:
    """One row a user."""
    rows = []
    for service, rights in RIGHTS.items():
        looked_at = f"looks at {_code(rights.describes)}" if rights.describes else ""
        cells = (
            f"`{USER_PREFIX}{service}`",
            _code(rights.reads),
            _code(rights.writes),
            _code(rights.groups) or looked_at,
            _code(f"{one}*" for one in rights.transactions),
        )
        rows.append(f"| {' | '.join(cells)} |\n")
    return _HEAD + "".join(rows)


def page(text: str) -> str:
    """The page with the table in its place."""
    before, _, rest = text.partition(_HEAD)
    after = rest[rest.index("\n\n") + 1 :]
    return before + table() + after


def _code(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
