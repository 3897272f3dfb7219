"""Compact JWS, questions and evaluators' verdicts: whatever comes in, it is right or `InvalidInput`."""

from __future__ import annotations

from pathlib import Path
from tempfile import mkdtemp

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pactstream import clock
from pactstream.errors import InvalidInput
from pactstream.evaluation import Opinion, Question, sign
from pactstream.evaluation.verdict import MAX_CHARS, verify
from pactstream.mirror import statement
from pactstream.signing import compact
from pactstream.signing.jwks import jwks_document
from pactstream.signing.keys import create_keys

(KEY,) = create_keys(Path(mkdtemp()), "evaluator")
KEYS = {KEY.kid: KEY.public}
ASKED = Question(
    evaluation_id="e", issuer="i", agent_id="a", leaf_hash="0" * 64, leaf=msgspec.Raw(b'{"tool":"t"}')
)
SIGNED = sign(ASKED, Opinion(verdict="violated", severity="minor", codes=("odd",)), KEY)
TYPE = "test+jws"
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."


@given(st.binary(max_size=500))
def test_what_is_signed_comes_back(payload: bytes) -> None:
    signed = compact.sign(payload or b"x", KEY, TYPE)
    found, key = compact.verify(signed, KEYS, typ=TYPE, what="it", max_chars=MAX_CHARS)
    assert (found, key) == (payload or b"x", KEY.public)
    with pytest.raises(InvalidInput):
        compact.verify(signed, KEYS, typ="another+jws", what="it", max_chars=MAX_CHARS)
    with pytest.raises(InvalidInput):
        compact.verify(signed, {}, typ=TYPE, what="it", max_chars=MAX_CHARS)


@given(at=st.integers(0, len(SIGNED) - 1), by=st.sampled_from(_ALPHABET))
def test_no_other_text_passes_for_a_verdict(at: int, by: str) -> None:
    changed = SIGNED[:at] + by + SIGNED[at + 1 :]
    try:
        said = verify(changed, ASKED, KEYS, now_micros=clock.now_micros())
    except InvalidInput:
        return
    # Base64 leaves bits over at an end: another spelling of the same signature, never another verdict.
    assert (said.verdict, said.severity, said.codes) == ("violated", "minor", ("odd",))


_PARTS = st.lists(st.text(_ALPHABET, max_size=40), min_size=3, max_size=3)


@given(st.one_of(st.text(max_size=100), _PARTS.map(".".join)))
def test_any_other_text_is_refused(text: str) -> None:
    now = clock.now_micros()
    with pytest.raises(InvalidInput):
        verify(text, ASKED, KEYS, now_micros=now)
    with pytest.raises(InvalidInput):
        statement.verify(text, b"", jwks_document([KEY.public]), mirror="m", now_micros=now)


@given(st.binary(max_size=300))
def test_any_other_body_is_no_question(body: bytes) -> None:
    with pytest.raises(InvalidInput):
        Question.parse(body)
