"""Schemas change only as readers can bear: BACKWARD_TRANSITIVE, and never in place."""

from __future__ import annotations

import itertools
import json

import fastavro.schema
import pytest
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType
from avro.schema import parse

from pactstream import avro, schema_files
from pactstream.kafka import topics

SCHEMAS = avro.registered()


def entries() -> list[dict[str, object]]:
    return list(json.loads(schema_files.read_text("registry.json")))


def compatible(reader: str, writer: str) -> bool:
    result = ReaderWriterCompatibilityChecker().get_compatibility(parse(reader), parse(writer))
    return result.compatibility is SchemaCompatibilityType.compatible


@pytest.mark.parametrize("newest", SCHEMAS, ids=lambda one: f"{one.name}.v{one.version}")
def test_each_version_reads_every_earlier_one(newest: avro.RegisteredSchema) -> None:
    earlier = [one for one in SCHEMAS if one.subject == newest.subject and one.version <= newest.version]
    for writer in earlier:
        assert compatible(newest.text, writer.text), f"v{newest.version} cannot read v{writer.version}"


def test_the_check_finds_a_breaking_change() -> None:
    chain = next(one for one in SCHEMAS if one.name == "AgentChain").text
    assert not compatible(chain.replace('"sequence"', '"number"'), chain)
    added = chain.replace(
        '"fields": [', '"fields": [{"name": "extra", "type": ["null", "int"], "default": null},'
    )
    assert compatible(added, chain)


def test_a_published_version_is_never_edited() -> None:
    """A changed schema is a new file with a new id; its fingerprint stands in the registry."""
    for entry, schema in zip(entries(), SCHEMAS, strict=True):
        canonical = fastavro.schema.to_parsing_canonical_form(schema.schema)
        assert fastavro.schema.fingerprint(canonical, "SHA-256") == entry["fingerprint"], schema.name


def test_ids_and_versions_are_unique_and_without_gaps() -> None:
    assert [one.id for one in SCHEMAS] == list(range(1, len(SCHEMAS) + 1))
    by_subject = itertools.groupby(
        sorted(SCHEMAS, key=lambda one: (one.subject, one.version)), lambda one: one.subject
    )
    for _, versions in by_subject:
        numbers = [one.version for one in versions]
        assert numbers == list(range(1, len(numbers) + 1))


def test_every_topic_has_a_schema() -> None:
    subjects = {one.subject for one in SCHEMAS}
    for topic in topics.TOPICS:
        if not topic.name.endswith(".dlq"):
            assert any(subject.startswith(topic.name + "-") for subject in subjects), topic.name
