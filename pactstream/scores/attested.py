"""The attestations of one agent that are in force: of each issuer and kind the newest."""

from __future__ import annotations

from typing import Final, NamedTuple, TypeAlias

import msgspec

from pactstream import clock
from pactstream.errors import InvalidInput
from pactstream.scores import attestation
from pactstream.scores.attestation import AnyClaim, Attestation, Revocation

TYPE: Final = "attestation"
"""Of the leaves that hold one."""


class Held(NamedTuple):
    """An attestation, as signed, and its leaf; a revoked one stays, so that no older one takes its place."""

    said: Attestation
    sequence: int
    compact: str
    revoked: bool = False

    @property
    def kind(self) -> str:
        """`accuracy`, `bond` or `security`."""
        return str(self.said.claim.__struct_config__.tag)

    def in_force(self, at_micros: int) -> bool:
        """Whether it counts at that moment."""
        return not self.revoked and self.said.exp > at_micros // clock.MICROS_PER_SECOND


Attested: TypeAlias = dict[tuple[str, str], Held]
"""By issuer and kind."""


def take(attested: Attested, compact: str, sequence: int) -> None:
    """Take in the attestation of a leaf, in the agent's order; one that cannot be read changes nothing."""
    try:
        said = attestation.read(compact)
    except InvalidInput:
        return  # of a later release: the gateway lets in only what it can read
    if isinstance(said.claim, Revocation):
        for key, held in attested.items():
            if key[0] == said.iss and held.said.jti == said.claim.revokes:
                attested[key] = held._replace(revoked=True)
    else:
        put(attested, Held(said, sequence, compact))


def put(attested: Attested, new: Held) -> None:
    """Hold an attestation unless a newer one of its issuer and kind is held."""
    key = (new.said.iss, new.kind)
    before = attested.get(key)
    if before is None or (new.said.iat, new.said.jti) > (before.said.iat, before.said.jti):
        attested[key] = new


def in_force(attested: Attested, at_micros: int) -> list[Held]:
    """Those that count at that moment, in a fixed order."""
    return [attested[key] for key in sorted(attested) if attested[key].in_force(at_micros)]


def claim_json(claim: AnyClaim) -> str:
    """What is attested, as JSON."""
    return msgspec.json.encode(claim).decode()
