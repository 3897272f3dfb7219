"""The parts of HTTP that decide which form of a report is sent, and whether it is sent at all (RFC 9110)."""

from __future__ import annotations

JSON = "application/json"
JWT = "application/jwt"


def preferred(accept: str) -> str:
    """`application/jwt` where the `Accept` header names it and does not like JSON better; else JSON."""
    quality = dict(map(_range, accept.split(",")))
    jwt = quality.get(JWT, 0.0)
    return JWT if jwt > 0 and jwt >= quality.get(JSON, 0.0) else JSON


def unchanged(if_none_match: str | None, etag: str) -> bool:
    """Whether the caller has this representation already (section 13.1.2; compared weakly, as it says)."""
    if if_none_match is None:
        return False
    known = {one.strip().removeprefix("W/") for one in if_none_match.split(",")}
    return etag in known or "*" in known


def _range(text: str) -> tuple[str, float]:
    media_type, *parameters = (part.strip().lower() for part in text.split(";"))
    quality = next((part[2:] for part in parameters if part.startswith("q=")), "1")
    try:
        return media_type, float(quality)
    except ValueError:
        return media_type, 0.0
