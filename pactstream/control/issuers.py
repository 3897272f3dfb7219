"""Third parties that may attest of agents, as every process sees them: their keys, and what they may attest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from pactstream import avro
from pactstream.kafka import topics
from pactstream.kafka.table import Table
from pactstream.settings import KafkaSettings
from pactstream.signing.jwks import PublicKey, parse_jwks

_SCHEMA = "Issuer"


@dataclass(frozen=True, slots=True)
class Issuer:
    """One third party; `jwks` is its JWK Set as JSON, `affiliates` are the tenants that it belongs to."""

    issuer_id: str
    name: str
    kinds: tuple[str, ...]
    affiliates: tuple[str, ...]
    jwks: str
    created_at_micros: int
    revoked_at_micros: int | None = None

    def keys(self) -> Mapping[str, PublicKey]:
        """Its keys by id. Raises `InvalidInput` where they are none."""
        return parse_jwks(json.loads(self.jwks))

    def encode(self) -> bytes:
        """Its Avro record."""
        return avro.encode(_SCHEMA, asdict(self))


def decode(data: bytes) -> Issuer:
    """An issuer from its Avro record.

    Raises:
        InvalidInput: it is none.
    """
    record = avro.decode_as(_SCHEMA, data)
    return Issuer(**record | {"kinds": tuple(record["kinds"]), "affiliates": tuple(record["affiliates"])})


def issuer_table(settings: KafkaSettings) -> Table[Issuer]:
    """Every issuer by its id, kept current from Kafka."""
    return Table(settings, topics.ISSUERS, decode)
