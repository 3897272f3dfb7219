"""Faults of a pact at their places in its text."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle_api.console import review
from oracle_api.console.positions import located
from pactstream import atlas
from pactstream.errors import Detail

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.from_regex(r"\A[a-z😀]{1,5}\Z"), inner, max_size=4)
    ),
    max_leaves=20,
)


def shown(text: str, start: int, end: int) -> str:
    """The part of a text between two places that count UTF-16 units."""
    return text.encode("utf-16-le")[2 * start : 2 * end].decode("utf-16-le")


def test_a_pact_without_fault() -> None:
    pact, faults = review.check(atlas.pact_document())
    assert pact is not None
    assert faults == []


@pytest.mark.parametrize(
    ("old", "new", "path", "marked"),
    [
        ('"critical"', '"deadly"', "conditions[0].severity", '"deadly"'),
        (
            '{ "min": 1, "max": 100 }',
            '{ "min": 200, "max": 100 }',
            "conditions[2].parameterBinding.rules[1].valueRange",
            '{ "min": 200, "max": 100 }',
        ),
        ('"^[A-Z]{3,5}$"', '"^[A-Z{3,5}$("', "conditions[3].parameterBinding.rules[0].regex", '"^[A-Z{3,5}$("'),
    ],
)
def test_a_fault_stands_at_its_part(old: str, new: str, path: str, marked: str) -> None:
    text = atlas.pact_document().replace(old, new, 1)
    pact, faults = review.check(text)
    assert pact is None
    fault = next(one for one in faults if one["path"] == path)
    assert shown(text, fault["start"], fault["end"]) == marked
    line = text.split("\n")[fault["line"] - 1]
    assert line[fault["column"] - 1 :].startswith(marked)


def test_what_is_missing_stands_at_what_lacks_it() -> None:
    text = '{"name": "x 😀", "conditions": [ {"type": "param_binding", "severity": "info"} ]}'
    _, faults = review.check(text)
    assert any(shown(text, one["start"], one["end"]).startswith('{"type"') for one in faults)


@pytest.mark.parametrize("text", ["", "{", '{"name": }', "[1, 2", '{"a": "\ud800"}', "[" * 20_000])
def test_what_is_no_json_has_a_place(text: str) -> None:
    pact, faults = review.check(text)
    assert pact is None
    assert faults[0]["line"] == 1
    assert faults[0]["message"]


@given(VALUES, st.sampled_from([None, 1, 4]))
def test_every_part_is_found(value: object, indent: int | None) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    parts = list(_parts(value, ""))
    faults = located(text, [Detail(path, "x") for path, _ in parts])
    found = {fault.path: fault.place for fault in faults}
    for path, inner in parts:
        place = found[path]
        assert json.loads(shown(text, place.start, place.end)) == inner


def _parts(value: object, path: str) -> list[tuple[str, object]]:
    here: list[tuple[str, object]] = [(path, value)]
    if isinstance(value, dict):
        for key, inner in value.items():
            here += _parts(inner, f"{path}.{key}" if path else key)
    if isinstance(value, list):
        for at, inner in enumerate(value):
            here += _parts(inner, f"{path}[{at}]")
    return here
