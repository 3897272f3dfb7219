from __future__ import annotations

import pytest

from pactstream.devstack.clickhouse.errors import Refused
from pactstream.devstack.clickhouse.statement import split


@pytest.mark.parametrize(
    ("text", "sql", "data_format", "data"),
    [
        (b"INSERT INTO t FORMAT Native\n\x01\x02\n", b"INSERT INTO t ", "Native", b"\x01\x02\n"),
        (b"insert into t (a, b) format CSV 1,2\n", b"insert into t (a, b) ", "CSV", b"1,2\n"),
        (b"INSERT INTO t FORMAT TSV\n\n1\n", b"INSERT INTO t ", "TSV", b"\n1\n"),
        (b"INSERT INTO t SETTINGS a=1 FORMAT TSV\r\n1", b"INSERT INTO t SETTINGS a=1 ", "TSV", b"1"),
        (
            b"INSERT INTO `FORMAT x` (`format`) FORMAT TSV\n1",
            b"INSERT INTO `FORMAT x` (`format`) ",
            "TSV",
            b"1",
        ),
        (b"INSERT INTO t (format) FORMAT TSV\n1", b"INSERT INTO t (format) ", "TSV", b"1"),
        (b"/* FORMAT a */ -- FORMAT b\nINSERT INTO t FORMAT TSV\n1", None, "TSV", b"1"),
        (b"INSERT INTO t FORMAT Native", b"INSERT INTO t ", "Native", b""),
        (b'INSERT INTO t FORMAT JSONEachRow {"a": "; FORMAT x"}', None, "JSONEachRow", b'{"a": "; FORMAT x"}'),
    ],
)
def test_an_insert_is_split_from_its_data(
    text: bytes, sql: bytes | None, data_format: str, data: bytes
) -> None:
    statement = split(text)
    assert (statement.data_format, statement.data) == (data_format, data)
    assert statement.sql == (sql if sql is not None else text[: text.rindex(b"FORMAT " + data_format.encode())])
    assert statement.output_format is None


@pytest.mark.parametrize(
    "text",
    [
        b"INSERT INTO t VALUES (1, 'a; FORMAT CSV b')",
        b"INSERT INTO t FORMAT Values (1)",
        b"INSERT INTO t SELECT number FROM numbers(3)",
        b"INSERT INTO t FROM INFILE 'f' FORMAT CSV",
        b"CREATE TABLE t (format String) ENGINE = Memory;",
        b"SELECT 'it''s; FORMAT JSON'",
        b"SELECT 'a\\'; FORMAT JSON'",
        b"",
        b"   ",
    ],
)
def test_everything_else_is_whole(text: bytes) -> None:
    statement = split(text)
    assert (statement.sql, statement.data_format, statement.data) == (text, None, b"")


@pytest.mark.parametrize(
    ("text", "output_format"),
    [
        (b"SELECT 1 FORMAT JSON", "JSON"),
        (b"SELECT 1\n format  Native ;", "Native"),
        (b"SELECT 1 FORMAT CSV SETTINGS max_threads = 1", "CSV"),
        (b"SELECT (SELECT 1 FORMAT CSV)", None),
        (b"SELECT formatDateTime(now(), '%Y') AS format", None),
    ],
)
def test_a_query_names_its_output_format(text: bytes, output_format: str | None) -> None:
    assert split(text).output_format == output_format


@pytest.mark.parametrize(
    "text", [b"SELECT 1; SELECT 2", b"DROP TABLE a; (SELECT 2)", b"INSERT INTO t SELECT 1; DROP TABLE t"]
)
def test_several_statements_are_refused_as_a_server_does(text: bytes) -> None:
    with pytest.raises(Refused, match="Multi-statements") as refusal:
        split(text)
    assert refusal.value.code == 62


def test_an_unclosed_quote_is_left_to_the_engine() -> None:
    assert split(b"SELECT 'abc").sql == b"SELECT 'abc"
