from __future__ import annotations

import gzip
import sys
import zlib
from email.message import Message

import lz4.frame  # type: ignore[import-untyped]
import pytest
from urllib3.filepost import encode_multipart_formdata

from pactstream.devstack.clickhouse.errors import Refused
from pactstream.devstack.clickhouse.request import Request, parse

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


def request(
    target: str, body: bytes = b"", headers: dict[str, str] | None = None, *, read_only: bool = False
) -> Request:
    message = Message()
    for name, value in (headers or {}).items():
        message[name] = value
    parsed = parse(target, message, body, read_only=read_only)
    assert parsed is not None
    return parsed


def test_the_statement_may_stand_in_the_url_the_body_or_both() -> None:
    assert request("/?query=SELECT+1").statement.sql == b"SELECT 1"
    assert request("/", b"SELECT 1").statement.sql == b"SELECT 1"
    insert = request("/?query=INSERT+INTO+t+FORMAT+CSV", b"1\n").statement
    assert (insert.sql, insert.data_format, insert.data) == (b"INSERT INTO t ", "CSV", b"1\n")


def test_nothing_asked_is_no_request() -> None:
    assert parse("/?database=d", Message(), b" \n", read_only=False) is None


def test_parameters_of_the_interface_are_not_settings() -> None:
    parsed = request(
        "/?session_id=1&wait_end_of_query=1&query_id=q&database=d&default_format=JSON"
        "&insert_deduplication_token=a%2Fb&param_x=%27",
        b"SELECT 1",
    )
    assert parsed.settings == {"insert_deduplication_token": "a/b", "param_x": "'"}
    assert (parsed.database, parsed.default_format, parsed.query_id) == ("d", "JSON", "q")


@pytest.mark.parametrize("query_id", ["", "a%0D%0ASet-Cookie:+b", "%C3%A9"])
def test_a_query_id_that_no_header_can_carry_is_dropped(query_id: str) -> None:
    assert request(f"/?query=SELECT+1&query_id={query_id}").query_id is None


def test_headers_give_database_and_format_where_the_url_does_not() -> None:
    parsed = request("/", b"SELECT 1", {"X-ClickHouse-Database": "d", "X-ClickHouse-Format": "CSV"})
    assert (parsed.database, parsed.default_format) == ("d", "CSV")
    assert request("/?database=e", b"SELECT 1", {"X-ClickHouse-Database": "d"}).database == "e"


def test_get_reads_only_whatever_it_says() -> None:
    assert request("/?query=SELECT+1&readonly=0", read_only=True).settings == {"readonly": "2"}


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [("gzip", gzip.compress), ("deflate", zlib.compress), ("lz4", lz4.frame.compress), ("zstd", zstd.compress)],
)
def test_bodies_may_be_compressed(encoding: str, compress: object) -> None:
    assert callable(compress)
    assert request("/", compress(b"SELECT 1"), {"Content-Encoding": encoding}).statement.sql == b"SELECT 1"
    with pytest.raises(Refused) as refusal:
        request("/", compress(b"SELECT 1" * 100)[:-5] + b"?????", {"Content-Encoding": encoding})
    assert refusal.value.code == 271


def test_a_form_carries_parameters_too_long_for_a_url() -> None:
    body, content_type = encode_multipart_formdata({"query": "SELECT {x:String}", "param_x": "é\t" * 9_000})
    parsed = request("/?max_threads=1", body, {"Content-Type": content_type})
    assert parsed.statement.sql == b"SELECT {x:String}"
    assert parsed.settings == {"max_threads": "1", "param_x": "é\t" * 9_000}


def test_what_cannot_be_honoured_is_refused() -> None:
    attached, content_type = encode_multipart_formdata({"table": ("file.csv", b"1\n")})
    for target, body, headers in (
        ("/?role=admin", b"SELECT 1", {}),
        ("/?decompress=1", b"SELECT 1", {}),
        ("/?query=SELECT+1", attached, {"Content-Type": content_type}),
    ):
        with pytest.raises(Refused, match="does not support") as refusal:
            request(target, body, headers)
        assert refusal.value.code == 48
    with pytest.raises(Refused, match="'br'") as refusal:
        request("/", b"SELECT 1", {"Content-Encoding": "br"})
    assert refusal.value.code == 89
    assert request("/?compress=0&role=", b"SELECT 1").settings == {}
