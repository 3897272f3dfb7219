"""What the processes beside the evaluator read alike of an `EvaluatedBatch`: parts of a leaf, and its openings.

Read leniently, since members are added to leaves: the ledger's own checks are elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from pactstream.errors import InvalidInput

_PARAMS: Final = "params"


class PactRef(msgspec.Struct):
    """The pact that judged."""

    id: str
    version: int | None = None


class Found(msgspec.Struct, rename="camel"):
    """A violation without its value."""

    param_path: str
    rule: str
    severity: str


class Opening(msgspec.Struct):
    """The value of a commitment, as it was sent."""

    value: msgspec.Raw


_decode_openings = msgspec.json.Decoder(dict[str, Opening]).decode
_decode_value = msgspec.json.Decoder().decode


def openings_of(private: bytes | None) -> Mapping[str, Opening]:
    """The openings of an event by field; none if it has none. Raises `InvalidInput`."""
    try:
        return {} if private is None else _decode_openings(private)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"openings cannot be read: {error}") from error


def value_of(opening: Opening) -> Any:
    """The value in an opening. Raises `msgspec.DecodeError`."""
    return _decode_value(opening.value)


def params_of(openings: Mapping[str, Opening]) -> msgspec.Raw:
    """A call's parameters as JSON, digit by digit; an empty object where none are there."""
    if _PARAMS in openings:
        return openings[_PARAMS].value
    prefix = f"{_PARAMS}."
    named = {name.removeprefix(prefix): one.value for name, one in openings.items() if name.startswith(prefix)}
    return msgspec.Raw(msgspec.json.encode(named))
