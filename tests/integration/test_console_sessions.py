"""Logging out of the console holds at every process of it: two applications on one real Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any, cast

import pytest
from fastapi import FastAPI

from oracle_api.console.access import CHANGE_HEADER, COOKIE, Access, Lifetimes
from oracle_api.console.app import create_app
from oracle_api.console.ended import EndedSession, EndedSessions
from oracle_api.console.parts import Parts
from oracle_api.console.seal import Seal
from oracle_api.limits import Limiter
from pactstream import clock
from pactstream.control.tenants import ApiKey, Tenant, new_key
from pactstream.errors import Backpressure
from pactstream.kafka import topics
from pactstream.kafka.publisher import Publisher
from pactstream.settings import KafkaSettings
from tests.asgi import ask
from tests.kafka_tools import create_topics, produce, read_all, service_settings
from tests.stack import StackAddresses, eventually, fresh_prefix

HOUR = 3_600 * clock.MICROS_PER_SECOND
HOST = {"Host": "127.0.0.1:8091"}
OURS = HOST | {"Origin": "http://127.0.0.1:8091", CHANGE_HEADER: "1"}
SESSION = "/console/api/session"
TEXT, KEY = new_key(label="console", scopes=("trust:private",), now_micros=clock.now_micros())


class Book:
    """One key of one tenant."""

    def find_key(self, presented: str) -> tuple[Tenant, ApiKey] | None:
        return (Tenant("t-1", "Treasury", "tenant-1", 0), KEY) if presented == TEXT else None


@dataclass
class World:
    """What two processes of one deployment know of sessions that ended."""

    settings: KafkaSettings
    here: EndedSessions
    there: EndedSessions

    def written(self, *keys: str) -> list[tuple[str, bool]]:
        """The records of these sessions, and whether each is there to delete one."""
        records = ((one.key() or b"", one.value()) for one in read_all(self.settings, topics.CONSOLE_ENDED))
        return [(key.decode(), value is None) for key, value in records if not keys or key.decode() in keys]


@pytest.fixture(scope="module")
def world(stack: StackAddresses) -> Iterator[World]:
    settings = service_settings(stack.kafka_bootstrap, fresh_prefix())
    create_topics(settings)
    with ExitStack() as opened:
        publisher = opened.enter_context(closing(Publisher(settings)))
        made = [EndedSessions(settings, publisher.publish) for _ in range(2)]
        for one in made:
            opened.enter_context(closing(one))
        eventually(lambda: all(one.ready for one in made), 20)
        yield World(settings, *made)


class Hung:
    """A gateway that nobody asks."""

    async def close(self) -> None:
        return None


def console(ended: EndedSessions) -> FastAPI:
    """The real application, of which nothing but its sessions is asked for."""
    access = Access(
        Book(),
        Seal(bytes(range(32))),
        Lifetimes(HOUR, 12 * HOUR),
        ended,
        console_url="",
        logins=Limiter(100, 100),
        requests=Limiter(1_000, 1_000),
        trusted_proxies=0,
    )
    none: Any = None
    return create_app(
        Parts(access, lambda: ended.ready, none, none, none, none, cast(Any, Hung()), none),
    )


def test_a_copy_of_the_cookie_opens_nothing_at_any_process(world: World) -> None:
    ours, theirs = console(world.here), console(world.there)
    login = ask(ours, SESSION, "POST", headers=OURS, json={"key": TEXT})
    cookie = {"Cookie": f"{COOKIE}={login.cookies[COOKIE]}"}
    other = ask(theirs, SESSION, "POST", headers=OURS, json={"key": TEXT})

    def tenant(app: FastAPI, cookie: dict[str, str]) -> object:
        answer = ask(app, SESSION, headers=HOST | cookie).json()
        return answer and answer["tenant"]

    assert tenant(ours, cookie) == tenant(theirs, cookie) == "Treasury"
    left = ask(ours, SESSION, "DELETE", headers=OURS | cookie)
    assert left.status_code == 204
    assert "Max-Age=0" in left.headers["Set-Cookie"]
    assert tenant(ours, cookie) is None
    eventually(lambda: tenant(theirs, cookie) is None)
    assert tenant(theirs, {"Cookie": f"{COOKIE}={other.cookies[COOKIE]}"}) == "Treasury"
    # Again, here or there: nothing more is written.
    for app in (ours, theirs):
        assert ask(app, SESSION, "DELETE", headers=OURS | cookie).status_code == 204
    assert len(world.written()) == 1
    # Nor at a process that starts later: until it knows what has ended, it lets nobody in.
    with closing(EndedSessions(world.settings, None)) as later:  # type: ignore[arg-type]
        app = console(later)
        first = ask(app, SESSION, headers=HOST | cookie)
        assert first.status_code == 503 or first.json() is None
        eventually(lambda: later.ready)
        assert tenant(app, cookie) is None


def test_what_would_have_ended_by_itself_is_deleted(world: World) -> None:
    now = clock.now_micros()
    gone, lasts = EndedSession("gone", now - 1), EndedSession("lasts", now + HOUR)
    produce(
        world.settings, topics.CONSOLE_ENDED, [(one.session_id.encode(), one.encode()) for one in (gone, lasts)]
    )
    eventually(lambda: world.here.has("lasts"))
    assert world.here.has("gone")
    asyncio.run(world.here.end("over", now - 1))  # needs no record: it is over
    asyncio.run(world.here.end("new", now + HOUR))
    eventually(lambda: world.there.has("new") and not world.there.has("gone"))
    assert world.there.has("lasts")
    assert world.written("over", "gone", "new") == [("gone", False), ("new", False), ("gone", True)]


def test_while_kafka_takes_nothing_it_has_ended_here_only(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(topic: str, key: bytes, value: bytes | None) -> None:
        raise Backpressure("Kafka did not acknowledge")

    monkeypatch.setattr(world.here, "_publish", refuse)
    app = console(world.here)
    login = ask(app, SESSION, "POST", headers=OURS, json={"key": TEXT})
    cookie = {"Cookie": f"{COOKIE}={login.cookies[COOKIE]}"}
    left = ask(app, SESSION, "DELETE", headers=OURS | cookie)
    assert (left.status_code, "Max-Age=0" in left.headers["Set-Cookie"]) == (503, True)
    assert left.json()["error"].startswith(
        "logged out here, but other processes of the console could not be told"
    )
    assert ask(app, SESSION, headers=HOST | cookie).json() is None
    assert ask(console(world.there), SESSION, headers=HOST | cookie).json() is not None
