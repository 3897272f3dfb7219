"""From a pact document to a `Pact`, or to every fault in it at once.

The structure is settled by the published JSON Schema itself, so that schema and parser cannot disagree; what no
schema can say is checked here afterwards, on the parts that are structurally sound.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

import rfc8785

from pactstream.errors import Detail, InvalidInput
from pactstream.pacts import values
from pactstream.pacts.model import (
    AllowList,
    Check,
    Condition,
    DenyList,
    MaxAmount,
    Pact,
    ParamBinding,
    Regex,
    Rule,
    ValueRange,
)
from pactstream.pacts.paths import EACH, Path, beside, lookup
from pactstream.pacts.read_stateful import (
    read_escalation,
    read_evaluators,
    read_objectives,
    read_sequence,
    read_window,
)
from pactstream.pacts.reading import UNKNOWN_PATH, Reader, plain, shown
from pactstream.pacts.regex import RegexError, compile_regex
from pactstream.pacts.structure import MAX_FAULTS, Steps, inexact_numbers, joined, structural_faults

MAX_DOCUMENT_BYTES: Final = 256 * 1024
MAX_RULES: Final = 256
MAX_REGEX_SIZE: Final = 16_384


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
        if len(broken) < MAX_FAULTS:  # else more may be broken than is listed
            reader.sound_parts(decoded, broken)
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
    return rfc8785.dumps(plain(decoded))


def _error(faults: list[Detail]) -> PactError:
    listed = faults[:MAX_FAULTS]
    first = f"{listed[0].path or 'document'}: {listed[0].message}"
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return PactError(f"invalid pact: {first}{more}", listed)


class _Reader(Reader):
    """Reads conditions."""

    def __init__(self, faults: list[Detail]) -> None:
        super().__init__(faults)
        self._regex_size = 0

    def sound_parts(self, document: object, broken: list[Steps]) -> None:
        """Read the conditions and rules that none of the `broken` paths lies in, for their faults."""

        def sound(*steps: str | int) -> bool:
            return all(path[: len(steps)] != steps for path in broken)

        conditions = lookup(document, ("conditions",), ())
        for at, condition in enumerate(conditions if isinstance(conditions, list) else ()):
            if sound("conditions", at):
                self._condition(condition, f"conditions[{at}]")
                continue
            rules = lookup(condition, ("parameterBinding", "rules"), ())
            for number, rule in enumerate(rules if isinstance(rules, list) else ()):
                steps = ("conditions", at, "parameterBinding", "rules", number)
                if sound(*steps):
                    self._rule(rule, joined(steps))

    def pact(self, document: Any) -> Pact:
        conditions = tuple(
            self._condition(condition, f"conditions[{at}]")
            for at, condition in enumerate(document["conditions"])
        )
        rules = sum(len(condition.rules) for condition in conditions if isinstance(condition, ParamBinding))
        if rules > MAX_RULES:
            self.fault("conditions", f"may have {MAX_RULES} rules in all, not {rules}")
        evaluators = read_evaluators(self, document.get("evaluators", ()))
        if self.faults:
            raise _error(self.faults)
        canonical = _canonical(document)
        objectives = document.get("objectives")
        return Pact(
            name=document["name"],
            agent_id=document.get("agentId"),
            conditions=conditions,
            objectives=None if objectives is None else read_objectives(objectives),
            canonical=canonical,
            hash=hashlib.sha256(canonical).hexdigest(),
            evaluators=evaluators,
        )

    def _condition(self, condition: Any, path: str) -> Condition:
        match condition["type"]:
            case "window":
                return read_window(self, condition, path)
            case "sequence":
                return read_sequence(self, condition, path)
            case "escalate":
                return read_escalation(self, condition, path)
            case _:  # param_binding
                return self._binding(condition, path)

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
        param_path = self.path(rule["paramPath"], f"{path}.paramPath") or UNKNOWN_PATH

        def entries(name: str) -> frozenset[str]:
            listed = enumerate(rule[name])
            return frozenset(
                self._entry(entry, f"{path}.{name}[{at}]", ignore_case, nfkc) for at, entry in listed
            )

        checks: list[Check] = []
        if "allowList" in rule:
            checks.append(AllowList(entries("allowList"), expected=shown(rule["allowList"])))
        if "denyList" in rule:
            checks.append(DenyList(entries("denyList"), expected=shown(rule["denyList"])))
        if "regex" in rule:
            checks.append(self._regex(rule["regex"], f"{path}.regex", ignore_case))
        if "valueRange" in rule:
            checks.append(self._value_range(rule["valueRange"], f"{path}.valueRange"))
        if "maxAmount" in rule:
            checks.append(self._max_amount(rule["maxAmount"], f"{path}.maxAmount", param_path))
        return Rule(param_path, rule.get("required", False), tuple(checks), ignore_case, nfkc)

    def _entry(self, entry: object, path: str, ignore_case: bool, nfkc: bool) -> str:
        prepared = values.prepared_text(entry, ignore_case=ignore_case, nfkc=nfkc)
        if prepared is None:
            self.fault(path, "is too long or too precise to compare as text")
        return prepared or ""

    def _regex(self, pattern: str, path: str, ignore_case: bool) -> Regex:
        try:
            self._regex_size += compile_regex(pattern, ignore_case=ignore_case).size
        except RegexError as error:
            self.fault(path, str(error))
        if self._regex_size > MAX_REGEX_SIZE:
            self.fault(path, "the expressions of this pact together grow too large")
        return Regex(pattern, expected=pattern)

    def _value_range(self, value_range: Any, path: str) -> ValueRange:
        ends = {end: self.number(value, f"{path}.{end}") for end, value in value_range.items()}
        least, most = ends.get("min"), ends.get("max")
        if least is not None and most is not None and least > most:
            self.fault(path, "min is above max")
        return ValueRange(least, most, expected=shown(value_range))

    def _max_amount(self, max_amount: Any, path: str, param_path: Path) -> MaxAmount:
        amount = self.number(max_amount["amount"], f"{path}.amount")
        if amount < 0:
            self.fault(f"{path}.amount", "must not be negative")
        currency_path = beside(param_path, "currency")
        if "currencyPath" in max_amount:
            currency_path = self.path(max_amount["currencyPath"], f"{path}.currencyPath") or currency_path
            if param_path is not UNKNOWN_PATH and not _same_elements(currency_path, param_path):
                fault = "may use [*] only where paramPath has it too, after the same keys"
                self.fault(f"{path}.currencyPath", fault)
        return MaxAmount(
            amount=amount,
            currency=max_amount["currency"],
            currency_path=currency_path,
            allow_negative=max_amount.get("allowNegative", False),
            expected=shown({"amount": max_amount["amount"], "currency": max_amount["currency"]}),
        )


def _same_elements(path: Path, other: Path) -> bool:
    """Whether each `[*]` of `path` runs over the same array as that of `other`."""
    shared = max((at + 1 for at, segment in enumerate(path) if segment is EACH), default=0)
    return path[:shared] == other[:shared]
