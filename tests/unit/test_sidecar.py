"""The sidecar in this process: its real application, buffer and forwarder, with a gateway of the tests' own."""

from __future__ import annotations

import json
import shutil
import socket
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pactstream import clock, settings
from pactstream.errors import Backpressure, Fatal
from pactstream.journal.entry import entry_of, read_line
from pactstream.journal.journal import Journal
from pactstream.sdk.config import Secret
from pactstream.sdk.transport import Transport
from pactstream.sidecar import app as sidecar_app
from pactstream.sidecar import wiring
from pactstream.sidecar.app import Door, create_app
from pactstream.sidecar.settings import SidecarSettings
from pactstream.sidecar.store import FILE, Refusal, Store
from tests.asgi import ask
from tests.cli_tools import runner
from tests.gateway_tools import ACME, ATLAS, EVENTS, TREASURY, call
from tests.sdk_gateway import KEY, Gateway, Reply, accept, answer, hang_up, serving, wait_until
from tests.sidecar_tools import MIB, TOKEN, Sidecar, running

CALL = f"/api/v1/pacts/{TREASURY}/validate-call"


@contextmanager
def sending(directory: Path, gateway: Gateway, **options: Any) -> Iterator[Sidecar]:
    """A sidecar that sends to this gateway, and what the gateway accepted."""
    with running(directory, gateway.url, KEY, **options) as sidecar:

        def judge(event: dict[str, Any]) -> None:
            sidecar.delivered.append(event)

        gateway.judge = judge
        yield sidecar


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with serving() as made:
        yield made


@pytest.fixture
def sidecar(tmp_path: Path, gateway: Gateway) -> Iterator[Sidecar]:
    with sending(tmp_path, gateway) as made:
        yield made


def event(**changes: Any) -> dict[str, Any]:
    return call(eventId=str(uuid.uuid4()), **changes)


def test_events_are_on_disk_before_the_answer_and_then_at_the_gateway(
    sidecar: Sidecar, gateway: Gateway, tmp_path: Path
) -> None:
    gateway.accepting.clear()
    one = event()
    taken = sidecar.send(one)
    assert (taken.status_code, taken.json()) == (
        200,
        {"accepted": 1, "results": [{"status": "accepted", "eventId": one["eventId"], "validation": None}]},
    )
    beside = Store(tmp_path, MIB)  # as the next process would find it
    assert beside.fill().batches == 1
    beside.close()
    gateway.accepting.set()
    wait_until(sidecar.sent)
    assert sidecar.delivered == [one]
    (seen,) = gateway.requests
    assert seen.headers["x-pact-key"] == KEY  # its own: the agent's token goes no further


def test_a_batch_is_sent_as_it_came_however_often(sidecar: Sidecar, gateway: Gateway) -> None:
    # Without ids the gateway derives them from these bytes, so they must be the same bytes each time.
    body = b'{ "events": [' + json.dumps(event()).encode() + b" ] }"
    gateway.replies.extend([answer(503), hang_up])
    for _ in range(2):
        assert sidecar.ask("POST", EVENTS, body).status_code == 200
    wait_until(sidecar.sent)
    assert [seen.raw for seen in gateway.requests] == [body] * 4
    assert len({one["eventId"] for one in sidecar.delivered}) == 1


def test_what_is_malformed_is_refused_at_once_and_the_others_are_sent(
    sidecar: Sidecar, gateway: Gateway
) -> None:
    right = [event(), event()]
    mixed = sidecar.send(right[0], {"type": "tool_call"}, right[1])
    assert mixed.status_code == 207
    assert [one["status"] for one in mixed.json()["results"]] == ["accepted", "rejected", "accepted"]
    wait_until(sidecar.sent)
    assert sidecar.delivered == right
    assert sidecar.send({"type": "tool_call"}).status_code == 422
    assert sidecar.ask("POST", EVENTS, b"no JSON").status_code == 400
    assert sidecar.ask("POST", EVENTS, b" " * (MIB + 1)).status_code == 413
    assert len(gateway.requests) == 1


REJECTED = {"status": "rejected", "error": {"error": "no such pact", "code": "NOT_FOUND"}}


