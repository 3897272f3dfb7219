"""Evaluators over HTTP and in the process: whatever they do, there is an answer or a reason by the deadline."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from threading import Event
from typing import Any

import msgspec
import pytest

from evaluator_worker.external import reach, wiring
from evaluator_worker.external.reach import InProcess, NoVerdict, OverHttp, Place, plugin, read_places
from evaluator_worker.external.settings import ExternalSettings
from pactstream import clock
from pactstream.errors import Fatal, InvalidInput
from pactstream.evaluation import Opinion, Question, request, sign
from pactstream.evaluation.verdict import verify
from pactstream.signing.keys import SigningKey
from pactstream.webhooks import signature
from pactstream.webhooks.sender import Sender
from tests.external_tools import ISSUER, OTHER, evaluator_key, http_evaluator
from tests.unit.test_deadline import answering

SECRET = request.secret_of(b"k" * 32, ISSUER)
QUESTION = Question(
    evaluation_id=OTHER,
    issuer=ISSUER,
    agent_id=OTHER,
    leaf_hash="0" * 64,
    leaf=msgspec.Raw(b'{"tool":"t"}'),
)


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return evaluator_key(tmp_path)


@pytest.fixture
def sender() -> Iterator[Sender]:
    sender = Sender(allow_private=True, seconds=0.3, max_body_bytes=reach.MAX_ANSWER_BYTES)
    with closing(sender):
        yield sender


def test_a_request_is_signed_and_its_answer_is_the_verdict(sender: Sender, key: SigningKey) -> None:
    asked = []

    def answer(body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        asked.append(headers["webhook-id"])
        question = request.read(body, headers, signature.shown(SECRET))
        return 200, json.dumps({"evaluation": sign(question, Opinion(verdict="valid"), key)}).encode()

    with http_evaluator(answer) as url:
        signed = OverHttp(sender, url, SECRET).ask(QUESTION).result(5)
    assert signed.count(".") == 2
    assert asked == [QUESTION.evaluation_id]


@pytest.mark.parametrize("fault", ["secret", "body", "time", "form"])
def test_an_evaluator_believes_no_other_request(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    body = QUESTION.encode() if fault != "form" else b'{"type": "page.opened"}'
    headers = request.headers(QUESTION, body, SECRET)
    if fault == "time":
        headers |= signature.headers(SECRET, OTHER, body, 1_700_000_000)
    secret = signature.shown(b"other" if fault == "secret" else SECRET)
    with pytest.raises(InvalidInput):
        request.read(body + b" " if fault == "body" else body, headers, secret)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((500, b"{}"), "unavailable"),
        ((302, b"{}"), "unavailable"),
        ((200, b"no"), "malformed"),
        ((200, b'{"evaluation": 1}'), "malformed"),
        ((200, b" " * (reach.MAX_ANSWER_BYTES + 1)), "unavailable"),
    ],
)
def test_another_answer_is_a_reason(sender: Sender, answer: tuple[int, bytes], reason: str) -> None:
    with http_evaluator(lambda *_: answer) as url, pytest.raises(NoVerdict, match=reason):
        OverHttp(sender, url, SECRET).ask(QUESTION).result(5)


def test_one_that_drips_is_past_its_deadline(sender: Sender) -> None:
    slow = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", bytes(99))
    with slow as (url, _), pytest.raises(NoVerdict, match="deadline"):
        OverHttp(sender, url, SECRET).ask(QUESTION).result(5)


def test_private_addresses_are_not_called(tmp_path: Path) -> None:
    with (
        closing(Sender(seconds=0.3, max_body_bytes=10)) as public,
        pytest.raises(NoVerdict, match="unavailable"),
    ):
        OverHttp(public, "https://127.0.0.1:1/", SECRET).ask(QUESTION).result(5)
    places = tmp_path / "places.json"
    places.write_text(json.dumps({ISSUER: {"url": "https://10.0.0.1/"}}))
    with pytest.raises(Fatal, match="not public"):
        read_places(places, allow_private=False)


@pytest.mark.parametrize(
    "document",
    [
        "[]",
        '{"x": {"url": "https://a.example/"}}',
        '{"%s": {}}',
        '{"%s": {"url": "https://a.example/", "plugin": "p"}}',
    ],
)
def test_a_file_that_says_nothing_clear_stops_the_start(tmp_path: Path, document: str) -> None:
    path = tmp_path / "places.json"
    with pytest.raises(Fatal, match="missing"):
        read_places(path, allow_private=False)
    path.write_text(document.replace("%s", ISSUER))
    with pytest.raises(Fatal):
        read_places(path, allow_private=False)
    path.write_text(json.dumps({ISSUER: {"plugin": "p"}, OTHER: {"url": "https://a.example/"}}))
    assert read_places(path, allow_private=False) == {
        ISSUER: Place(plugin="p"),
        OTHER: Place(url="https://a.example/"),
    }


def bad(_: Question) -> Any:
    return {"verdict": "perhaps"}


def raising(_: Question) -> Opinion:
    raise RuntimeError("broken")


@pytest.mark.parametrize(
    "evaluate", [bad, raising, lambda _: None, lambda _: Opinion(verdict="valid", codes=("A b",))]
)
def test_a_function_that_fails_gives_no_verdict(
    key: SigningKey, evaluate: Callable[[Question], Opinion]
) -> None:
    with closing(InProcess("p", evaluate, key)) as ours, pytest.raises(NoVerdict, match="failed"):
        ours.ask(QUESTION).result(5)


def test_a_function_that_hangs_holds_up_nobody(key: SigningKey) -> None:
    stuck = Event()

    def hang(_: Question) -> Opinion:
        stuck.wait(30)
        return Opinion(verdict="valid")

    with closing(InProcess("p", hang, key)) as ours:
        began = time.monotonic()
        asked = [ours.ask(QUESTION) for _ in range(10)]
        assert time.monotonic() - began < 5
        for one in asked:
            with pytest.raises(TimeoutError):
                one.result(0.01)
        stuck.set()


def test_an_installed_function_is_found_by_its_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Fatal, match="0 evaluators"):
        plugin("nobody_has_this")
    install(tmp_path, "broken_evaluator", "nothing = broken_evaluator:nothing\n", "")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(Fatal, match="cannot be loaded"):
        plugin("nothing")


def test_the_key_of_functions_may_stand_in_the_environment(
    tmp_path: Path, key: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the chart gives it: with `fsGroup` a mounted file is the group's to read, and is refused."""
    source = "from pactstream.evaluation import Opinion\ndef judge(question): return Opinion(verdict='valid')\n"
    install(tmp_path, "calm_evaluator", "calm = calm_evaluator:judge\n", source)
    monkeypatch.syspath_prepend(str(tmp_path))
    settings = ExternalSettings(key_dir=tmp_path / "none")
    with ExitStack() as held, pytest.raises(Fatal, match="missing"):
        wiring._evaluators(settings, {ISSUER: Place(plugin="calm")}, held)
    monkeypatch.setenv("PACTSTREAM_KEY_EVALUATOR_ED25519", (tmp_path / "evaluator.ed25519.pem").read_text())
    with ExitStack() as held:
        found = wiring._evaluators(settings, {ISSUER: Place(plugin="calm")}, held)
        signed = found[ISSUER].ask(QUESTION).result(5)
    assert verify(signed, QUESTION, {key.kid: key.public}, now_micros=clock.now_micros()).verdict == "valid"


def install(directory: Path, module: str, entries: str, source: str) -> None:
    """A package as an installer leaves it."""
    (directory / f"{module}.py").write_text(source)
    info = directory / f"{module}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[pactstream.evaluators]\n{entries}")
    sys.modules.pop(module, None)
