"""Identifiers: UUIDv7 for new events, a derived UUID for events that came without one."""

from __future__ import annotations

import hashlib
import os
import uuid

from pactstream import clock


def uuid7() -> uuid.UUID:
    """A new time-ordered UUID (RFC 9562, section 5.7): 48 bits of milliseconds, 74 random bits."""
    millis = clock.now_micros() // 1_000
    value = (millis & 0xFFFF_FFFF_FFFF) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return uuid.UUID(int=value)


def derived_event_id(tenant_id: str, body_sha256: bytes, index: int) -> uuid.UUID:
    """The id of an event that was sent without one.

    A function of the tenant, the SHA-256 of the request body and the event's index in it, so that a retried
    request names the same events. Version 8, "custom" (RFC 9562, section 5.8).
    """
    digest = hashlib.sha256(b"\0".join((tenant_id.encode(), body_sha256, str(index).encode()))).digest()
    value = int.from_bytes(digest[:16], "big")
    value = value & ~(0xF << 76) | 0x8 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return uuid.UUID(int=value)
