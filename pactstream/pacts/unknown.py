"""`unknownParams: "forbid"`: which names the rules for a tool use, and which of a call's are none of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

from pactstream.pacts import explain
from pactstream.pacts.explain import MAX_ELEMENTS, Findings
from pactstream.pacts.model import MaxAmount, Rule
from pactstream.pacts.paths import EACH, Path
from pactstream.pacts.verdict import Severity

Known: TypeAlias = "dict[Any, Known | None]"
"""The names that rules use, as a tree; None: all that lies below is known."""


def known_names(rules: Iterable[Rule]) -> Known:
    """Every name on the path of a rule, or of the currency of an amount."""
    tree: Known = {}
    for rule in rules:
        amounts = (check.currency_path for check in rule.checks if isinstance(check, MaxAmount))
        for path in (rule.path, *amounts):
            _plant(tree, path)
    return tree


def _plant(tree: Known, path: Path) -> None:
    for depth, segment in enumerate(path):
        name = segment if isinstance(segment, str) else EACH
        last = depth == len(path) - 1
        below = tree.setdefault(name, None)
        if not last:
            tree[name] = tree = {} if below is None else below


def unknown_params(
    out: Findings | None, severity: Severity, value: object, known: Known, place: Path
) -> Findings | None:
    """Every name below `value` that is not in the tree; a value of another shape is its own rule's concern."""
    if isinstance(value, dict):
        names = [name for name in known if isinstance(name, str)]
        for name, inner in value.items():
            if name not in known:
                out = explain.unknown(out, severity, (*place, name[:128]), inner, names)
            elif below := known[name]:
                out = unknown_params(out, severity, inner, below, (*place, name))
    elif isinstance(value, list) and (below := known.get(EACH)):
        for index, element in enumerate(value[:MAX_ELEMENTS]):
            out = unknown_params(out, severity, element, below, (*place, index))
    return out