@pytest.mark.parametrize(
    ("reply", "kept", "reason"),
    [
        (answer(207, {"accepted": 1, "results": [{"status": "accepted"}, REJECTED]}), [1], "no such pact"),
        (answer(404, {"results": [REJECTED, REJECTED]}), [0, 1], "no such pact"),
        (answer(422, {"error": "not of this form", "code": "INVALID_INPUT"}), [0, 1], "HTTP 422: not of this"),
    ],
    ids=["one of two", "each", "whole"],
)
def test_what_is_refused_for_good_is_set_aside_and_holds_up_nothing(
    sidecar: Sidecar, gateway: Gateway, reply: Reply, kept: list[int], reason: str
) -> None:
    gateway.replies.append(reply)
    batch, behind = [event(), event()], event()
    sidecar.send(*batch)
    sidecar.send(behind)
    wait_until(sidecar.sent)
    letters = sidecar.store.letters()
    found = [one for letter in letters for one in json.loads(letter.body)["events"]]
    assert found == [batch[index] for index in kept]
    assert all(reason in letter.reason for letter in letters)
    assert sidecar.delivered == [behind]


def test_a_batch_that_is_too_large_is_halved(sidecar: Sidecar, gateway: Gateway) -> None:
    gateway.replies.extend([answer(413, {"error": "too large", "code": "TOO_LARGE"})] * 3)
    batch = [event() for _ in range(5)]
    sidecar.send(*batch)
    wait_until(sidecar.sent)
    # Five, two and one are too large.
    assert sidecar.delivered == batch[1:]
    (letter,) = sidecar.store.letters()
    assert json.loads(letter.body)["events"] == batch[:1]
    assert letter.reason == "HTTP 413: too large (TOO_LARGE)"


def test_what_the_gateway_acknowledged_is_noted_under_the_id_that_it_has_there(
    gateway: Gateway, tmp_path: Path
) -> None:
    path, named = tmp_path / "sent.jsonl", str(uuid.uuid4())
    with sending(tmp_path, gateway, journal=Journal(path, MIB)) as sidecar:
        taken = {"status": "accepted", "eventId": named}
        gateway.replies.extend([answer(503), answer(207, {"accepted": 1, "results": [taken, REJECTED]})])
        unnamed = call(params={"amount": 5})
        assert sidecar.send(unnamed, event()).status_code == 200
        wait_until(sidecar.sent)
        (entry,) = map(read_line, path.read_bytes().splitlines())
        assert entry == entry_of(json.dumps(unnamed).encode(), named, clock.to_micros(entry.acknowledged_at))
        # A disk that fails holds up nothing.
        path.unlink()
        path.mkdir()
        sidecar.send(behind := event())
        wait_until(sidecar.sent)
        assert sidecar.delivered == [behind]


@pytest.mark.parametrize("status", [401, 403, 404, 302, 429, 502, 503, 504])
def test_a_key_or_an_address_that_is_wrong_and_an_outage_are_waited_for(
    sidecar: Sidecar, gateway: Gateway, status: int
) -> None:
    gateway.replies.extend([answer(status, {"error": "not now", "code": "X"})] * 3)
    one = event()
    sidecar.send(one)
    wait_until(sidecar.sent)
    assert (sidecar.delivered, sidecar.store.letters()) == ([one], [])
    assert len(gateway.requests) == 4


@pytest.mark.parametrize("reply", [answer(500), answer(200, b"<html>"), answer(200, {"results": []})])
def test_a_batch_that_the_gateway_fails_on_is_set_aside_in_the_end(tmp_path: Path, reply: Reply) -> None:
    with serving() as gateway, sending(tmp_path, gateway, retry_seconds=0.05) as sidecar:
        poison, behind = event(), event()
        # An outage first, longer than that: it must not count against the batch.
        gateway.replies.extend([answer(503)] * 8)

        def fails(handler: Any, seen: Any) -> None:
            gateway.replies.append(fails)
            if poison["eventId"] in seen.raw.decode():
                reply(handler, seen)
            else:
                gateway.replies.clear()
                accept(handler, seen)

        gateway.replies.append(fails)
        sidecar.send(poison)
        sidecar.send(behind)
        wait_until(sidecar.sent)
        (letter,) = sidecar.store.letters()
        assert json.loads(letter.body)["events"] == [poison]
        assert letter.reason.startswith("given up: ")
        assert sidecar.delivered == [behind]


