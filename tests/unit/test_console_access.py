"""Sessions of the console: sealed, bound to a key that is looked up each time, and closed to other sites."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

import pytest
from fastapi import Request
from hypothesis import given
from hypothesis import strategies as st

from oracle_api.console.access import CHANGE_HEADER, COOKIE, Access, Lifetimes
from oracle_api.console.seal import Seal, Session
from oracle_api.limits import Limiter
from pactstream import clock
from pactstream.control.tenants import ApiKey, Scope, Tenant, new_key
from pactstream.errors import Backpressure
from pactstream.web import Refused

KEY = bytes(range(32))
HOUR = 3_600 * clock.MICROS_PER_SECOND
PLAIN = {"host": "127.0.0.1:8091"}
OURS = PLAIN | {"origin": "http://127.0.0.1:8091", CHANGE_HEADER.lower(): "1"}


class Book:
    """One key of one tenant."""

    def __init__(self, *scopes: Scope) -> None:
        self.text, self.key = new_key(label="console", scopes=scopes, now_micros=clock.now_micros())

    def find_key(self, presented: str) -> tuple[Tenant, ApiKey] | None:
        if presented != self.text:
            return None
        return Tenant("t-1", "Treasury", "tenant-1", 0, keys={self.key.key_id: self.key}), self.key


class Memory:
    """`Ended` without Kafka."""

    ready = True

    def __init__(self) -> None:
        self.until: dict[str, int] = {}
        self.away = False

    def has(self, session_id: str) -> bool:
        return session_id in self.until

    async def end(self, session_id: str, until_micros: int) -> None:
        if self.away:
            raise Backpressure("others could not be told")
        self.until[session_id] = until_micros


def farewell(door: Access, request: Request) -> str:
    """The cookie that a logout sets."""
    asyncio.run(door.farewell(request))
    return str(request.state.cookie)


def access(
    book: Book, *, url: str = "", logins: int = 100, seal: bytes = KEY, ended: Memory | None = None
) -> Access:
    return Access(
        book,
        Seal(seal),
        Lifetimes(HOUR, 12 * HOUR),
        ended or Memory(),
        console_url=url,
        logins=Limiter(logins, logins),
        requests=Limiter(1_000, 1_000),
        trusted_proxies=0,
    )


def request(headers: Mapping[str, str], cookie: str = "") -> Request:
    given = dict(headers) | ({"cookie": f"{COOKIE}={cookie}"} if cookie else {})
    raw = [(name.encode(), value.encode()) for name, value in given.items()]
    return Request({"type": "http", "method": "GET", "headers": raw, "client": ("127.0.0.1", 1), "state": {}})


def value_of(set_cookie: str) -> str:
    return set_cookie.partition(";")[0].partition("=")[2]


def refusal(call: object, *arguments: object) -> Refused:
    assert callable(call)
    with pytest.raises(Refused) as caught:
        call(*arguments)
    return caught.value


def test_a_session_opens_with_its_cookie_and_ends_with_its_key() -> None:
    book = Book("trust:private")
    door = access(book)
    _, cookie = door.login(request(OURS), book.text)
    assert book.text not in cookie
    for attribute in ("HttpOnly", "SameSite=strict", "Path=/console"):
        assert attribute in cookie
    visit = request(PLAIN, value_of(cookie))
    assert door.visitor(visit).tenant.name == "Treasury"
    assert door.still(door.visitor(visit))
    visitor = door.visitor(visit)
    book.key = replace(book.key, revoked_at_micros=clock.now_micros())
    assert not door.still(visitor)
    assert refusal(door.visitor, visit).status == 401


def test_a_session_that_was_logged_out_of_is_over_for_copies_of_its_cookie() -> None:
    book = Book("trust:private")
    ended = Memory()
    door, next_door = (access(book, ended=ended) for _ in range(2))
    one, other = (value_of(door.login(request(OURS), book.text)[1]) for _ in range(2))
    visitor = door.visitor(request(PLAIN, one))
    assert "Max-Age=0" in farewell(door, request(OURS, one))
    for each in (door, next_door):
        assert refusal(each.visitor, request(PLAIN, one)).status == 401
        assert not each.still(visitor)
        assert each.still(each.visitor(request(PLAIN, other)))
    # It is kept no longer than the session would have lasted.
    (until,) = ended.until.values()
    assert abs(until - clock.now_micros() - 12 * HOUR) < HOUR
    # Without a session, or with what was never sealed here, there is nothing to end.
    assert "Max-Age=0" in farewell(door, request(OURS))
    assert "Max-Age=0" in farewell(door, request(OURS, "forged"))
    assert len(ended.until) == 1


def test_the_browsers_cookie_goes_even_if_others_cannot_be_told() -> None:
    book, ended = Book("trust:private"), Memory()
    door = access(book, ended=ended)
    leaving = request(OURS, value_of(door.login(request(OURS), book.text)[1]))
    ended.away = True
    with pytest.raises(Backpressure):
        farewell(door, leaving)
    assert "Max-Age=0" in leaving.state.cookie


def test_the_cookie_is_for_https_only_unless_it_is_loopback() -> None:
    book = Book("trust:private")
    _, plain = access(book).login(request(OURS), book.text)
    assert "Secure" not in plain
    url = "https://console.example.org"
    public = {"host": "console.example.org", "origin": url, CHANGE_HEADER.lower(): "1"}
    _, secure = access(book, url=url).login(request(public), book.text)
    assert "Secure" in secure
    unsafe = "http://console.example.org"
    _, cookie = access(book, url=unsafe).login(request(public | {"origin": unsafe}), book.text)
    assert "Secure" in cookie


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (PLAIN, 403),
        (OURS | {"origin": "https://evil.example"}, 403),
        (OURS | {"origin": "null"}, 403),
        (OURS | {"origin": "http://127.0.0.1:9999"}, 403),
        ({name: value for name, value in OURS.items() if name != CHANGE_HEADER.lower()}, 403),
        (OURS | {"host": "rebound.example:8091", "origin": "http://rebound.example:8091"}, 421),
    ],
)
def test_what_comes_from_elsewhere_changes_nothing(headers: dict[str, str], status: int) -> None:
    book = Book("trust:private")
    door = access(book)
    _, cookie = door.login(request(OURS), book.text)
    assert refusal(door.changer, request(headers, value_of(cookie))).status == status
    assert refusal(door.login, request(headers), book.text).status == status


def test_only_a_key_with_the_scope_opens() -> None:
    book = Book("telemetry:write", "preflight")
    assert refusal(access(book).login, request(OURS), book.text).status == 403
    assert refusal(access(book).login, request(OURS), "pk_live_0000000000000000_" + "0" * 64).status == 401


def test_guessing_is_limited() -> None:
    book = Book("trust:private")
    door = access(book, logins=3)
    statuses = [refusal(door.login, request(OURS), f"guess {n}").status for n in range(4)]
    assert statuses == [401, 401, 401, 429]
    assert refusal(door.login, request(OURS), book.text).status == 429


@pytest.mark.parametrize(("begun", "seen"), [(13, 0), (2, 2)])
def test_a_session_ends_by_itself(begun: int, seen: int) -> None:
    book = Book("trust:private")
    now = clock.now_micros()
    old = Seal(KEY).close(Session("id", book.text, now - begun * HOUR, now - seen * HOUR))
    assert "ended" in str(refusal(access(book).visitor, request(PLAIN, old)))


def test_a_session_that_is_used_is_renewed_but_no_longer_than_it_may_last() -> None:
    book = Book("trust:private")
    now = clock.now_micros()
    visit = request(PLAIN, Seal(KEY).close(Session("id", book.text, now - 11 * HOUR, now - HOUR // 2)))
    access(book).visitor(visit)
    renewed = Seal(KEY).open(value_of(visit.state.cookie))
    assert renewed is not None
    assert renewed.begun_micros == now - 11 * HOUR
    assert renewed.seen_micros >= now


def test_another_deployments_cookie_is_none() -> None:
    book = Book("trust:private")
    _, cookie = access(book, seal=bytes(32)).login(request(OURS), book.text)
    assert refusal(access(book).visitor, request(PLAIN, value_of(cookie))).status == 401


@given(st.binary(min_size=1, max_size=40), st.integers(min_value=0))
def test_a_cookie_that_was_touched_is_none(change: bytes, at: int) -> None:
    sealed = Seal(KEY).close(Session("id", "pk", 1, 2))
    place = at % len(sealed)
    other = (sealed[:place] + change.hex() + sealed[place + 1 :])[:1_000]
    if other != sealed:
        assert Seal(KEY).open(other) is None


@given(st.text(max_size=200))
def test_any_text_is_no_session(text: str) -> None:
    assert Seal(KEY).open(text) is None


def test_a_session_does_not_show_its_key() -> None:
    assert "pk_live" not in repr(Session("id", "pk_live_secret", 1, 2))
