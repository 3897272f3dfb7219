"""Links and loosened pacts, whatever they are made of."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pactstream.pacts import compile_pact, parse_pact
from pactstream.pacts.loosen import NotLoosened, loosened, same_but_for
from pactstream.paging.keys import Link, LinkRefused, PagingKeys

KEYS = PagingKeys(b"k" * 32)
LATER = 2_000_000_000

texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20)
numbers = st.one_of(
    st.integers(-(10**20), 10**20), st.decimals(allow_nan=False, allow_infinity=False, places=3).map(str)
)
values = st.one_of(texts, numbers, st.booleans())
rules = st.one_of(
    st.fixed_dictionaries({"allowList": st.lists(texts, min_size=1, max_size=3)}),
    st.fixed_dictionaries({"denyList": st.lists(texts, min_size=1, max_size=3)}),
    st.fixed_dictionaries(
        {"allowList": st.lists(texts, min_size=1, max_size=3), "caseInsensitive": st.booleans()},
        optional={"normalize": st.just("nfkc")},
    ),
    st.fixed_dictionaries({"regex": st.sampled_from(["^a+$", "^[0-9]*$", "x|y"])}),
    st.fixed_dictionaries(
        {"valueRange": st.fixed_dictionaries({"min": st.integers(0, 5), "max": st.integers(5, 9)})}
    ),
    st.fixed_dictionaries({"required": st.just(True)}),
)


def judged(document: dict[str, Any], params: bytes) -> Any:
    return compile_pact(parse_pact(document), pact_id="p", version=1).judge("t", params)


@given(rules, values)
def test_what_can_be_loosened_passes_afterwards_and_nothing_else_differs(
    rule: dict[str, Any], value: object
) -> None:
    binding = {"tool": "t", "rules": [{"paramPath": "x", **rule}, {"paramPath": "y", "allowList": ["a"]}]}
    condition = {"type": "param_binding", "severity": "critical", "parameterBinding": binding}
    document = {"name": "P", "conditions": [condition]}
    params = json.dumps({"x": value}).encode()
    for violation in judged(document, params).violations:
        about: dict[str, Any] = {"param_path": violation.param_path, "rule": violation.rule}
        try:
            made = loosened(document, **about, value=violation.value)
        except NotLoosened:
            continue
        assert same_but_for(document, made, **about)
        assert violation.rule not in {one.rule for one in judged(made, params).violations}
        assert made["conditions"][0]["parameterBinding"]["rules"][1] == binding["rules"][1]


@given(st.uuids(), st.uuids(), st.sampled_from(["acknowledge", "accept", "block", "rotate"]))
def test_a_link_reads_as_it_was_written(tenant: object, page: object, action: str) -> None:
    link = Link(str(tenant), str(page), action, LATER)
    assert KEYS.link(KEYS.token(link), LATER - 1) == link
    other = PagingKeys(b"o" * 32).token(link)
    for token, at in ((other, 0), (KEYS.token(link), LATER)):
        try:
            KEYS.link(token, at)
        except LinkRefused:
            continue
        raise AssertionError("it was taken for ours")


@given(st.data())
def test_every_changed_character_of_a_link_is_noticed(data: st.DataObject) -> None:
    token = KEYS.token(Link("t", "p", "block", LATER))
    at = data.draw(st.integers(0, len(token) - 1))
    changed = token[:at] + data.draw(st.characters(max_codepoint=0x7F)) + token[at + 1 :]
    if changed == token:
        return
    try:
        KEYS.link(changed, 0)
    except LinkRefused:
        return
    raise AssertionError(f"{changed!r} was taken for ours")


@given(st.text(max_size=600))
def test_anything_else_is_no_link(text: str) -> None:
    try:
        KEYS.link(text, 0)
    except LinkRefused:
        return
    raise AssertionError("it was taken for ours")


@given(texts, st.text("abc", max_size=5), st.text("abc", max_size=5))
def test_a_sealed_secret_opens_for_its_route_only(secret: str, tenant: str, route: str) -> None:
    sealed = KEYS.seal(secret, tenant_id=tenant, route_id=route)
    assert KEYS.open(sealed, tenant_id=tenant, route_id=route) == secret
    # Shorter ones may stand in random bytes by chance.
    assert len(secret.encode()) < 8 or secret.encode() not in sealed
