"""The ClickHouse client of every service: parameterised SQL in, rows out, errors by what to do about them."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from threading import Lock
from typing import Any, Self, TypeVar

import clickhouse_connect
import msgspec
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, DataError

from pactstream.errors import Fatal, InvalidInput, PactstreamError, Retryable
from pactstream.settings import ClickHouseSettings

Parameters = Mapping[str, object]
"""Values of `{name:Type}` in a statement; the server fills them in, so no text can become SQL."""

Row = tuple[object, ...]

T = TypeVar("T")

_CONNECT_SECONDS = 5
_RECEIVE_SECONDS = 60
_MAX_MESSAGE_CHARS = 300
_SMALL_ARRAY = 16  # MessagePack: a shorter array has a head of one byte, one below 2^16 of three
_SETTINGS = {
    # A block is in the table when an insert returns, and dropped when its token was seen before.
    "async_insert": 0,
    "insert_deduplicate": 1,
}
# Through a Distributed table an insert returns when its shard has the block; a query that says whose rows it
# wants asks their shard only; and a table that is joined is sent along, whoever has its rows.
_ON_CLUSTER = {
    "distributed_foreground_insert": 1,
    "optimize_skip_unused_shards": 1,
    "distributed_product_mode": "global",
}
_AS_JSON = {"output_format_json_quote_64bit_integers": 0, "output_format_json_quote_denormals": 0}
# A block read in parallel parts would be several blocks, each with a token of its own.
_ONE_BLOCK = {"input_format_parallel_parsing": 0}

# ClickHouse's error codes (src/Common/ErrorCodes.cpp). Those not listed are worth another try.
_BAD_VALUE_CODES = frozenset({6, 26, 27, 38, 41, 53, 69, 70, 72, 117, 376, 457})
_NO_TABLE_CODES = frozenset({16, 47, 60, 81})  # no such column, identifier, table, database
_FATAL_CODES = _NO_TABLE_CODES | frozenset(
    {36, 44, 46, 48, 62, 115, 164, 192, 193, 194, 344, 452, 497, 516}  # the statement, the setting, the user
)


# Of the other side: what passes (a connection cut in the handshake) is not among them.
_NOT_TLS = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"})


class ClickHouse:
    """One database. Connects at the first use, so that a service can start before ClickHouse does.

    May be shared by threads: there is no session, and each request takes its own connection from a pool.
    Every method raises `Retryable` when ClickHouse does not answer or is overloaded, `InvalidInput` for a value
    it cannot take, `Fatal` when the statement, the tables or the user's rights are wrong.
    """

    def __init__(self, settings: ClickHouseSettings, *, use_database: bool = True) -> None:
        self._settings = settings
        self.cluster = settings.clickhouse_cluster
        self._database = settings.clickhouse_database if use_database else None
        self._connecting = Lock()
        self._connected: Client | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection."""
        with self._connecting:
            if self._connected is not None:
                self._connected.close()
                self._connected = None

    def check(self) -> None:
        """Return if ClickHouse lets us in, or does not answer: that may pass, and whoever needs it waits.

        Raises:
            Fatal: it refuses the user, or its certificate is not to be believed.
        """
        with suppress(Retryable):
            self.rows("SELECT 1")

    def rows(
        self, sql: str, parameters: Parameters | None = None, *, formats: Mapping[str, str] | None = None
    ) -> list[tuple[Any, ...]]:
        """The result of a query, whole: bound it in the query. Times are aware datetimes.

        `formats` says how a ClickHouse type is read where not as usual: `{"UUID": "string"}`.
        """
        with _classified():
            result = self._client().query(
                sql, parameters=dict(parameters or {}), query_formats=dict(formats or {})
            )
            return [tuple(row) for row in result.result_rows]

    def json_rows(
        self, sql: str, rows: msgspec.json.Decoder[T], parameters: Parameters | None = None
    ) -> list[T]:
        """As `rows`, each decoded from a JSON array of its columns: half the work for a small result.

        `rows` says the types: a float may come without a fraction, and what JSON cannot say (NaN) is null.

        Raises:
            Fatal: a row is not of these types.
        """
        with _classified():
            found = self._client().raw_query(
                sql, parameters=dict(parameters or {}), settings=_AS_JSON, fmt="JSONCompactEachRow"
            )
        try:
            return rows.decode_lines(found)
        except msgspec.DecodeError as error:
            raise Fatal(f"ClickHouse: a row is not as expected: {error}") from error

    @contextmanager
    def stream(
        self, sql: str, parameters: Parameters | None = None, *, settings: Parameters | None = None
    ) -> Iterator[Iterator[tuple[Any, ...]]]:
        """The result of a query of any size, row after row: it is read as the caller goes on."""
        with (
            _classified(),
            self._client().query_rows_stream(
                sql, parameters=dict(parameters or {}), settings=dict(settings or {})
            ) as rows,
        ):
            yield (tuple(row) for row in rows)

    def command(
        self, sql: str, parameters: Parameters | None = None, *, settings: Parameters | None = None
    ) -> None:
        """Run a statement without a result."""
        with _classified():
            self._client().command(sql, parameters=dict(parameters or {}), settings=dict(settings or {}))

    def insert(
        self, table: str, columns: Sequence[str], rows: Iterable[Row], *, token: str | None = None
    ) -> None:
        """Insert one block. It is in the table, all of it, when this returns; an empty one does nothing.

        A block whose `token` is among the table's last ones (see the migrations) is not inserted again.
        For the values, see `encode_row`.
        """
        self.insert_encoded(table, columns, b"".join([encode_row(row) for row in rows]), token=token)

    def insert_encoded(
        self, table: str, columns: Sequence[str], block: bytes, *, token: str | None = None
    ) -> None:
        """As `insert`, of rows that went through `encode_row` already, end to end."""
        if not block:
            return
        settings = {} if token is None else {"insert_deduplication_token": token}
        with _classified():
            self._client().raw_insert(table, columns, block, settings | _ONE_BLOCK, fmt="MsgPack")

    def _client(self) -> Client:
        with self._connecting:
            if self._connected is None:
                self._connected = self._connect()
            return self._connected

    def _connect(self) -> Client:
        settings = self._settings
        return clickhouse_connect.get_client(
            host=settings.clickhouse_host,
            port=settings.clickhouse_port,
            username=settings.clickhouse_user,
            password=settings.clickhouse_password.get_secret_value(),
            database=self._database,
            secure=settings.clickhouse_secure,
            ca_cert=None if settings.clickhouse_ca is None else str(settings.clickhouse_ca),
            connect_timeout=_CONNECT_SECONDS,
            send_receive_timeout=_RECEIVE_SECONDS,
            settings=_SETTINGS | (_ON_CLUSTER if self.cluster else {}),
            tz_mode="aware",
            autogenerate_session_id=False,
            dedicated_pool=True,
        )


