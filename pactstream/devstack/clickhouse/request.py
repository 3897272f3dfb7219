"""Reads ClickHouse's HTTP requests: what is asked, in which database, under which settings."""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesParser
from urllib.parse import parse_qsl, urlsplit

import lz4.frame  # type: ignore[import-untyped]

from pactstream.devstack.clickhouse.errors import Refused
from pactstream.devstack.clickhouse.statement import Statement, split

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

# Parameters of the HTTP interface itself that change nothing here: there are no sessions and no quotas.
_IGNORED = frozenset(
    (
        "session_id",
        "session_timeout",
        "session_check",
        "close_session",
        "query_id",
        "quota_key",
        "wait_end_of_query",
        "buffer_size",
        "client_protocol_version",
        "user",
        "password",
        "stacktrace",
        "add_http_cors_header",
    )
)
# Parameters that would change the meaning of the request, and that only a real server has.
_REFUSED = frozenset({"role", "compress", "decompress"})


@dataclass(frozen=True, slots=True)
class Request:
    """One statement to run."""

    statement: Statement
    database: str | None
    settings: Mapping[str, str]
    default_format: str
    query_id: str | None


def parse(target: str, headers: Message, body: bytes, *, read_only: bool) -> Request | None:
    """The request for `target` (path and query string); None if it asks nothing.

    Raises `Refused` for what cannot be honoured: a role, ClickHouse's own block compression, an attached
    file, an unknown content encoding. Any other parameter is a setting, for the engine to accept or refuse.
    """
    params = dict(parse_qsl(urlsplit(target).query, keep_blank_values=True))
    data = _decompress(body, headers.get("Content-Encoding", "identity"))
    if headers.get_content_type() == "multipart/form-data":
        params |= _form_fields(headers, data)
        data = b""
    for name in sorted(_REFUSED & params.keys()):
        if params[name] not in ("", "0"):
            raise _unsupported(f"the parameter '{name}'")
    text = b"\n".join(part for part in (params.pop("query", "").encode(), data) if part)
    if not text.strip():
        return None
    query_id = params.get("query_id")
    database = params.pop("database", None) or headers.get("X-ClickHouse-Database")
    default_format = params.pop("default_format", None) or headers.get("X-ClickHouse-Format") or "TabSeparated"
    settings = {name: value for name, value in params.items() if name not in _IGNORED | _REFUSED}
    if read_only:  # as ClickHouse does for GET; last, because nothing can be set after it
        settings = {name: value for name, value in settings.items() if name != "readonly"} | {"readonly": "2"}
    return Request(split(text), database, settings, default_format, _header_safe(query_id))


def _decompress(body: bytes, encoding: str) -> bytes:
    try:
        match encoding:
            case "identity" | "":
                return body
            case "gzip":
                return gzip.decompress(body)
            case "deflate":
                return zlib.decompress(body)
            case "lz4":
                return bytes(lz4.frame.decompress(body))
            case "zstd":
                return zstd.decompress(body)
    except (OSError, EOFError, RuntimeError, zlib.error, zstd.ZstdError) as error:
        raise Refused.by_interface(271, "CANNOT_DECOMPRESS", f"The body is not {encoding}: {error}") from error
    raise Refused.by_interface(89, "UNKNOWN_COMPRESSION_METHOD", f"Unknown content encoding '{encoding}'")


def _form_fields(headers: Message, body: bytes) -> dict[str, str]:
    """The fields of a form, the shape in which clickhouse-connect sends parameters too long for a URL."""
    head = f"Content-Type: {headers['Content-Type']}\r\n\r\n".encode()
    fields = {}
    for part in BytesParser().parsebytes(head + body).walk():
        name = part.get_param("name", header="Content-Disposition")
        payload = part.get_payload(decode=True)
        if part.get_filename() is not None:
            raise _unsupported("external data")
        if isinstance(name, str) and isinstance(payload, bytes):
            fields[name] = payload.decode()
    return fields


def _header_safe(value: str | None) -> str | None:
    """`value` if it can be repeated in a header."""
    return value if value and value.isascii() and value.isprintable() else None


def _unsupported(what: str) -> Refused:
    return Refused.by_interface(48, "NOT_IMPLEMENTED", f"The embedded ClickHouse does not support {what}")
