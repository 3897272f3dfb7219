"""clickhouse-connect, unmodified, against the embedded engine's HTTP interface."""

from __future__ import annotations

import http.client
import ipaddress
import json
import os
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from pactstream.devstack.ports import LOOPBACK, answers, free_port
from pactstream.devstack.supervisor import Supervisor, python_program
from tests.stack import eventually

SLEEPING = "SELECT count() FROM system.processes WHERE query LIKE 'SELECT sleep%'"
DEDUPLICATING = "ENGINE = MergeTree ORDER BY a SETTINGS non_replicated_deduplication_window = 100"


@contextmanager
def serving(data_dir: Path, supervisor: Supervisor) -> Iterator[int]:
    port = free_port()
    arguments = ("--data-dir", str(data_dir), "--port", str(port))
    # A laptop's time zone must make no difference.
    program = python_program(
        "ClickHouse",
        "pactstream.devstack.clickhouse",
        *arguments,
        log_file=data_dir.with_suffix(".log"),
        env={"TZ": "Asia/Tokyo"},
    )
    supervisor.wait_ready(supervisor.start(program), lambda: answers(port))
    yield port


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with Supervisor() as supervisor, serving(tmp_path_factory.mktemp("clickhouse"), supervisor) as port:
        yield port


def connected(port: int, **options: Any) -> Client:
    return clickhouse_connect.get_client(host=LOOPBACK, port=port, tz_mode="aware", **options)


@pytest.fixture
def connect(port: int) -> Iterator[Callable[..., Client]]:
    """Makes clients on a fresh database; tables of one test are not seen by another."""
    database = f"d{uuid.uuid4().hex}"
    with closing(connected(port)) as admin:
        admin.command(f"CREATE DATABASE {database}")
        clients: list[Client] = []

        def make(**options: Any) -> Client:
            clients.append(connected(port, **{"database": database, **options}))
            return clients[-1]

        yield make
        for client in clients:
            client.close()
        admin.command(f"DROP DATABASE {database}")


@pytest.fixture
def client(connect: Callable[..., Client]) -> Client:
    return connect()


COLUMNS: list[tuple[str, str, list[Any]]] = [
    ("id", "UInt64", [1, 2**64 - 1]),
    ("name", "String", ["", "quote' \"é✓\t\n\\ FORMAT CSV; \x00"]),
    (
        "at",
        "DateTime64(6, 'UTC')",
        [datetime(1970, 1, 1, tzinfo=UTC), datetime(2026, 5, 13, 1, 2, 3, 456789, UTC)],
    ),
    ("uid", "UUID", [uuid.UUID(int=0), uuid.UUID("76cf31d6-ffe3-4a5c-8748-021114aa8066")]),
    ("tags", "Array(String)", [[], ["a", "b'"]]),
    ("pair", "Tuple(UInt8, String)", [(0, ""), (255, "x")]),
    ("nested", "Array(Tuple(path String, bad Bool))", [[], [{"path": "params.amount", "bad": True}]]),
    ("hash", "FixedString(32)", [bytes(32), bytes(range(224, 256))]),
    ("room", "Nullable(String)", [None, "r"]),
    ("rule", "LowCardinality(String)", ["allowList", "required"]),
    ("score", "Decimal(18, 6)", [0, 1]),
    ("ip", "IPv4", [ipaddress.IPv4Address("10.0.0.1"), ipaddress.IPv4Address("255.255.255.255")]),
    ("labels", "Map(String, String)", [{}, {"k": "v'"}]),
]


@pytest.mark.parametrize("compress", [False, "lz4", "zstd", "gzip", True])
def test_every_column_type_comes_back_as_it_went(connect: Callable[..., Client], compress: bool | str) -> None:
    client = connect(compress=compress)
    declared = ", ".join(f"{name} {kind}" for name, kind, _ in COLUMNS)
    client.command(f"CREATE TABLE t ({declared}) ENGINE = MergeTree ORDER BY id")
    rows = [list(row) for row in zip(*(values for _, _, values in COLUMNS), strict=True)]
    summary = client.insert(
        "t",
        rows,
        column_names=[name for name, _, _ in COLUMNS],
        column_type_names=[kind for _, kind, _ in COLUMNS],
    )
    assert summary.written_rows == 2
    result = client.query("SELECT * FROM t ORDER BY id")
    assert [list(row) for row in result.result_rows] == rows
    assert list(result.column_names) == [name for name, _, _ in COLUMNS]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("UInt64", 2**63),
        ("String", "tab\t nl\n quote' back\\slash \\N é"),
        ("Nullable(String)", None),
        ("Array(String)", ["x'y", "\\t"]),
        ("DateTime64(6, 'UTC')", datetime(2026, 5, 13, 10, 0, 0, 1, UTC)),
        ("UUID", uuid.UUID(int=7)),
        ("String", "long " * 20_000),  # goes as a form
    ],
)
def test_query_parameters_arrive_exactly(client: Client, kind: str, value: object) -> None:
    query = f"SELECT {{value:{kind}}}, toTypeName({{value:{kind}}})"
    assert client.query(query, parameters={"value": value}).result_rows == [(value, kind)]


