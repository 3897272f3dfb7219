"""Pacts as every process sees them: each version ever made, compiled when first needed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import lru_cache

from pactstream import avro
from pactstream.kafka import topics
from pactstream.kafka.table import Table
from pactstream.pacts import CompiledPact, compile_pact, parse_pact
from pactstream.settings import KafkaSettings

_SCHEMA = "PactVersion"


@dataclass(frozen=True, slots=True)
class PactVersion:
    """One immutable version of a pact, as in the topic `pacts`; `document` is its RFC 8785 JSON."""

    pact_id: str
    version: int
    tenant_id: str
    agent_id: str | None
    name: str
    document: bytes
    hash: str
    created_at_micros: int
    created_by: str

    @property
    def key(self) -> str:
        """Its key in the topic: compaction keeps every version."""
        return version_key(self.pact_id, self.version)

    def encode(self) -> bytes:
        """Its Avro record."""
        return avro.encode(_SCHEMA, asdict(self))


def decode(data: bytes) -> PactVersion:
    """A version from its Avro record.

    Raises:
        InvalidInput: it is none.
    """
    return PactVersion(**avro.decode_as(_SCHEMA, data))


def version_key(pact_id: str, version: int) -> str:
    """The key under which a version stands in the topic."""
    return f"{pact_id}/{version}"


class PactBook:
    """Every pact version, kept current from Kafka."""

    def __init__(self, settings: KafkaSettings, *, compiled_pacts: int = 10_000) -> None:
        self._newest: dict[str, int] = {}
        self._compile = lru_cache(compiled_pacts)(_compile)
        self.table = Table(settings, topics.PACTS, decode, self._on_change)

    def latest(self, pact_id: str) -> PactVersion | None:
        """The version in force: the newest that this process has seen."""
        version = self._newest.get(pact_id)
        return None if version is None else self.get(pact_id, version)

    def get(self, pact_id: str, version: int) -> PactVersion | None:
        """One version, or None if this process has not seen it."""
        return self.table.get(version_key(pact_id, version))

    def owner(self, pact_id: str, version: int) -> str | None:
        """The tenant whose pact it is; None if this process has not seen the version."""
        found = self.get(pact_id, version)
        return None if found is None else found.tenant_id

    def compiled(self, pact_id: str, version: int, *, timeout_seconds: float = 0) -> CompiledPact | None:
        """One version ready to judge calls, or None if it has not been seen within the time-out.

        Raises:
            InvalidInput: the recorded document is no pact.
        """
        key = version_key(pact_id, version)
        found = self.table.get(key) or self.table.wait_for(key, timeout_seconds)
        return None if found is None else self._compile(found)

    def close(self) -> None:
        """Stop following the topic."""
        self.table.close()

    def _on_change(self, key: str, value: PactVersion | None) -> None:
        if value is not None and value.version > self._newest.get(value.pact_id, 0):
            self._newest[value.pact_id] = value.version


def _compile(found: PactVersion) -> CompiledPact:
    return compile_pact(parse_pact(found.document), pact_id=found.pact_id, version=found.version)
