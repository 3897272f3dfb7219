"""From a pact document to a `Pact`, or to every fault in it at once.

The structure is settled by the published JSON Schema itself, so that schema and parser cannot disagree; what no
schema can say is checked here afterwards, on the parts that are structurally sound.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

import rfc8785

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
from pactstream.pacts.paths import EACH, Path, PathError, beside, lookup, parse_path
from pactstream.pacts.regex import RegexError, compile_regex
from pactstream.pacts.structure import (
    MAX_FAULTS,
    PLAIN_DECIMAL_DUE,
    Steps,
    inexact_numbers,
    joined,
    structural_faults,
)
from pactstream.pacts.verdict import bounded

MAX_DOCUMENT_BYTES: Final = 256 * 1024
MAX_RULES: Final = 256
MAX_REGEX_SIZE: Final = 16_384

# Stands for a path that is at fault, so that the rest of its rule is still read; told apart by identity.
_UNKNOWN: Final[Path] = ("?",)


class PactError(InvalidInput):
    """The document is no pact; `details` name every fault by its path, such as `conditions[0].severity`."""


def parse_pact(document: bytes | Mapping[str, Any]) -> Pact:
    """A pact from its JSON document (bytes, or the decoded object).

    Raises PactError with up to a hundred faults.
    """
    decoded = _decoded(document)
    faults, broken = structural_faults(decoded)
    reader = _Reader(faults)
    if broken:
        reader.sound_rules(decoded, broken)
        raise _error(faults)
    return reader.pact(decoded)


def pact_hash(document: bytes | Mapping[str, Any]) -> str:
    """Hex SHA-256 of the RFC 8785 canonical form of a pact document, which need not be a valid pact.

    Raises PactError where the document is not JSON, or holds numbers that a canonical form would change.
    """
    decoded = _decoded(document)
    if faults := inexact_numbers(decoded):
        raise _error(faults)
    return hashlib.sha256(_canonical(decoded)).hexdigest()


def _decoded(document: bytes | Mapping[str, Any]) -> object:
    try:
        if not isinstance(document, bytes):
            document = json.dumps(document, allow_nan=False, ensure_ascii=False).encode()
        if len(document) > MAX_DOCUMENT_BYTES:
            raise ValueError(f"more than {MAX_DOCUMENT_BYTES} bytes")
        return values.decode(document)
    except (TypeError, ValueError, RecursionError) as error:
        raise _error([Detail("", f"this is no JSON document: {error}")]) from error


def _canonical(decoded: object) -> bytes:
    return rfc8785.dumps(_plain(decoded))


def _error(faults: list[Detail]) -> PactError:
    shown = faults[:MAX_FAULTS]
    first = f"{shown[0].path or 'document'}: {shown[0].message}"
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return PactError(f"invalid pact: {first}{more}", shown)


class _Reader:
    """Reads what is structurally sound and adds the faults in its meaning to `faults`."""

    def __init__(self, faults: list[Detail]) -> None:
        self._faults = faults
        self._regex_size = 0

    def sound_rules(self, document: object, broken: list[Steps]) -> None:
        """Read the rules that none of the `broken` paths lies in, for their faults."""
        conditions = lookup(document, ("conditions",), ())
        for at, condition in enumerate(conditions if isinstance(conditions, list) else ()):
            rules = lookup(condition, ("parameterBinding", "rules"), ())
            for number, rule in enumerate(rules if isinstance(rules, list) else ()):
                steps = ("conditions", at, "parameterBinding", "rules", number)
                if all(path[: len(steps)] != steps for path in broken):
                    self._rule(rule, joined(steps))

    def pact(self, document: Any) -> Pact:
        conditions = tuple(
            self._binding(condition, f"conditions[{at}]") for at, condition in enumerate(document["conditions"])
        )
        rules = sum(len(condition.rules) for condition in conditions)
        if rules > MAX_RULES:
            self._faults.append(Detail("conditions", f"may have {MAX_RULES} rules in all, not {rules}"))
        if self._faults:
            raise _error(self._faults)
        canonical = _canonical(document)
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
        param_path = self._path(rule["paramPath"], f"{path}.paramPath") or _UNKNOWN

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

    def _path(self, text: str, path: str) -> Path | None:
        try:
            return parse_path(text)
        except PathError as error:
            self._faults.append(Detail(path, str(error)))
            return None

    def _entry(self, entry: object, path: str, ignore_case: bool, nfkc: bool) -> str:
        prepared = values.prepared_text(entry, ignore_case=ignore_case, nfkc=nfkc)
        if prepared is None:
            self._faults.append(Detail(path, "is too long or too precise to compare as text"))
        return prepared or ""

    def _regex(self, pattern: str, path: str, ignore_case: bool) -> Regex:
        try:
            self._regex_size += compile_regex(pattern, ignore_case=ignore_case).size
        except RegexError as error:
            self._faults.append(Detail(path, str(error)))
        if self._regex_size > MAX_REGEX_SIZE:
            self._faults.append(Detail(path, "the expressions of this pact together grow too large"))
        return Regex(pattern, expected=pattern)

    def _number(self, value: object, path: str) -> Decimal:
        read = values.number(value)
        if read is None:  # Python's `$`, as the schema's validator reads it, lets a trailing newline pass
            self._faults.append(Detail(path, PLAIN_DECIMAL_DUE))
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
            currency_path = self._path(max_amount["currencyPath"], f"{path}.currencyPath") or currency_path
            if param_path is not _UNKNOWN and not _same_elements(currency_path, param_path):
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


def _plain(value: Any) -> Any:
    """A decoded document with floats for decimals, which it survives: see `inexact_numbers`."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


def _shown(value: Any) -> Any:
    """A part of the document as verdicts quote it."""
    return bounded(_plain(value))
