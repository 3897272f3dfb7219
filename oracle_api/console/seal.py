"""Sessions that are kept nowhere until they end: a cookie that only the console can read or make.

It holds the API key, which the gateway needs for every change, so it is encrypted: AES-256-GCM (NIST SP
800-38D) with a random nonce of 96 bits. The key of the deployment seals fewer than 2^32 of them in any life.
"""

from __future__ import annotations

import os
from base64 import urlsafe_b64decode, urlsafe_b64encode

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE_BYTES = 12
_ID_BYTES = 16
_CONTEXT = b"pactstream console session 2"
_MAX_CHARS = 1_024


class Session(msgspec.Struct, array_like=True, frozen=True):
    """Who is logged in, since when, and when they last asked; times in microseconds since 1970."""

    session_id: str
    api_key: str
    begun_micros: int
    seen_micros: int

    @classmethod
    def begin(cls, api_key: str, now_micros: int) -> Session:
        """A new one, whose id nobody can guess."""
        return cls(os.urandom(_ID_BYTES).hex(), api_key, now_micros, now_micros)

    def __repr__(self) -> str:
        return f"Session(begun_micros={self.begun_micros})"


class Seal:
    """Seals and opens sessions under one key of 32 bytes."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def close(self, session: Session) -> str:
        """The session as a cookie's value."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, msgspec.json.encode(session), _CONTEXT)
        return urlsafe_b64encode(nonce + sealed).rstrip(b"=").decode()

    def open(self, value: str) -> Session | None:
        """The session in a cookie's value; None unless it was sealed under this key and is whole."""
        if not value or len(value) > _MAX_CHARS or not value.isascii():
            return None
        try:
            data = urlsafe_b64decode(value + "=" * (-len(value) % 4))
            plain = self._cipher.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], _CONTEXT)
            return msgspec.json.decode(plain, type=Session)
        except (ValueError, InvalidTag, msgspec.DecodeError):
            return None