def test_a_deduplication_token_drops_the_repeated_insert(client: Client) -> None:
    client.command(f"CREATE TABLE t (a UInt64) {DEDUPLICATING}")
    for token in ("log/1/room_events", "log/1/room_events", "log/2/room_events"):
        client.insert("t", [[1]], column_names=["a"], settings={"insert_deduplication_token": token})
    assert client.command("SELECT count() FROM t") == 2


def test_settings_hold_for_one_request(client: Client) -> None:
    setting = "SELECT getSetting('max_threads')"
    assert client.query(setting, settings={"max_threads": 1}).result_rows[0][0] == 1
    assert str(client.query(setting).result_rows[0][0]) != "1"


def test_errors_carry_clickhouses_code(client: Client, port: int) -> None:
    with pytest.raises(DatabaseError, match="UNKNOWN_TABLE") as error:
        client.query("SELECT * FROM missing")
    assert (error.value.code, error.value.name) == (60, "UNKNOWN_TABLE")
    for path, status, code in (
        ("/?query=SELECT+*+FROM+missing", 404, "60"),
        ("/?query=SELEC", 400, "62"),
        ("/?query=SELECT+1&no_such_setting=1", 404, "115"),
        ("/?query=SELECT+1&a%3Db=1", 404, "115"),
        ("/?query=SELECT+throwIf(1)", 500, "395"),
        ("/?query=SELECT+1&database=missing", 404, "81"),
        ("/?query=CREATE+DATABASE+x", 403, "164"),  # GET only reads
        ("/?query=SELECT+1&role=admin", 501, "48"),
    ):
        reply, body = ask(port, "GET", path)
        assert (reply.status, reply.headers["X-ClickHouse-Exception-Code"]) == (status, code), path
        assert body.startswith(f"Code: {code}. DB::Exception: ".encode()), body


def test_a_failed_insert_leaves_nothing_and_the_connection_usable(client: Client) -> None:
    client.command(f"CREATE TABLE t (a UInt64) {DEDUPLICATING}")
    with pytest.raises(DatabaseError):
        client.raw_insert("t", ["a"], b"1\n2\nnot a number\n", fmt="CSV")
    assert client.command("SELECT count() FROM t") == 0


def test_other_ways_to_insert(client: Client) -> None:
    client.command(f"CREATE TABLE t (a UInt64, b String) {DEDUPLICATING}")
    client.command("INSERT INTO t VALUES (1, 'x; y')")
    client.command("INSERT INTO t SELECT number + 2, 'z' FROM numbers(2)")
    client.raw_insert("t", ["a", "b"], b"4,FORMAT\n", fmt="CSV")
    client.raw_insert("t", ["a", "b"], (part for part in (b'{"a": 5,', b' "b": "j"}\n')), fmt="JSONEachRow")
    assert client.query("SELECT a FROM t ORDER BY a").result_columns == [[1, 2, 3, 4, 5]]


def test_an_empty_result_is_not_a_missing_one(client: Client) -> None:
    client.command(f"CREATE TABLE t (a UInt64) {DEDUPLICATING}")
    assert client.query("SELECT a FROM t").result_rows == []
    assert client.command("SELECT a FROM t") == ""
    assert client.query("SELECT a FROM t LIMIT 0").column_names == ("a",)


def test_the_server_is_in_utc(client: Client) -> None:
    assert client.query("SELECT timezone(), toString(toDateTime(0))").result_rows == [
        ("UTC", "1970-01-01 00:00:00")
    ]


def test_fifty_thousand_rows(client: Client) -> None:
    client.command(f"CREATE TABLE t (a UInt64, b String) {DEDUPLICATING}")
    rows = [[n, f"value {n}"] for n in range(50_000)]
    assert client.insert("t", rows, column_names=["a", "b"]).written_rows == 50_000
    assert client.query("SELECT * FROM t ORDER BY a").result_rows == [tuple(row) for row in rows]


