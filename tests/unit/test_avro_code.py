"""Generated Avro functions: what does not fit a schema, and encodings that only others write."""

from __future__ import annotations

from typing import Any

import pytest

from pactstream import avro_code

ALL: dict[str, Any] = {
    "type": "record",
    "name": "All",
    "fields": [
        {"name": "text", "type": "string"},
        {"name": "small", "type": "int"},
        {"name": "large", "type": "long"},
        {"name": "real", "type": "double"},
        {"name": "raw", "type": ["null", "bytes"], "default": None},
        {"name": "list", "type": {"type": "array", "items": "int"}, "default": []},
        {"name": "map", "type": {"type": "map", "values": "string"}, "default": {}},
        {"name": "hash", "type": {"type": "fixed", "name": "Hash", "size": 4}, "default": "abcd"},
    ],
}
RECORD: dict[str, Any] = {
    "text": "é",
    "small": -1,
    "large": 1 << 40,
    "real": 0.5,
    "raw": None,
    "list": [1, -2],
    "map": {"k": "v"},
    "hash": b"abcd",
}


def encode(record: Any, schema: Any = ALL) -> bytes:
    pieces: list[bytes] = []
    avro_code.encoder(schema)(record, pieces.append)
    return b"".join(pieces)


def test_a_record_comes_back() -> None:
    data = encode(RECORD)
    assert avro_code.decoder(ALL)(b"??" + data, 2) == (RECORD, len(data) + 2)


@pytest.mark.parametrize(
    "change",
    [
        {"text": b"bytes"},
        {"text": None},
        {"text": "\ud800"},
        {"small": 1 << 31},
        {"small": -(1 << 31) - 1},
        {"small": "1"},
        {"small": 1.5},
        {"large": 1 << 63},
        {"large": None},
        {"real": "0.5"},
        {"raw": "text"},
        {"raw": [1]},
        {"list": 7},
        {"list": ["a"]},
        {"map": ["k"]},
        {"map": {1: "v"}},
        {"hash": b"abc"},
        {"hash": "abcd"},
    ],
)
def test_a_wrong_value_is_a_fault(change: dict[str, Any]) -> None:
    with pytest.raises(avro_code.FAULTS):
        encode(RECORD | change)


@pytest.mark.parametrize(
    "record", [None, [], "text", {name: RECORD[name] for name in RECORD if name != "real"}]
)
def test_a_missing_value_is_a_fault(record: Any) -> None:
    with pytest.raises(avro_code.FAULTS):
        encode(record)


LIST = {"type": "array", "items": "int"}


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"\x02\x06\x02\x08\x00", [3, 4]),  # two blocks
        (b"\x03\x04\x06\x08\x00", [3, 4]),  # a block that says its size in bytes
        (b"\x00", []),
    ],
)
def test_every_form_of_blocks_is_read(data: bytes, value: list[int]) -> None:
    assert avro_code.decoder(LIST)(data, 0) == (value, len(data))


@pytest.mark.parametrize(
    ("schema", "data"),
    [
        ("string", b"\x01"),  # a negative length
        ("string", b"\x02\xff"),  # no UTF-8
        (["null", "int"], b"\x04"),  # no such branch
        ("long", b"\xff" * 10 + b"\x00"),  # eleven bytes
        ("long", b"\xff" * 9 + b"\x02"),  # 65 bits
        ("long", b"\x80"),
        ("double", b"1234567"),
        (LIST, b"\xfe\xff\xff\xff\x0f\x02"),  # two milliards of items, one there
    ],
)
def test_other_bytes_are_a_fault(schema: Any, data: bytes) -> None:
    with pytest.raises(avro_code.FAULTS):
        avro_code.decoder(schema)(data, 0)


def test_beyond_the_end_is_not_beside_the_end() -> None:
    assert avro_code.decoder("bytes")(b"\x08ab", 0) == (b"ab", 5)


@pytest.mark.parametrize("schema", ["float", "null", ["int", "null"], {"type": "enum", "symbols": ["a"]}, 7])
def test_other_types_are_said_to_be_missing(schema: Any) -> None:
    with pytest.raises(NotImplementedError):
        avro_code.encoder(schema)
    with pytest.raises(NotImplementedError):
        avro_code.decoder(schema)
