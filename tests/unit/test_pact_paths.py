from __future__ import annotations

import pytest

from pactstream.pacts.paths import EACH, PathError, beside, format_path, lookup, parse_path


@pytest.mark.parametrize(
    ("text", "segments"),
    [
        ("destination", ("destination",)),
        ("vendor.id", ("vendor", "id")),
        ("items[*].price", ("items", EACH, "price")),
        ("items[0]", ("items", 0)),
        ("grid[*][12]", ("grid", EACH, 12)),
        ('"a.b".c', ("a.b", "c")),
        ('["a.b"].c', ("a.b", "c")),
        ('a["b c"]', ("a", "b c")),
        ('a."b\\"c"', ("a", 'b"c')),
        ('"\\u00e9"', ("é",)),
        ('""', ("",)),
        ("größe.日本", ("größe", "日本")),
        ("$ref.@type.a-b/c", ("$ref", "@type", "a-b/c")),
        ('"a[*]"', ("a[*]",)),
    ],
)
def test_a_path_is_read_as_its_segments(text: str, segments: tuple[object, ...]) -> None:
    assert parse_path(text) == segments


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("", 0),
        (".a", 0),
        ("a..b", 1),
        ("a.", 1),
        ("a b", 1),
        ("[0]", 0),
        ("[*].a", 0),
        ("a[01]", 1),
        ("a[10000]", 1),
        ("a[-1]", 1),
        ("a[]", 1),
        ("a[b]", 1),
        ("a*", 1),
        ("a.[0]", 1),
        ('a"b"', 1),
        ("a[0]b", 4),
        ('"a', 0),
        ('"\\q"', 0),
        ('a["\\ud800"]', 1),
        ("a\n", 1),
        (".".join("abcdefghijklmnopq"), 0),
        ("a[*][*][*][*][*]", 0),
    ],
)
def test_a_fault_in_a_path_is_reported_with_its_position(text: str, position: int) -> None:
    with pytest.raises(PathError, match=rf"at position {position}$") as caught:
        parse_path(text)
    assert caught.value.position == position


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ('["a"]["b"]', "a.b"),
        ('a["b.c"].d', 'a."b.c".d'),
        ('"a".b[*][3]', "a.b[*][3]"),
        ('""', '""'),
        ('a."\\u0022"', 'a."\\""'),
        ('"\\u00e9"', "é"),
    ],
)
def test_the_canonical_form_quotes_only_where_it_must_and_reads_back(text: str, canonical: str) -> None:
    path = parse_path(text)
    assert format_path(path) == canonical
    assert parse_path(canonical) == path


def test_indices_take_the_place_of_wildcards_from_left_to_right() -> None:
    path = parse_path("orders[*].lines[*].price")
    assert format_path(path, (3,)) == "orders[3].lines[*].price"
    assert format_path(path, (3, 0)) == "orders[3].lines[0].price"


@pytest.mark.parametrize(
    ("path", "sibling"),
    [
        ("amount", "currency"),
        ("payment.amount", "payment.currency"),
        ("items[*].price", "items[*].currency"),
        ("totals[0]", "currency"),
        ("a.totals[*][*]", "a.currency"),
    ],
)
def test_the_sibling_stands_beside_the_last_key(path: str, sibling: str) -> None:
    assert format_path(beside(parse_path(path), "currency")) == sibling


@pytest.mark.parametrize(
    ("path", "indices", "value"),
    [
        ("a.b[*].c", (1,), 2),
        ("a.b[0].c", (), 1),
        ("a.b[9].c", (), None),
        ("a.b.c", (), None),
        ("a[0]", (), None),
        ("x.y", (), None),
    ],
)
def test_lookup_finds_the_value_or_none(path: str, indices: tuple[int, ...], value: object) -> None:
    params = {"a": {"b": [{"c": 1}, {"c": 2}]}}
    assert lookup(params, parse_path(path), indices) == value
