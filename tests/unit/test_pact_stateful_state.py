"""What judging remembers: expiry, order, changes, and bytes."""

from __future__ import annotations

import pytest

from pactstream.errors import InvalidInput
from pactstream.pacts import PactState
from pactstream.pacts.state import Moments, fingerprint, identity, key_of
from tests.pact_calls import HOUR


def state_of(*expiries: int) -> PactState:
    state = PactState()
    for key, expires in enumerate(expiries):
        state.put("m", str(key), Moments(expires, [key]))
    return state


def names(state: PactState, now: int = 0) -> list[str]:
    return [f"{name}{'' if record else ' gone'}" for name, record in state.drain(now)]


def test_an_entry_is_found_until_it_expires_whether_or_not_it_has_been_removed() -> None:
    state = state_of(100)
    assert state.find("m", "0", 99) == Moments(100, [0])
    assert state.find("m", "0", 100) is None
    assert state.find("m", "1", 0) is None
    assert state.find("n", "0", 0) is None
    assert names(state, HOUR) == ["m/0"]
    assert len(state) == 1  # its hour of grace
    assert names(state, HOUR + 100) == ["m/0 gone"]
    assert len(state) == 0


def test_changes_are_told_once_in_the_order_of_the_last_change() -> None:
    state = state_of(HOUR, HOUR, HOUR)
    state.put("m", "0", Moments(HOUR, [9]))
    assert names(state) == ["m/1", "m/2", "m/0"]
    assert names(state) == []


def test_room_is_counted_without_what_has_expired() -> None:
    state = state_of(10, 20, 30)
    assert [state.count("m", now) for now in (0, 10, 20, 30)] == [3, 2, 1, 0]
    assert not state.has_room("m", 2, 0)
    assert state.has_room("m", 2, 20)
    assert state.has_room("other", 1, 0)


@pytest.mark.parametrize("drained", [True, False])
def test_the_oldest_to_go_is_the_same_however_often_changes_were_written(drained: bool) -> None:
    state = state_of(10, 2 * HOUR, 2 * HOUR)
    now = HOUR + 20
    if drained:
        assert "m/0 gone" in names(state, now)
    state.drop_oldest("m", now)
    assert state.find("m", "1", now) is None
    assert state.find("m", "2", now) is not None


def test_a_state_restored_from_its_changes_goes_on_in_the_same_order() -> None:
    state = state_of(HOUR, HOUR, HOUR)
    state.put("m", "0", Moments(HOUR, [9]))
    again = PactState()
    for name, record in state.drain(0):
        again.restore(name, record)
    assert again.dump() == state.dump()
    for one in (state, again):
        one.drop_oldest("m", 0)
        one.restore("m/2", None)
        assert names(one) == ["m/1 gone"]
    assert again.dump() == state.dump() == PactState.load(state.dump()).dump()


@pytest.mark.parametrize("record", [b"", b"junk", b"\x93\xa1s\x01"])
def test_bytes_that_are_no_state_are_refused(record: bytes) -> None:
    with pytest.raises(InvalidInput, match="no state of a condition"):
        PactState().restore("m/k", record)
    with pytest.raises(InvalidInput, match="no state of an agent"):
        PactState.load(record)


def test_names_tell_apart_what_differs_and_show_nothing() -> None:
    assert len({identity("p", "a", None), identity("p", "a"), identity("q", "a"), identity("p", ["a"])}) == 4
    assert len({key_of("a", "b"), key_of("ab"), key_of("", "ab"), key_of("a\x00b"), key_of("b", "a")}) == 5
    assert key_of("\ud800") != key_of("?")
    assert b"secret" not in fingerprint("secret")
    assert "secret" not in key_of("secret")
