"""The deployment's paging key, and the two things it does: sealing routes' secrets, signing links.

A link is a capability: whoever has it may do one thing to one page, once, until it expires. It names the page,
the tenant, the action and the time, under an HMAC; nothing of it is kept until it is used. So it can be made by
the process that pages and checked by any gateway, without either asking the other.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pactstream.errors import InvalidInput
from pactstream.signing.keys import create_secret, load_secret

FILE: Final = "paging.key"
VARIABLE: Final = "PACTSTREAM_KEY_PAGING"
MAX_TOKEN: Final = 512

_NONCE_BYTES = 12


class LinkRefused(InvalidInput):
    """A link that is not ours, or was."""


class Link(NamedTuple):
    """What a link allows. Time in seconds since 1970."""

    tenant_id: str
    page_id: str
    action: str
    expires_at: int

    @property
    def link_id(self) -> str:
        """By which its use is remembered."""
        return hashlib.sha256(_text(self).encode()).hexdigest()[:32]


class PagingKeys:
    """Keys for each purpose, derived from the deployment's one."""

    def __init__(self, key: bytes) -> None:
        self._sealing = AESGCM(hmac.digest(key, b"pactstream paging secrets", "sha256"))
        self._links = hmac.digest(key, b"pactstream paging links", "sha256")
        self.webhooks = hmac.digest(key, b"pactstream paging webhooks", "sha256")

    def seal(self, secret: str, *, tenant_id: str, route_id: str) -> bytes:
        """A route's secret, encrypted so that it opens for that route only."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._sealing.encrypt(nonce, secret.encode(), f"{tenant_id}/{route_id}".encode())

    def open(self, sealed: bytes, *, tenant_id: str, route_id: str) -> str:
        """What was sealed; empty where nothing was. Raises `InvalidInput`: under another key, or altered."""
        if not sealed:
            return ""
        nonce, rest = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        try:
            return self._sealing.decrypt(nonce, rest, f"{tenant_id}/{route_id}".encode()).decode()
        except (InvalidTag, ValueError):
            raise InvalidInput(
                f"the secret of route {route_id} does not open with this deployment's key"
            ) from None

    def token(self, link: Link) -> str:
        """A link's token, as it stands in its URL."""
        text = _text(link).encode()
        return f"{_base64(text)}.{_base64(hmac.digest(self._links, text, 'sha256'))}"

    def link(self, token: str, now_seconds: int) -> Link:
        """The link of a token. Raises `LinkRefused`: not ours, or expired."""
        try:
            body = token.partition(".")[0]
            if len(token) > MAX_TOKEN:
                raise ValueError
            text = urlsafe_b64decode(body + "=" * (-len(body) % 4))
            tenant_id, page_id, action, expires_at = text.decode().split("|")
            link = Link(tenant_id, page_id, action, int(expires_at))
        except ValueError:
            raise LinkRefused("this is no link of ours") from None
        # The whole token as we would write it: base64 has several spellings of the same bytes.
        if not hmac.compare_digest(token.encode(), self.token(link).encode()):
            raise LinkRefused("this is no link of ours")
        if now_seconds >= link.expires_at:
            raise LinkRefused("this link has expired")
        return link


def create_key(directory: Path) -> bool:
    """Make the deployment's paging key unless it is there; returns whether it was made.

    Raises:
        SigningKeyError: it cannot be stored.
    """
    return create_secret(directory / FILE)


def load_keys(directory: Path, environ: Mapping[str, str]) -> PagingKeys:
    """The deployment's keys, from the environment if the key stands there, else from its file.

    Raises:
        SigningKeyError: it is missing, readable by others, or malformed.
    """
    return PagingKeys(load_secret(directory / FILE, VARIABLE, environ))


def _text(link: Link) -> str:
    return "|".join((link.tenant_id, link.page_id, link.action, str(link.expires_at)))


def _base64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
