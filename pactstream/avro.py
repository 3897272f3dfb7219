"""Avro in Confluent's wire format: a zero byte, the schema id as 4 big-endian bytes, the binary record.

The ids are fixed in `schemas/registry.json`, so that neither side needs a registry at run time. A record is
written with the newest version of its schema and read with the version that its id names, resolved to the
newest (Avro 1.12, "Schema Resolution"). Where writer and reader have one version, generated code does the work
(`pactstream/avro_code.py`); fastavro resolves between versions.

A record of an id beyond those we know was written by a newer program. As a dead letter it would be lost, so
whoever meets it stops, and a newer process takes its place (docs/upgrades.md).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from functools import cache
from io import BytesIO
from typing import Any, NamedTuple

import fastavro

from pactstream import avro_code, schema_files
from pactstream.errors import Fatal, InvalidInput
from pactstream.settings import SchemaSettings, load

MAGIC = 0
HEADER_BYTES = 5
# Ids have no gaps, so a newer program's are just above ours. What is further off is not ours at all.
_NEWER_IDS = 1_000


class RegisteredSchema(NamedTuple):
    """One version of one subject: `id` is what records carry, `schema` is ready for fastavro."""

    id: int
    subject: str
    version: int
    name: str
    text: str
    schema: Any


@cache
def registered() -> tuple[RegisteredSchema, ...]:
    """Every version of every schema, by id.

    Raises:
        Fatal: the registry file or a schema is not readable: the installation is damaged.
    """
    try:
        entries = json.loads(schema_files.read_text("registry.json"))
        found = [_load(entry) for entry in entries]
    except (OSError, ValueError, KeyError) as error:
        raise Fatal(f"schemas/registry.json cannot be read: {error}") from error
    return tuple(sorted(found, key=lambda one: one.id))


def encode(name: str, record: Mapping[str, Any]) -> bytes:
    """A record of the schema `name` (`TelemetryBatch`) in wire format.

    Its version is the newest, or the newest that PACTSTREAM_WRITE_SCHEMAS_UP_TO allows.

    Raises:
        InvalidInput: a field is missing or has the wrong type.
    """
    head, code = _encoder(name)
    pieces = [head]
    try:
        code(record, pieces.append)
        return b"".join(pieces)
    except avro_code.FAULTS as error:
        raise InvalidInput(f"not a {name}: {type(error).__name__} {error}") from error


def decode(data: bytes | None) -> tuple[str, dict[str, Any]]:
    """The schema's name and the record, in the shape of that schema's newest version.

    Raises:
        InvalidInput: no record, not this wire format, no id of ours, or bytes that do not fit the schema.
        Fatal: a newer program wrote it; this one cannot know what it says.
    """
    if data is None or len(data) < HEADER_BYTES or data[0] != MAGIC:
        raise InvalidInput("not an Avro record in Confluent wire format")
    schema_id = int.from_bytes(data[1:HEADER_BYTES], "big")
    writer = _by_id().get(schema_id)
    if writer is None:
        raise _unknown(schema_id)
    try:
        record, end = _decoder(schema_id)(data, HEADER_BYTES)
    except avro_code.FAULTS as error:
        raise InvalidInput(f"not a {writer.name}: {type(error).__name__} {error}".rstrip()) from error
    if end > len(data):
        raise InvalidInput(f"not a {writer.name}: it is cut off")
    if end < len(data):
        raise InvalidInput(f"bytes follow the {writer.name}")
    return writer.name, record


def decode_as(name: str, data: bytes | None) -> dict[str, Any]:
    """As `decode`, and refuses a record of another schema.

    Raises:
        InvalidInput: as `decode`, or the record is of another schema.
    """
    found, record = decode(data)
    if found != name:
        raise InvalidInput(f"expected a {name}, found a {found}")
    return record


def _load(entry: Mapping[str, Any]) -> RegisteredSchema:
    text = schema_files.read_text(entry["file"])
    # Each version is parsed with a private set of names: two versions share theirs.
    schema = fastavro.parse_schema(json.loads(text), named_schemas={})
    return RegisteredSchema(entry["id"], entry["subject"], entry["version"], entry["name"], text, schema)


@cache
def _encoder(name: str) -> tuple[bytes, avro_code.Encode]:
    written = _written(name)
    return struct.pack(">bI", MAGIC, written.id), avro_code.encoder(json.loads(written.text))


def _written(name: str) -> RegisteredSchema:
    """The version to write: an old one where old programs must read it, if the record is as old as that."""
    ceiling = load(SchemaSettings).write_schemas_up_to
    versions = sorted((one for one in registered() if one.name == name), key=lambda one: one.version)
    return [one for one in versions if ceiling is None or one.id <= ceiling or one is versions[0]][-1]


def _unknown(schema_id: int) -> InvalidInput | Fatal:
    known = registered()[-1].id
    if known < schema_id <= known + _NEWER_IDS:
        return Fatal(
            f"a record has schema id {schema_id}, this program knows ids up to {known}: a newer one wrote it "
            "and must read it; upgrade this process (docs/upgrades.md)"
        )
    return InvalidInput(f"schema id {schema_id} is not in schemas/registry.json")


@cache
def _decoder(schema_id: int) -> avro_code.Decode:
    writer = _by_id()[schema_id]
    reader = _latest()[writer.name]
    return avro_code.decoder(json.loads(writer.text)) if reader is writer else _resolving(writer, reader)


def _resolving(writer: RegisteredSchema, reader: RegisteredSchema) -> avro_code.Decode:
    def decode(data: bytes, at: int) -> tuple[Any, int]:
        body = BytesIO(data)
        body.seek(at)
        return fastavro.schemaless_reader(body, writer.schema, reader.schema), body.tell()

    return decode


@cache
def _by_id() -> dict[int, RegisteredSchema]:
    return {one.id: one for one in registered()}


@cache
def _latest() -> dict[str, RegisteredSchema]:
    latest: dict[str, RegisteredSchema] = {}
    for one in registered():
        if one.name not in latest or one.version > latest[one.name].version:
            latest[one.name] = one
    return latest
