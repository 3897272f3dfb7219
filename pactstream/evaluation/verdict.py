"""A third party's verdict on one call: a compact JWS (RFC 7515) by a key that it registered as an issuer.

It names the leaf by its hash and the question by its id, so it is about that call and no other. It stands in
the ledger as it was signed, so that anybody with the issuer's public key can check it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

from pactstream import clock
from pactstream.errors import InvalidInput
from pactstream.evaluation.question import Question
from pactstream.pacts.verdict import Severity
from pactstream.signing import compact
from pactstream.signing.jwks import PublicKey
from pactstream.signing.keys import SigningKey

JWS_TYPE: Final = "pactstream-evaluation+jws"
MAX_CHARS: Final = 2_048
_FUTURE_SECONDS: Final = 300

Said: TypeAlias = Literal["valid", "violated", "abstained"]
Code: TypeAlias = Annotated[str, Meta(pattern=r"\A[a-z0-9_.-]{1,64}\Z")]


class Opinion(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """What an evaluator makes of a call. `codes` are its reasons in short; all of it becomes public."""

    verdict: Said
    severity: Severity | None = None
    codes: Annotated[tuple[Code, ...], Meta(max_length=8)] = ()


class Evaluation(Opinion, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """The payload: who says it (`iss`), of which agent (`sub`) and leaf, in answer to `jti`, when (`iat`)."""

    iss: str
    sub: str
    jti: str
    iat: Annotated[int, Meta(ge=0, le=2**40)]
    leaf: str


def sign(question: Question, opinion: Opinion, key: SigningKey, *, now_micros: int | None = None) -> str:
    """An opinion about the call in a question, signed."""
    now = clock.now_micros() if now_micros is None else now_micros
    said = Evaluation(
        verdict=opinion.verdict,
        severity=opinion.severity,
        codes=opinion.codes,
        iss=question.issuer,
        sub=question.agent_id,
        jti=question.evaluation_id,
        iat=now // clock.MICROS_PER_SECOND,
        leaf=question.leaf_hash,
    )
    return compact.sign(msgspec.json.encode(said), key, JWS_TYPE)


def verify(signed: str, question: Question, keys: Mapping[str, PublicKey], *, now_micros: int) -> Evaluation:
    """What is said in answer to a question, by one of these keys of its issuer (by key id).

    Raises:
        InvalidInput: malformed, signed by none of them or by a retired one, from the future, or about another
            call.
    """
    payload, key = compact.verify(signed, keys, typ=JWS_TYPE, what="the evaluation", max_chars=MAX_CHARS)
    try:
        said = msgspec.json.decode(payload, type=Evaluation)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"not an evaluation: {error}") from error
    asked = (question.issuer, question.agent_id, question.evaluation_id, question.leaf_hash)
    if (said.iss, said.sub, said.jti, said.leaf) != asked:
        raise InvalidInput("the evaluation is not the answer to this question")
    if said.iat > now_micros // clock.MICROS_PER_SECOND + _FUTURE_SECONDS:
        raise InvalidInput("the evaluation is from the future")
    if key.retired_at_micros is not None and said.iat * clock.MICROS_PER_SECOND >= key.retired_at_micros:
        raise InvalidInput("the evaluation is signed by a retired key")
    return said