def test_a_full_buffer_says_so_and_takes_more_once_there_is_room(tmp_path: Path) -> None:
    with serving() as gateway, sending(tmp_path, gateway, max_bytes=MIB) as sidecar:
        gateway.accepting.clear()
        large = {"type": "response", "sessionId": "s", "agentId": ATLAS, "emittedAt": "2026-05-13T10:00:00Z"}
        sent, refused = [], None
        while refused is None:
            one = large | {
                "eventId": str(uuid.uuid4()),
                "input": "x" * 60_000,
                "output": "",
                "outcome": "success",
            }
            given = sidecar.send(one)
            if given.status_code == 200:
                sent.append(one)
            else:
                refused = given
        assert 10 < len(sent) < 17
        assert (refused.status_code, refused.json()["code"]) == (503, "UNAVAILABLE")
        assert int(refused.headers["retry-after"]) >= 1
        assert ask(sidecar.app, "/readyz").status_code == 503
        assert sidecar.store.fill().used_bytes <= MIB
        gateway.accepting.set()
        wait_until(sidecar.sent)
        assert sidecar.delivered == sent
        assert ask(sidecar.app, "/readyz").status_code == 200
        assert sidecar.send(event()).status_code == 200


def test_letters_never_take_the_room_of_what_can_be_delivered(tmp_path: Path) -> None:
    store = Store(tmp_path, MIB)
    lost = 0
    for number in range(12):
        store.put(b"{}", 1)
        batch = store.first(0)
        assert batch is not None
        lost += store.settle(batch, [Refusal(1, f"number {number}", b"x" * 50_000)])
    assert [letter.reason for letter in store.letters()] == [f"number {number}" for number in range(7, 12)]
    assert lost == 7
    store.close()


def test_a_disk_that_fails_is_not_a_yes(tmp_path: Path) -> None:
    store = Store(tmp_path, MIB)
    with sqlite3.connect(tmp_path / FILE) as other:
        other.execute("DROP TABLE batches")
    other.close()
    with pytest.raises(Backpressure, match="cannot be written"):
        store.put(b"{}", 1)
    store.close()


def test_a_file_that_is_damaged_or_of_a_newer_release_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"no database" * 1_000)
    with pytest.raises(Fatal, match=r"cannot be used: file is not a database; mend it or move it away"):
        Store(tmp_path, MIB)
    newer = tmp_path / "newer"
    Store(newer, MIB).close()
    with sqlite3.connect(newer / FILE) as database:
        database.execute("PRAGMA user_version=2")
    database.close()
    with pytest.raises(Fatal, match="by another release"):
        Store(newer, MIB)


def test_only_who_has_the_token_may_send(sidecar: Sidecar, gateway: Gateway) -> None:
    def status(**headers: str) -> int:
        return sidecar.ask("POST", EVENTS, {"events": [event()]}, **headers).status_code

    assert status(X_Pact_Key="") == status(X_Pact_Key=TOKEN + "x") == status(X_Pact_Key=KEY) == 401
    assert status(X_Pact_Key=TOKEN, Authorization=f"Bearer {TOKEN}") == 400
    assert sidecar.ask("POST", CALL, {}, X_Pact_Key="").status_code == 401
    assert sidecar.store.fill().batches == 0
    opened = create_app(sidecar.store, Transport(gateway.url, Secret(KEY)), Door(""), MIB)
    body = json.dumps({"events": [event()]}).encode()
    assert (
        ask(opened, EVENTS, "POST", content=body, headers={"Origin": "https://evil.example"}).status_code == 403
    )
    assert ask(opened, EVENTS, "POST", content=body).status_code == 200


def test_a_question_before_a_call_goes_through_after_what_was_recorded(
    sidecar: Sidecar, gateway: Gateway
) -> None:
    gateway.replies.extend([answer(503)] * 2)
    sidecar.send(event())
    asked = sidecar.ask("POST", CALL, {"agentId": ATLAS, "tool": "t", "params": {}})
    assert (asked.status_code, asked.json()["valid"]) == (200, True)
    assert [seen.path for seen in gateway.requests] == [EVENTS] * 3 + [CALL]
    gone = sidecar.ask("DELETE", f"/api/v1/agents/{ATLAS}/reservations/{ACME}")
    assert gone.status_code == 204
    gateway.replies.append(answer(429, {"error": "slow", "code": "RATE_LIMITED"}, Retry_After="7"))
    limited = sidecar.ask("POST", CALL, {})
    assert (limited.status_code, limited.headers["retry-after"]) == (429, "7")
    assert sidecar.ask("POST", "/api/v1/pacts/not-an-id/validate-call", {}).status_code == 400


def test_a_question_that_nobody_can_answer_fails_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sidecar_app, "ASK_SECONDS", 0.2)
    with serving() as gateway:
        port = gateway.port
    with sending(tmp_path, Gateway(port=port)) as sidecar:
        asked = sidecar.ask("POST", CALL, {})
        assert asked.status_code == 503
        assert asked.json()["error"].startswith("the gateway does not answer: no answer: ")
        sidecar.send(event())
        asked = sidecar.ask("POST", CALL, {})
        assert asked.json()["error"] == "what was recorded before this call has not reached the gateway yet"