_encode = msgspec.msgpack.Encoder().encode


def encode_row(row: Row) -> bytes:
    """The values of a row as MessagePack, end to end: a row of ClickHouse's MsgPack format.

    UUIDs go as text, times as microseconds since 1970, figures of Float64 columns as float; nothing checks that
    an integer fits its column. Six times as fast as the columns of the client library, and the rows need not be
    kept until the block is complete.
    """
    return _encode(row)[1 if len(row) < _SMALL_ARRAY else 3 :]  # without the head of the array


def classify(error: ClickHouseError) -> PactstreamError:
    """What to do about an error of the client, by ClickHouse's code; never says a value."""
    code = getattr(error, "code", None)
    name = getattr(error, "name", None) or type(error).__name__
    if code in _BAD_VALUE_CODES or (code is None and isinstance(error, DataError)):
        return InvalidInput(f"ClickHouse does not take a value ({name})")
    if (untrusted := _tls_fault(error)) is not None:
        return Fatal(f"no trusted connection to ClickHouse: {untrusted}")
    message = f"ClickHouse: {_first_line(error)}"
    if code in _NO_TABLE_CODES:
        return Fatal(f"{message}; make the tables with: pactstream migrate")
    if code in _FATAL_CODES:
        return Fatal(message)
    return Retryable(message)


def _tls_fault(error: BaseException | None) -> str | None:
    """What is wrong with the other side's certificate or TLS; None if nothing is known to be."""
    while error is not None:
        reason = getattr(error, "reason", None)  # urllib3 keeps the cause there
        for one in (error, reason, *error.args):
            if isinstance(one, ssl.SSLCertVerificationError):
                return f"certificate verify failed: {one.verify_message}"
            if isinstance(one, ssl.SSLError) and one.reason in _NOT_TLS:
                return "it does not speak TLS: check PACTSTREAM_CLICKHOUSE_SECURE and _PORT"
        error = error.__cause__ or error.__context__
    return None


def _first_line(error: ClickHouseError) -> str:
    text = str(error).partition("\n")[0]
    return text if len(text) <= _MAX_MESSAGE_CHARS else f"{text[:_MAX_MESSAGE_CHARS]}…"


@contextmanager
def _classified() -> Iterator[None]:
    try:
        yield
    except ClickHouseError as error:
        raise classify(error) from error
