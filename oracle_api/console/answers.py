"""How the console answers: JSON by msgspec, kept by no cache."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import Response

_encode = msgspec.json.Encoder().encode


def answer(content: Any, status: int = 200) -> Response:
    """Anything msgspec can encode, as JSON."""
    return Response(_encode(content), status, {"Cache-Control": "no-store"}, media_type="application/json")
