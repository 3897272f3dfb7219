"""The migrations as files: how they are split, and what every one of them must keep to."""

from __future__ import annotations

import re

import pytest

from pactstream.clickhouse.migrate import packaged, statements

_REPEATABLE = re.compile(
    r"CREATE (TABLE|VIEW|MATERIALIZED VIEW|DICTIONARY) IF NOT EXISTS |"
    r"ALTER TABLE \S+ (ADD|DROP) (COLUMN|INDEX|PROJECTION) IF (NOT )?EXISTS |"
    r"ALTER TABLE \S+ (MODIFY|COMMENT) |"
    r"ALTER TABLE \S+ MATERIALIZE PROJECTION IF EXISTS |"
    r"DROP (TABLE|VIEW) IF EXISTS |"
    r"INSERT INTO latest_scores "  # a ReplacingMergeTree: a row inserted again replaces itself
)


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("", []),
        (";;\n ; -- nothing;\n", []),
        ("SELECT 1", ["SELECT 1"]),
        ("SELECT 1; SELECT 2;", ["SELECT 1", "SELECT 2"]),
        ("SELECT ';', 'it''s; \\'; ok' ; SELECT `a;b`", ["SELECT ';', 'it''s; \\'; ok'", "SELECT `a;b`"]),
        ('SELECT 1 -- a; b\n, 2; /* c; d */ SELECT "x;y"', ["SELECT 1   , 2", 'SELECT "x;y"']),
        ("SELECT '-- no comment; /* none */'", ["SELECT '-- no comment; /* none */'"]),
        ("/* a\n; b */ SELECT\n1", ["SELECT 1"]),
    ],
)
def test_statements_end_at_semicolons_outside_text_and_comments(sql: str, expected: list[str]) -> None:
    assert statements(sql) == expected


def test_every_packaged_statement_can_be_repeated() -> None:
    """A run that crashed between a statement and its record does it again; so do two runs at once."""
    every = [statement for one in packaged() for statement in statements(one.sql)]
    assert len(every) >= 5
    assert [one for one in every if not _REPEATABLE.match(one)] == []
