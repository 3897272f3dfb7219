"""From a pact document to a `Pact`, or to every fault in it at once.

The structure is settled by the published JSON Schema itself, so that schema and parser cannot disagree; what no
schema can say is checked here afterwards, on the parts that are structurally sound.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from functools import cache
from itertools import islice
from typing import Any, Final

import jiter
import rfc8785
from jsonschema import Draft202012Validator, ValidationError

from pactstream import schema_files
from pactstream.errors import Detail, InvalidInput
from pactstream.pacts import values
from pactstream.pacts.model import (
    AllowList,
    Check,
    DenyList,
    MaxAmount,
    Pact,
    ParamBinding,
    Regex,
    Rule,
    ValueRange,
)
from pactstream.pacts.paths import EACH, Path, PathError, beside, parse_path
from pactstream.pacts.regex import RegexError, compile_regex
from pactstream.pacts.verdict import bounded

MAX_DOCUMENT_BYTES: Final = 256 * 1024
MAX_FAULTS: Final = 100

_PLAIN_DECIMAL_DUE: Final = 'must be a number, or a plain decimal such as "1000.50"'


class PactError(InvalidInput):
    """The document is no pact; `details` name every fault by its path, such as `conditions[0].severity`."""


def parse_pact(document: bytes | Mapping[str, Any]) -> Pact:
    """A pact from its JSON document (bytes, or the decoded object).

    Raises PactError with up to a hundred faults.
    """
    raw = document if isinstance(document, bytes) else _encoded(document)
    if len(raw) > MAX_DOCUMENT_BYTES:
        raise _error([Detail("", f"a pact may have {MAX_DOCUMENT_BYTES} bytes, this has {len(raw)}")])
    try:
        decoded = values.decode(raw)
    except ValueError as error:
        raise _error([Detail("", f"not JSON: {error}")]) from error
    errors = islice(_schema().iter_errors(decoded), MAX_FAULTS)
    faults = list(dict.fromkeys(fault for error in errors for fault in _structural(error)))
    faults += _inexact_numbers(decoded, "")
    if faults:
        raise _error(faults)
    return _Reader().pact(decoded, raw)


def pact_hash(document: bytes | Mapping[str, Any]) -> str:
    """Hex SHA-256 of the RFC 8785 canonical form of a pact document.

    Raises PactError where the document is not JSON that RFC 8785 can express.
    """
    return hashlib.sha256(
        _canonical(document if isinstance(document, bytes) else _encoded(document))
    ).hexdigest()


def _canonical(raw: bytes) -> bytes:
    try:
        return rfc8785.dumps(jiter.from_json(raw, allow_inf_nan=False, catch_duplicate_keys=True))
    except ValueError as error:
        raise _error([Detail("", f"no canonical form: {error}")]) from error


def _encoded(document: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(document, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise _error([Detail("", f"not JSON: {error}")]) from error


def _error(faults: list[Detail]) -> PactError:
    shown = faults[:MAX_FAULTS]
    first = f"{shown[0].path or 'document'}: {shown[0].message}"
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return PactError(f"invalid pact: {first}{more}", shown)


@cache
def _schema() -> Draft202012Validator:
    return Draft202012Validator(json.loads(schema_files.read_text("pact.schema.json")))


# --- structure: the JSON Schema's findings in our words ---


def _structural(error: ValidationError) -> Iterable[Detail]:
    schema: Any = error.schema
    limit: Any = error.validator_value
    instance: Any = error.instance
    path = _joined(error.absolute_path)
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
        case _:  # "pattern": of a number or an agent's id
            return "must be a UUID" if path == "agentId" else _PLAIN_DECIMAL_DUE


def _joined(steps: Iterable[str | int]) -> str:
    path = ""
    for step in steps:
        path = f"{path}[{step}]" if isinstance(step, int) else _below(path, step)
    return path


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _inexact_numbers(value: object, path: str) -> list[Detail]:
    """Numbers that a reader with binary floats would change: two pacts could then share one canonical form."""
    if isinstance(value, dict):
        return [
            fault for key, inner in value.items() for fault in _inexact_numbers(inner, _below(path, key[:64]))
        ]
    if isinstance(value, list):
        return [fault for at, inner in enumerate(value) for fault in _inexact_numbers(inner, f"{path}[{at}]")]
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool) and not _survives_floats(value):
        return [Detail(path, "is a number that JSON readers may change: write it as a string")]
    return []


def _survives_floats(value: int | Decimal) -> bool:
    # Compared, never abs(): arithmetic on a Decimal rounds, and fails on a huge exponent.
    return -(2**53) < value < 2**53 and (isinstance(value, int) or Decimal(repr(float(value))) == value)


# --- meaning: what no schema can say ---


class _Reader:
    """Reads a structurally sound document and collects the faults in its meaning."""

    def __init__(self) -> None:
        self._faults: list[Detail] = []

    def pact(self, document: Any, raw: bytes) -> Pact:
        conditions = tuple(
            self._binding(condition, f"conditions[{at}]") for at, condition in enumerate(document["conditions"])
        )
        if self._faults:
            raise _error(self._faults)
        canonical = _canonical(raw)
        return Pact(
            name=document["name"],
            agent_id=document.get("agentId"),
            conditions=conditions,
            canonical=canonical,
            hash=hashlib.sha256(canonical).hexdigest(),
        )

    def _binding(self, condition: Any, path: str) -> ParamBinding:
        binding = condition["parameterBinding"]
        rules = (
            self._rule(rule, f"{path}.parameterBinding.rules[{at}]") for at, rule in enumerate(binding["rules"])
        )
        return ParamBinding(
            severity=condition["severity"],
            tool=binding["tool"],
            rules=tuple(rules),
            forbid_unknown=binding.get("unknownParams") == "forbid",
        )

    def _rule(self, rule: Any, path: str) -> Rule:
        ignore_case = rule.get("caseInsensitive", False)
        nfkc = "normalize" in rule
        param_path = self._path(rule["paramPath"], f"{path}.paramPath")

        def entries(name: str) -> frozenset[str]:
            listed = enumerate(rule[name])
            return frozenset(
                self._entry(entry, f"{path}.{name}[{at}]", ignore_case, nfkc) for at, entry in listed
            )

        checks: list[Check] = []
        if "allowList" in rule:
            checks.append(AllowList(entries("allowList"), expected=_shown(rule["allowList"])))
        if "denyList" in rule:
            checks.append(DenyList(entries("denyList"), expected=_shown(rule["denyList"])))
        if "regex" in rule:
            checks.append(self._regex(rule["regex"], f"{path}.regex", ignore_case))
        if "valueRange" in rule:
            checks.append(self._value_range(rule["valueRange"], f"{path}.valueRange"))
        if "maxAmount" in rule:
            checks.append(self._max_amount(rule["maxAmount"], f"{path}.maxAmount", param_path))
        return Rule(param_path, rule.get("required", False), tuple(checks), ignore_case, nfkc)

    def _path(self, text: str, path: str) -> Path:
        try:
            return parse_path(text)
        except PathError as error:
            self._faults.append(Detail(path, str(error)))
            return ("",)

    def _entry(self, entry: object, path: str, ignore_case: bool, nfkc: bool) -> str:
        prepared = values.prepared_text(entry, ignore_case=ignore_case, nfkc=nfkc)
        if prepared is None:
            self._faults.append(Detail(path, "is too long or too precise to compare as text"))
        return prepared or ""

    def _regex(self, pattern: str, path: str, ignore_case: bool) -> Regex:
        try:
            compile_regex(pattern, ignore_case=ignore_case)
        except RegexError as error:
            self._faults.append(Detail(path, str(error)))
        return Regex(pattern, expected=pattern)

    def _number(self, value: object, path: str) -> Decimal:
        read = values.number(value)
        if read is None:  # Python's `$`, as the schema's validator reads it, lets a trailing newline pass
            self._faults.append(Detail(path, _PLAIN_DECIMAL_DUE))
        return Decimal(read or 0)

    def _value_range(self, value_range: Any, path: str) -> ValueRange:
        ends = {end: self._number(value, f"{path}.{end}") for end, value in value_range.items()}
        least, most = ends.get("min"), ends.get("max")
        if least is not None and most is not None and least > most:
            self._faults.append(Detail(path, "min is above max"))
        return ValueRange(least, most, expected=_shown(value_range))

    def _max_amount(self, max_amount: Any, path: str, param_path: Path) -> MaxAmount:
        amount = self._number(max_amount["amount"], f"{path}.amount")
        if amount < 0:
            self._faults.append(Detail(f"{path}.amount", "must not be negative"))
        currency_path = beside(param_path, "currency")
        if "currencyPath" in max_amount:
            currency_path = self._path(max_amount["currencyPath"], f"{path}.currencyPath")
            if not _same_elements(currency_path, param_path):
                fault = "may use [*] only where paramPath has it too, after the same keys"
                self._faults.append(Detail(f"{path}.currencyPath", fault))
        return MaxAmount(
            amount=amount,
            currency=max_amount["currency"],
            currency_path=currency_path,
            allow_negative=max_amount.get("allowNegative", False),
            expected=_shown({"amount": max_amount["amount"], "currency": max_amount["currency"]}),
        )


def _same_elements(path: Path, other: Path) -> bool:
    """Whether each `[*]` of `path` runs over the same array as that of `other`."""
    shared = max((at + 1 for at, segment in enumerate(path) if segment is EACH), default=0)
    return path[:shared] == other[:shared]


def _shown(value: Any) -> Any:
    """A part of the document as a verdict quotes it: plain JSON values, shortened."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, dict):
        return {key: _shown(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return bounded([_shown(inner) for inner in value])
    return value