def test_queries_run_in_parallel(connect: Callable[..., Client]) -> None:
    *clients, observer = (connect() for _ in range(4))
    with ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(client.query, "SELECT sleep(2)") for client in clients]
        eventually(lambda: observer.command(SLEEPING) == 3, timeout=5)
        assert [answer.result().result_rows for answer in answers] == [[(0,)]] * 3


def test_a_reply_is_not_held_back(client: Client) -> None:
    client.query("SELECT 1")
    spans = []
    for _ in range(20):
        began = time.monotonic()
        client.query("SELECT 1")
        spans.append(time.monotonic() - began)
    assert sorted(spans)[10] < 0.035  # Nagle's algorithm against a delayed ACK: 40 ms


def ask(
    port: int, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[http.client.HTTPResponse, bytes]:
    with closing(http.client.HTTPConnection(LOOPBACK, port, timeout=10)) as connection:
        connection.request(method, path, body, headers or {})
        reply = connection.getresponse()
        return reply, reply.read()


def test_the_bare_protocol(port: int) -> None:
    assert ask(port, "GET", "/ping")[1] == b"Ok.\n"
    assert ask(port, "GET", "/")[1] == b"Ok.\n"
    reply, body = ask(port, "POST", "/?query_id=q7", b"SELECT number AS n FROM numbers(3)")
    assert body == b"0\n1\n2\n"
    assert reply.headers["X-ClickHouse-Format"] == "TabSeparated"
    assert reply.headers["X-ClickHouse-Query-Id"] == "q7"
    assert json.loads(reply.headers["X-ClickHouse-Summary"])["result_rows"] == "3"
    reply, body = ask(port, "POST", "/", b"SELECT 1 AS n FORMAT JSONEachRow")
    assert (body, reply.headers["X-ClickHouse-Format"]) == (b'{"n":1}\n', "JSONEachRow")
    reply, body = ask(port, "POST", "/?default_format=CSVWithNames", b"SELECT 1 AS n")
    assert (body, reply.headers["X-ClickHouse-Format"]) == (b'"n"\n1\n', "CSVWithNames")


@pytest.mark.parametrize(
    "headers", [{"Origin": "https://example.com"}, {"Host": "example.com"}, {"Host": "evil:80"}]
)
def test_a_web_page_is_refused(port: int, headers: dict[str, str]) -> None:
    reply, body = ask(port, "POST", "/", b"SELECT 1", headers)
    assert (reply.status, body) == (403, b"Only programs on this machine may ask.\n")


@pytest.mark.parametrize(
    "headers", [{"Content-Length": "x"}, {"Content-Length": "-1"}, {"Content-Length": str(1 << 40)}]
)
def test_an_impossible_length_is_an_error(port: int, headers: dict[str, str]) -> None:
    with closing(http.client.HTTPConnection(LOOPBACK, port, timeout=10)) as connection:
        connection.putrequest("POST", "/")
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        reply = connection.getresponse()
        assert (reply.status, reply.headers["X-ClickHouse-Exception-Code"]) == (400, "1000")


def test_a_statement_in_another_encoding_is_an_error(port: int) -> None:
    reply, body = ask(port, "POST", "/", b"INSERT INTO \xff FORMAT CSV\n1")
    assert (reply.status, reply.headers["X-ClickHouse-Exception-Code"]) == (400, "36")
    assert body.startswith(b"Code: 36. DB::Exception: Not UTF-8: ")


def test_what_was_acknowledged_survives_sigkill(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"

    def insert(client: Client) -> None:
        client.insert("t", [[1], [2]], column_names=["a"], settings={"insert_deduplication_token": "log/1/t"})

    with Supervisor() as supervisor, serving(data_dir, supervisor) as port:
        with closing(connected(port)) as client:
            client.command(f"CREATE TABLE t (a UInt64) {DEDUPLICATING}")
            insert(client)
        supervisor.stop("ClickHouse", kill=True)
        with serving(data_dir, supervisor) as port, closing(connected(port)) as client:
            assert client.query("SELECT a FROM t ORDER BY a").result_columns == [[1, 2]]
            insert(client)
            assert client.command("SELECT count() FROM t") == 2


def test_sigterm_lets_a_running_query_end(tmp_path: Path) -> None:
    with Supervisor() as supervisor, serving(tmp_path / "data", supervisor) as port:
        child = supervisor.child("ClickHouse")
        with closing(connected(port)) as client, ThreadPoolExecutor(1) as pool:
            answer = pool.submit(client.query, "SELECT sleep(2)")
            with closing(connected(port)) as observer:
                eventually(lambda: observer.command(SLEEPING) == 1, timeout=5)
            os.kill(child.pid, 15)
            assert answer.result().result_rows == [(0,)]
        assert child.process.wait(10) == 0
