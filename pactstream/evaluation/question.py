"""The question that an evaluator is asked about one call."""

from __future__ import annotations

from hashlib import sha256
from typing import Any, Final
from uuid import UUID

import msgspec

from pactstream import ids
from pactstream.errors import InvalidInput

TYPE: Final = "evaluation.request"


class Question(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """One call, for one issuer. Asked again after a crash, it is the same question, with the same id.

    `leaf` is the call's public view as it stands in the ledger, our own verdict included, and `leaf_hash` its
    RFC 6962 hash (hexadecimal). `params` are there only where the tenant's pact shows them to this issuer.
    """

    type: str = TYPE
    evaluation_id: str
    issuer: str
    agent_id: str
    leaf_hash: str
    leaf: msgspec.Raw
    params: msgspec.Raw | None = None

    @classmethod
    def parse(cls, body: bytes) -> Question:
        """The question in a request's body. Raises `InvalidInput` unless it is one."""
        try:
            question = msgspec.json.decode(body, type=cls)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InvalidInput(f"not a question: {error}") from error
        if question.type != TYPE:
            raise InvalidInput(f"not a question: its type is {question.type!r}")
        return question

    def encode(self) -> bytes:
        """The body of the request."""
        return msgspec.json.encode(self)

    @property
    def event(self) -> dict[str, Any]:
        """The leaf's members: `tool`, `outcome`, `verdict`, `commitments` and so on."""
        found: dict[str, Any] = msgspec.json.decode(self.leaf)
        return found

    @property
    def arguments(self) -> dict[str, Any] | None:
        """The call's parameters; None where they are not shown, or are no object."""
        found = None if self.params is None else msgspec.json.decode(self.params)
        return found if isinstance(found, dict) else None


def evaluation_id(tenant_id: str, event_id: str, issuer: str) -> str:
    """The id of the event that records what an issuer makes of a call: always the same."""
    found: UUID = ids.derived_event_id(tenant_id, sha256(f"{event_id}\0{issuer}".encode()).digest(), 0)
    return str(found)
