"""The client without a server: what an error means, how a row is encoded."""

from __future__ import annotations

import msgspec
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError, DataError, OperationalError

from pactstream.clickhouse.client import ClickHouse, classify, encode_row
from pactstream.errors import Fatal, InvalidInput, PactstreamError, Retryable
from pactstream.settings import ClickHouseSettings


@pytest.mark.parametrize(
    ("code", "name", "kind"),
    [
        (60, "UNKNOWN_TABLE", Fatal),
        (81, "UNKNOWN_DATABASE", Fatal),
        (516, "AUTHENTICATION_FAILED", Fatal),
        (62, "SYNTAX_ERROR", Fatal),
        (44, "ILLEGAL_COLUMN", Fatal),
        (376, "CANNOT_PARSE_UUID", InvalidInput),
        (117, "INCORRECT_DATA", InvalidInput),
        (252, "TOO_MANY_PARTS", Retryable),
        (241, "MEMORY_LIMIT_EXCEEDED", Retryable),
        (243, "NOT_ENOUGH_SPACE", Retryable),
        (99_999, "SOMETHING_NEW", Retryable),
        (None, None, Retryable),
    ],
)
def test_the_code_decides(code: int | None, name: str | None, kind: type[PactstreamError]) -> None:
    assert type(classify(DatabaseError("told", code=code, name=name))) is kind


def test_without_a_table_it_says_what_to_do() -> None:
    error = classify(DatabaseError("Unknown table", code=60, name="UNKNOWN_TABLE"))
    assert str(error) == "ClickHouse: Unknown table; make the tables with: pactstream migrate"


def test_a_refused_value_is_not_repeated() -> None:
    for error in (
        DataError("SECRET"),
        DatabaseError("Cannot parse SECRET", code=376, name="CANNOT_PARSE_UUID"),
    ):
        assert "SECRET" not in str(classify(error))
        assert isinstance(classify(error), InvalidInput)


def test_long_texts_are_cut_to_their_first_line() -> None:
    assert str(classify(OperationalError("first\nsecond"))) == "ClickHouse: first"
    assert len(str(classify(OperationalError("x" * 5_000)))) < 400


@pytest.mark.parametrize("length", [1, 8, 15, 16, 40])
def test_a_row_is_its_values_end_to_end(length: int) -> None:
    row = tuple(
        [None, True, -1, 2**53, 1.5, "text", b"\xff\x00", ["a"], {"k": 1}][at % 9] for at in range(length)
    )
    assert encode_row(row) == b"".join(map(msgspec.msgpack.encode, row))


def test_nothing_is_asked_of_a_server_before_the_first_use() -> None:
    nowhere = ClickHouseSettings(clickhouse_host="127.0.0.1", clickhouse_port=1)
    with ClickHouse(nowhere) as database:
        database.insert("room_events", ("log",), [])
        with pytest.raises(Retryable, match="ClickHouse: "):
            database.rows("SELECT 1")
