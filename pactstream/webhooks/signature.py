"""The headers of a webhook (standardwebhooks.com, 1.0.0), and secrets that are kept nowhere.

A subscription's secret is derived from one key of the deployment and the subscription's id. So no secret stands
in Kafka or any database, each subscription has its own, and whoever makes a subscription and whoever signs for
it need nothing but that key. To change a secret, make a new subscription and delete the old one.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode, b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pactstream.errors import InvalidInput
from pactstream.signing.keys import create_secret, load_secret

FILE: Final = "webhook.key"
VARIABLE: Final = "PACTSTREAM_KEY_WEBHOOK"
TOLERANCE_SECONDS: Final = 300
"""How far a receiver lets the timestamp be from its own clock."""

_PREFIX = "whsec_"


class WebhookRefused(InvalidInput):
    """A message that a receiver must not believe, and why."""


def create_key(directory: Path) -> bool:
    """Make the deployment's webhook key unless it is there; returns whether it was made.

    Raises:
        SigningKeyError: it cannot be stored.
    """
    return create_secret(directory / FILE)


def load_key(directory: Path, environ: Mapping[str, str]) -> bytes:
    """The deployment's webhook key, from the environment if it stands there, else from its file.

    Raises:
        SigningKeyError: it is missing, readable by others, or malformed.
    """
    return load_secret(directory / FILE, VARIABLE, environ)


def secret_of(key: bytes, subscription_id: str) -> bytes:
    """The secret of one subscription: HMAC-SHA256 of its id under the deployment's key."""
    return hmac.digest(key, b"pactstream webhook\0" + subscription_id.encode(), "sha256")


def shown(secret: bytes) -> str:
    """A secret in the form that receivers' libraries take: `whsec_…`."""
    return _PREFIX + b64encode(secret).decode()


def headers(secret: bytes, message_id: str, body: bytes, at_seconds: int) -> dict[str, str]:
    """The three headers of a message sent at that time."""
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(at_seconds),
        "webhook-signature": "v1," + _signature(secret, message_id, str(at_seconds), body),
    }


def verify(secret: str, given: Mapping[str, str], body: bytes, at_seconds: int) -> str:
    """The id of a message that is genuine and new enough; remember it, for a message may come twice.

    `given` are the request's headers, names in lower case. Raises `WebhookRefused`.
    """
    try:
        message_id, sent_at = given["webhook-id"], given["webhook-timestamp"]
        signatures, key = given["webhook-signature"].split(), b64decode(secret.removeprefix(_PREFIX))
    except (KeyError, ValueError) as error:
        raise WebhookRefused("not a signed webhook") from error
    expected = _signature(key, message_id, sent_at, body).encode()
    versions = (one.partition(",") for one in signatures)
    if not any(v == "v1" and hmac.compare_digest(said.encode(), expected) for v, _, said in versions):
        raise WebhookRefused("no signature of the message is ours")
    if not sent_at.isdecimal() or abs(int(sent_at) - at_seconds) > TOLERANCE_SECONDS:
        raise WebhookRefused("the message is too old, or from the future")
    return message_id


def _signature(secret: bytes, message_id: str, sent_at: str, body: bytes) -> str:
    signed = b".".join((message_id.encode(), sent_at.encode(), body))
    return b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()
