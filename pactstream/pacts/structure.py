"""The structure of a pact document, as the published JSON Schema settles it, in words for people."""

from __future__ import annotations

import json
from collections.abc import Iterable
from decimal import Decimal
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from pactstream import schema_files
from pactstream.errors import Detail

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator, ValidationError

MAX_FAULTS: Final = 100
PLAIN_DECIMAL_DUE: Final = 'must be a number, or a plain decimal such as "1000.50"'
DURATION_DUE: Final = "must be a duration from PT1S to P366D, such as PT1H30M, or seconds"

Steps: TypeAlias = tuple[str | int, ...]


def structural_faults(document: object) -> tuple[list[Detail], list[Steps]]:
    """The schema's findings on a decoded document (at most a hundred), and where they are.

    Numbers that do not survive binary floats are among them.
    """
    errors = list(islice(_schema().iter_errors(document), MAX_FAULTS))
    faults = dict.fromkeys(fault for error in errors for fault in _structural(error))
    return [*faults, *inexact_numbers(document)], [tuple(error.absolute_path) for error in errors]


def joined(steps: Iterable[str | int]) -> str:
    """Steps into a document as one path: `conditions[0].severity`."""
    path = ""
    for step in steps:
        path = f"{path}[{step}]" if isinstance(step, int) else _below(path, step)
    return path


@cache
def _schema() -> Draft202012Validator:
    # Imported where it is first needed: it takes 100 ms, and judging does without it.
    from jsonschema import Draft202012Validator

    return Draft202012Validator(json.loads(schema_files.read_text("pact.schema.json")))


def _structural(error: ValidationError) -> Iterable[Detail]:
    schema: Any = error.schema
    limit: Any = error.validator_value
    instance: Any = error.instance
    path = joined(error.absolute_path)
    if error.validator == "required":
        return [Detail(_below(path, name), "is missing") for name in limit if name not in instance]
    if error.validator == "additionalProperties":
        extra = (name for name in instance if name not in schema["properties"])
        return [Detail(_below(path, name[:64]), "is not a known member") for name in extra]
    return [Detail(path, _expectation(error.validator, limit, path))]


def _expectation(keyword: object, limit: Any, path: str) -> str:
    match keyword:
        case "type":
            return f"must be {' or '.join(limit) if isinstance(limit, list) else f'of type {limit}'}"
        case "enum":
            return f"must be one of {', '.join(limit)}"
        case "maxItems" | "maxLength":
            return f"is longer than {limit}"
        case "minItems" | "minLength" | "minProperties":
            return "must not be empty"
        case "minimum" | "maximum":
            return f"must be {limit} at {'least' if keyword == 'minimum' else 'most'}"
        case "not":
            return "does not belong to a condition of this type"
        case "oneOf":
            names = (name for option in limit for name in option["required"])
            return f"must have exactly one of {', '.join(names)}"
        case "dependentRequired":
            return f"{', '.join(limit)} may stand only beside {', '.join(*limit.values())}"
        case _:  # "pattern": of a number, a duration or an agent's id
            if path == "agentId":
                return "must be a UUID"
            return DURATION_DUE if limit.startswith("^P") else PLAIN_DECIMAL_DUE


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def inexact_numbers(value: object, path: str = "") -> list[Detail]:
    """Numbers that readers with binary floats would change: two pacts could share one canonical form."""
    if isinstance(value, dict):
        return [
            fault for key, inner in value.items() for fault in inexact_numbers(inner, _below(path, key[:64]))
        ]
    if isinstance(value, list):
        return [fault for at, inner in enumerate(value) for fault in inexact_numbers(inner, f"{path}[{at}]")]
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool) and not _survives_floats(value):
        return [Detail(path, "is a number that JSON readers may change: write it as a string")]
    return []


def _survives_floats(value: int | Decimal) -> bool:
    # Compared, never abs(): arithmetic on a Decimal rounds, and fails on a huge exponent.
    return -(2**53) < value < 2**53 and (isinstance(value, int) or Decimal(repr(float(value))) == value)
