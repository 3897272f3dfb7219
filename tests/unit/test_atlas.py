"""Atlas's day: the shape the demo promises, whatever the seed, and judged as promised."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from pactstream import atlas
from pactstream.pacts import compile_pact, parse_pact

PACT = compile_pact(parse_pact(atlas.pact_document().encode()), pact_id=atlas.PACT_ID, version=1)


@given(st.integers())
def test_every_day_has_the_shape_of_the_source_document(seed: int) -> None:
    sessions = atlas.day(seed)
    counts = [len(session.calls) for session in sessions]
    assert len(sessions) == 5
    assert sum(counts) == 25
    assert all(3 <= count <= 6 for count in counts)


@given(st.integers())
def test_all_calls_are_bound_and_exactly_one_in_session_three_violates(seed: int) -> None:
    verdicts = [
        [PACT.judge(call.tool, json.dumps(call.params).encode()) for call in session.calls]
        for session in atlas.day(seed)
    ]
    assert all(verdict.bound for session in verdicts for verdict in session)
    invalid = [(n, verdict) for n, session in enumerate(verdicts) for verdict in session if not verdict.valid]
    ((session_index, verdict),) = invalid
    assert session_index == 2
    assert verdict.severity == "critical"
    assert {(one.param_path, one.rule) for one in verdict.violations} == atlas.VIOLATED_RULES


def test_a_day_is_a_function_of_its_seed() -> None:
    assert atlas.day(1) == atlas.day(1)
    assert len({repr(atlas.day(seed)) for seed in range(20)}) == 20