def test_figures(sidecar: Sidecar, gateway: Gateway) -> None:
    gateway.replies.append(answer(404, {"results": [REJECTED]}))
    gateway.accepting.clear()
    sidecar.send(event())
    sidecar.send(event())
    page = ask(sidecar.app, "/metrics").text
    assert "pactstream_sidecar_waiting_batches 2.0" in page
    assert "pactstream_sidecar_dead_letters 0.0" in page
    figures = dict(line.split() for line in page.splitlines() if line.startswith("pactstream_sidecar_"))
    held, room = (float(figures[f"pactstream_sidecar_{name}_bytes"]) for name in ("buffer", "room"))
    assert (held > 0, held + room) == (True, 8 * MIB)
    oldest = next(line for line in page.splitlines() if line.startswith("pactstream_sidecar_oldest_seconds "))
    assert float(oldest.split()[1]) > 0
    gateway.accepting.set()
    wait_until(sidecar.sent)
    page = ask(sidecar.app, "/metrics").text
    assert "pactstream_sidecar_dead_letters 1.0" in page
    assert "pactstream_sidecar_oldest_seconds 0.0" in page
    assert ask(sidecar.app, "/healthz").status_code == 200


def test_room_ends_with_the_disk(sidecar: Sidecar, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100_000))
    assert sidecar.store.fill().room_bytes == 100_000
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1 << 40))
    assert 0 < sidecar.store.fill().room_bytes < 8 * MIB


def test_letters_are_seen_sent_again_and_discarded_by_the_command(
    sidecar: Sidecar,
    gateway: Gateway,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = runner(monkeypatch, capsys)
    assert run("sidecar", "letters", "--dir", tmp_path).out == "no dead letters\n"
    gateway.replies.append(answer(404, {"results": [REJECTED, REJECTED]}))
    batch = [event(), event()]
    sidecar.send(*batch)
    wait_until(sidecar.sent)
    listed = run("sidecar", "letters", "--dir", tmp_path).out
    assert "no such pact" in listed
    shown = run("sidecar", "letters", "--dir", tmp_path, "--show", 1).out
    assert json.loads(shown)["events"] == [batch[0]]
    assert run("sidecar", "retry", 1, "--dir", tmp_path).code == 0
    assert run("sidecar", "discard", 2, "--dir", tmp_path).code == 0
    wait_until(lambda: sidecar.delivered == [batch[0]])
    assert sidecar.store.letters() == []
    for words in (("retry", 1), ("discard", 2), ("letters", "--show", 1)):
        code, _, err = run("sidecar", *words, "--dir", tmp_path)
        assert (code, err.count("\n")) == (3, 1)
    assert "there is no buffer" in run("sidecar", "letters", "--dir", tmp_path / "none").err


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"api_key": ""}, "PACTSTREAM_API_KEY"),
        ({"sidecar_token": ""}, "set PACTSTREAM_SIDECAR_TOKEN, or pass --open"),
        ({"sidecar_token": "short"}, "16 characters"),
        ({"sidecar_token": "with spaces in it, and long"}, "no spaces"),
        ({"sidecar_open": True}, "contradict"),
        ({"sidecar_host": "0.0.0.0"}, "is not loopback"),
        (
            {"sidecar_host": "0.0.0.0", "sidecar_exposed": True, "sidecar_token": "", "sidecar_open": True},
            "TOKEN",
        ),
        ({"gateway_url": "http://gateway.example"}, "plain http"),
        ({"sidecar_journal": Path("/dev/null/sent.jsonl")}, "SIDECAR_JOURNAL: sent.jsonl cannot be written"),
    ],
)
def test_settings_that_would_be_careless_are_refused(changes: dict[str, Any], said: str) -> None:
    made = settings.load(SidecarSettings, **({"api_key": KEY, "sidecar_token": TOKEN} | changes))
    with pytest.raises(Fatal, match=said):
        wiring.run(made)


def test_a_port_or_a_directory_that_another_has_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = runner(monkeypatch, capsys)
    monkeypatch.setenv("PACTSTREAM_API_KEY", KEY)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = run("sidecar", "--open", "--port", port, "--dir", tmp_path)
    lines = [line for line in ran.err.splitlines() if line.startswith("pactstream: ")]
    assert (ran.code, len(lines)) == (3, 1)
    assert lines[0].startswith(f"pactstream: cannot listen on 127.0.0.1:{port}: ")
