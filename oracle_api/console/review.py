"""A version of a pact before it is in force: its faults at their places, its difference, a replay, as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from oracle_api.console.positions import Fault, located, syntax_fault
from oracle_api.console.recorded import Replayed
from pactstream import clock
from pactstream.errors import Detail
from pactstream.pacts import Pact, PactError, parse_pact
from pactstream.review.diff import differences


def check(text: str) -> tuple[Pact | None, list[dict[str, Any]]]:
    """The pact in a text, and every fault of it with its place."""
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return None, [_shown(syntax_fault(text, error))]
    except RecursionError:
        return None, [_shown(one) for one in located(text, [Detail("", "is nested too deeply")])]
    try:
        return parse_pact(text.encode("utf-8", "replace")), []
    except PactError as error:
        return None, [_shown(one) for one in located(text, list(error.details))]


def difference(old: Pact, new: Pact) -> dict[str, Any]:
    """What differs in meaning from `old` to `new`."""
    return {"same": old.hash == new.hash, "differences": [asdict(one) for one in differences(old, new)]}


def replayed(found: Replayed) -> dict[str, Any]:
    """A replay: calls by verdict then and now, rules that count otherwise, calls that are judged otherwise."""
    comparison = found.comparison
    return {
        "since": clock.to_iso(found.since_micros),
        "calls": comparison.calls,
        "erased": found.erased,
        "cut": found.cut,
        "worse": comparison.count(was_valid=True, is_valid=False),
        "better": comparison.count(was_valid=False, is_valid=True),
        "verdicts": [
            {"before": before, "after": after, "calls": number}
            for (before, after), number in sorted(comparison.verdicts.items(), key=lambda item: -item[1])
        ],
        "rules": [
            {"tool": tool, "paramPath": path, "rule": rule, "before": sides[0], "after": sides[1]}
            for (tool, path, rule), sides in sorted(comparison.rules.items())
            if sides[0] != sides[1]
        ],
        "changed": [
            {
                "eventId": one.event_id,
                "tool": one.tool,
                "occurredAt": clock.to_iso(one.occurred_at_micros),
                "before": one.before,
                "after": one.after,
                "rules": one.rules,
            }
            for one in comparison.changed
        ],
    }


def _shown(fault: Fault) -> dict[str, Any]:
    return {"path": fault.path, "message": fault.message, **fault.place._asdict()}
