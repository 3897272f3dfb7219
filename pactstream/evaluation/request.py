"""How a request to an evaluator is known to be ours: it is signed as webhooks are (standardwebhooks.com)."""

from __future__ import annotations

from collections.abc import Mapping

from pactstream import clock
from pactstream.evaluation.question import Question
from pactstream.webhooks import signature


def secret_of(key: bytes, issuer: str) -> bytes:
    """What requests to this issuer are signed with, from the deployment's webhook key."""
    return signature.secret_of(key, f"evaluator/{issuer}")


def headers(question: Question, body: bytes, secret: bytes) -> dict[str, str]:
    """The headers of a request; asked again, the same question has the same `webhook-id`."""
    seconds = clock.now_micros() // clock.MICROS_PER_SECOND
    return signature.headers(secret, question.evaluation_id, body, seconds)


def read(body: bytes, given: Mapping[str, str], secret: str) -> Question:
    """The question in a request that is ours, and new enough: for evaluators. `secret` begins with `whsec_`.

    `given` are the request's headers, names in lower case.

    Raises:
        InvalidInput: it is not signed with this secret, too old, or no question.
    """
    signature.verify(secret, given, body, clock.now_micros() // clock.MICROS_PER_SECOND)
    return Question.parse(body)
