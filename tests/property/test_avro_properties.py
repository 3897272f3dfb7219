"""The generated Avro functions against fastavro, for every schema."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pactstream import avro, avro_code
from pactstream.avro import RegisteredSchema

SCHEMAS = {f"{one.name}.v{one.version}": one for one in avro.registered()}
LARGE = st.sampled_from([63, 64, 127, 128, 8_191, 8_192, 9_000]).map(lambda size: b"x" * size)
PRIMITIVES: dict[str, st.SearchStrategy[Any]] = {
    "string": st.text(max_size=20) | LARGE.map(bytes.decode),
    "bytes": st.binary(max_size=20) | LARGE,
    "int": st.integers(-(1 << 31), (1 << 31) - 1),
    "long": st.integers(-(1 << 63), (1 << 63) - 1) | st.integers(-200, 20_000),
    "double": st.floats(allow_nan=False),
}


def of_schema(schema: Any) -> st.SearchStrategy[Any]:
    """Values that `schema` describes; a member with a default may be missing."""
    match schema:
        case ["null", other]:
            return st.none() | of_schema(other)
        case {"type": "record", "fields": fields}:
            made = {one["name"]: of_schema(one["type"]) for one in fields}
            # fastavro takes the text that stands for bytes in a schema as it is, and then cannot write it.
            may_miss = {one["name"] for one in fields if "default" in one and one["type"] != "bytes"}
            required = {name: value for name, value in made.items() if name not in may_miss}
            return st.fixed_dictionaries(required, optional={name: made[name] for name in may_miss})
        case {"type": "array", "items": items}:
            return st.lists(of_schema(items), max_size=3)
        case {"type": "map", "values": values}:
            return st.dictionaries(st.text(max_size=5), of_schema(values), max_size=3)
        case {"type": "fixed", "size": size}:
            return st.binary(min_size=size, max_size=size)
        case _:
            return PRIMITIVES[schema]


class Both:
    """One schema's functions, ours and fastavro's."""

    def __init__(self, schema: RegisteredSchema) -> None:
        parsed = json.loads(schema.text)
        self.records = of_schema(parsed)
        self._theirs = schema.schema
        self._encode = avro_code.encoder(parsed)
        self._decode = avro_code.decoder(parsed)

    def encode(self, record: Any) -> bytes:
        pieces: list[bytes] = []
        self._encode(record, pieces.append)
        return b"".join(pieces)

    def decode(self, data: bytes) -> Any:
        value, end = self._decode(data, 0)
        if end != len(data):
            raise EOFError
        return value

    def their_encode(self, record: Any) -> bytes:
        out = BytesIO()
        fastavro.schemaless_writer(out, self._theirs, record)
        return out.getvalue()

    def their_decode(self, data: bytes) -> Any:
        return fastavro.schemaless_reader(BytesIO(data), self._theirs, None)


@pytest.fixture(params=SCHEMAS, scope="module")
def both(request: pytest.FixtureRequest) -> Both:
    return Both(SCHEMAS[request.param])


@settings(max_examples=30)
@given(st.data())
def test_the_bytes_and_values_are_fastavros(both: Both, data: st.DataObject) -> None:
    record = data.draw(both.records)
    encoded = both.encode(record)
    assert encoded == both.their_encode(record)
    assert both.decode(encoded) == both.their_decode(encoded)


@settings(max_examples=30)
@given(st.data())
def test_damaged_bytes_are_refused_or_read_as_fastavro_reads_them(both: Both, data: st.DataObject) -> None:
    encoded = bytearray(both.encode(data.draw(both.records)))
    encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    try:
        decoded = both.decode(bytes(encoded))
    except avro_code.FAULTS:
        return
    assert repr(decoded) == repr(both.their_decode(bytes(encoded)))  # NaN is not itself


@settings(max_examples=30)
@given(st.data())
def test_a_part_of_a_record_is_refused(both: Both, data: st.DataObject) -> None:
    encoded = both.encode(data.draw(both.records))
    cut = data.draw(st.integers(0, len(encoded) - 1))
    with pytest.raises(avro_code.FAULTS):
        both.decode(encoded[:cut])


@given(st.integers(0, (1 << 64) - 1))
def test_a_number_has_seven_bits_a_byte(number: int) -> None:
    encoded = avro_code.varint(number)
    assert sum((byte & 127) << 7 * place for place, byte in enumerate(encoded)) == number
    assert [byte > 127 for byte in encoded] == [True] * (len(encoded) - 1) + [False]


def test_bytes_that_are_missing_are_their_default() -> None:
    fields = [{"name": "a", "type": "bytes", "default": "\u00ff\u0001"}, {"name": "b", "type": "long"}]
    schema = {"type": "record", "name": "R", "fields": fields}
    pieces: list[bytes] = []
    avro_code.encoder(schema)({"b": 1}, pieces.append)
    assert avro_code.decoder(schema)(b"".join(pieces), 0)[0] == {"a": b"\xff\x01", "b": 1}
