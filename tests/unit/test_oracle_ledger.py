"""The published ledger over HTTP: files as the specification has them, and proofs that verify offline."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from oracle_api.ledger import Proofs, PublishedLedger
from oracle_api.shortcut import Shortcut
from pactstream.errors import Fatal, Retryable
from pactstream.ledger import merkle
from pactstream.ledger.tiles import Missing, parse_bundle, parse_tile
from pactstream.ledger.tlog_proof import TlogProof
from pactstream.ledger.verification import source
from pactstream.signing.keys import create_keys
from tests.asgi import ask
from tests.oracle_states import FakeStore
from tests.published_ledger import AGENTS, Published, leaves, published, signer_of, write
from tests.unit.test_oracle_api import build

COUNT = 600
LEAVES = leaves(COUNT)
LOG = published(LEAVES, (100, 300))
ORIGIN = signer_of(0).name
EVENT = UUID(int=77)
PROOF = f"/api/v1/ledger/events/{EVENT}/proof"


class Where:
    """Places of events, as ClickHouse knows them."""

    def __init__(self, *places: tuple[int, int, str]) -> None:
        self.places = places

    def __call__(self, event_id: UUID) -> Sequence[tuple[int, int, str]]:
        return self.places if event_id == EVENT else ()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    write(LOG.files, tmp_path / "published")
    (tmp_path / "secret").write_text("private")
    (tmp_path / "published/ledger/0/.lock").write_text("")
    (tmp_path / "published/ledger/0/other").write_text("not of the log")
    return tmp_path / "published"


def served(directory: Path, tmp_path: Path, *places: tuple[int, int, str], **options: Any) -> Shortcut:
    keys = create_keys(tmp_path / "keys", "report")
    ledger = PublishedLedger(Proofs(source(str(directory))), Where(*places))
    return build(FakeStore(), keys, ledger=ledger, **options)


@pytest.fixture
def app(directory: Path, tmp_path: Path) -> Shortcut:
    return served(directory, tmp_path, (0, 599, AGENTS[2]))


def test_files_as_the_specification_has_them(app: Shortcut, directory: Path) -> None:
    for path, data in LOG.files.items():
        answer = ask(app, f"/{path}")
        assert (answer.status_code, answer.content) == (200, data), path
        caching, media_type = answer.headers["cache-control"], answer.headers["content-type"]
        if path.endswith(("checkpoint", "keys")):
            assert media_type == "text/plain; charset=utf-8"
            assert caching in ("public, max-age=1", "public, max-age=60")
        else:
            assert media_type == "application/octet-stream"
            assert caching.endswith("immutable")
            assert ("max-age=31536000" in caching) is (".p/" not in path)
            assert data, "never an empty tile"
    assert parse_tile(ask(app, "/ledger/0/tile/0/000").content, 256)[0] == merkle.leaf_hash(LEAVES[0])
    assert parse_bundle(ask(app, "/ledger/0/tile/entries/002.p/88").content, 88) == LEAVES[512:]


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("gzip", "gzip"),
        ("br, gzip;q=0.5", "gzip"),
        ("identity", None),
        ("gzip;q=0", None),
        ("gzip;q=0.0, br", None),
    ],
)
def test_bundles_are_compressed_for_whoever_can_read_that(
    app: Shortcut, accepted: str, encoding: str | None
) -> None:
    for path in ("tile/entries/000", "segments/000.p/3"):
        answer = ask(app, f"/ledger/0/{path}", headers={"Accept-Encoding": accepted})
        assert answer.headers.get("content-encoding") == encoding
        assert "Accept-Encoding" in answer.headers["vary"]
        assert answer.content == LOG.files[f"ledger/0/{path}"]
    # Hashes cannot be compressed.
    answer = ask(app, "/ledger/0/tile/0/000", headers={"Accept-Encoding": accepted})
    assert answer.headers.get("content-encoding") is None


@pytest.mark.parametrize(
    "path",
    [
        "1/checkpoint",
        "0/tile/0/000.p/0",
        "0/tile/0/000.p/256",
        "0/tile/0/000.p/007",
        "0/tile/00/000",
        "0/tile/0/0",
        "0/tile/64/000",
        "0/tile/9/000",
        "0/tile/entries/x000/000",
        "0/tile/0/003",
        "0/tile/0/001.p/44/..",
        "0/segments/009",
        "0/other",
        "0/.lock",
        "0/",
        "0/checkpoint/",
        "0/tile",
        "00/checkpoint",
        "+0/checkpoint",
        "-1/checkpoint",
        "70000000/checkpoint",
        "x/checkpoint",
        "../secret",
        "0/../../../secret",
        "0/%2e%2e/%2e%2e/%2e%2e/secret",
        "0/tile/0/%2e%2e/%2e%2e/other",
        "0//checkpoint",
        "%2e%2e/secret",
        "0/tile/0/000%00",
        "0/tile/0/٠٠٠",
    ],
)
def test_what_is_no_file_is_not_found(app: Shortcut, path: str) -> None:
    assert raw(app, f"/ledger/{path}") == 404


def raw(app: Shortcut, path: str) -> int:
    """The status for a path as it comes over the wire: no client has tidied it up."""
    from urllib.parse import unquote

    answers: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        answers.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [],
        "client": ("192.0.2.1", 50_000),
        "server": ("test", 80),
    }
    asyncio.run(app(scope, receive, send))
    status: int = answers[0]["status"]
    return status


@pytest.mark.parametrize("index", [0, 255, 256, 511, 599])
def test_a_proof_verifies_offline(directory: Path, tmp_path: Path, index: int) -> None:
    answer = ask(served(directory, tmp_path, (0, index, AGENTS[0])), PROOF)
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    proof = TlogProof.parse(answer.content)
    assert proof.extra == LEAVES[index]
    assert proof.verify(proof.extra, ORIGIN, [signer_of(0).verifier]).checkpoint.size == COUNT


def test_proofs_that_cannot_be_had(directory: Path, tmp_path: Path) -> None:
    for places, query, status in (
        ((), "", 404),
        (((0, COUNT, AGENTS[0]),), "", 503),
        (((3, 0, AGENTS[0]),), "", 503),
        (((0, 1, AGENTS[0]), (0, 2, AGENTS[1])), "", 409),
        (((0, 1, AGENTS[0]), (0, 2, AGENTS[1])), f"?agent={AGENTS[1]}", 200),
        (((0, 1, AGENTS[0]),), f"?agent={AGENTS[1]}", 404),
        (((0, 1, AGENTS[0]),), "?agent=x", 400),
    ):
        answer = ask(served(directory, tmp_path, *places), PROOF + query)
        assert answer.status_code == status, (places, query)
        if status == 503:
            assert answer.headers["retry-after"] == "1"
    assert ask(served(directory, tmp_path), "/api/v1/ledger/events/x/proof").status_code == 400


@pytest.mark.parametrize(("old", "new"), [(0, 600), (100, 300), (256, 600), (300, None), (600, 600), (0, 0)])
def test_consistency_verifies(app: Shortcut, old: int, new: int | None) -> None:
    suffix = "" if new is None else f"&to={new}"
    answer = ask(app, f"/api/v1/ledger/0/consistency?from={old}{suffix}").json()
    tree = merkle.MemoryTree(map(merkle.leaf_hash, LEAVES))
    size = COUNT if new is None else new
    assert (answer["origin"], answer["from"]["size"], answer["to"]["size"]) == (ORIGIN, old, size)
    roots = [base64.b64decode(answer[end]["root"]) for end in ("from", "to")]
    assert roots == [tree.root(old), tree.root(size)]
    merkle.verify_consistency(old, roots[0], size, roots[1], [base64.b64decode(one) for one in answer["proof"]])
    assert (answer["checkpoint"] is None) is (size != COUNT)


def test_consistency_that_cannot_be(app: Shortcut) -> None:
    for query, status in (("from=3&to=2", 400), ("from=0&to=601", 404), ("from=-1", 400), ("", 400)):
        assert ask(app, f"/api/v1/ledger/0/consistency?{query}").status_code == status, query
    assert ask(app, "/api/v1/ledger/5/consistency?from=0").status_code == 404
    assert ask(app, "/api/v1/ledger/x/consistency?from=0").status_code == 400


def test_without_a_published_ledger(tmp_path: Path) -> None:
    app = build(FakeStore(), create_keys(tmp_path / "keys", "report"))
    for path in ("/ledger/keys", "/ledger/0/checkpoint", PROOF, "/api/v1/ledger/0/consistency?from=0"):
        answer = ask(app, path)
        assert (answer.status_code, answer.json()["error"]) == (404, "this oracle publishes no ledger")


def test_files_have_a_limit_of_their_own(directory: Path, tmp_path: Path) -> None:
    app = served(directory, tmp_path, burst=1, per_minute=1, files_burst=3, files_per_minute=1)
    assert [ask(app, "/ledger/keys").status_code for _ in range(4)] == [200, 200, 200, 429]
    assert [ask(app, PROOF).status_code for _ in range(2)] == [404, 429]


def test_the_proofs_follow_the_log_and_distrust_the_files(directory: Path) -> None:
    proofs = Proofs(source(str(directory)))
    assert len(proofs.inclusion(0, 0).path) == 10
    longer = published(leaves(700), (100, 300))
    write(longer.files, directory)
    inclusion = proofs.inclusion(0, 650)
    assert inclusion.checkpoint == longer.note
    tile = directory / "ledger/0/tile/0/000"
    tile.write_bytes(bytes(len(tile.read_bytes())))
    with pytest.raises(Retryable, match="does not fit together"):
        Proofs(source(str(directory))).inclusion(0, 3)
    with pytest.raises(Missing):
        proofs.inclusion(0, 700)


def test_a_server_behind_that_fails_is_said_so() -> None:
    def broken(path: str) -> bytes:
        raise Fatal("https://files.example answers 500")

    with pytest.raises(Retryable, match="cannot be read"):
        Proofs(broken).file("ledger/keys")


def test_the_openapi_page_has_the_routes(app: Shortcut) -> None:
    paths = ask(app, "/openapi.json").json()["paths"]
    for path in (
        "/ledger/keys",
        "/ledger/{log}/{path}",
        "/api/v1/ledger/events/{eventId}/proof",
        "/api/v1/ledger/{log}/consistency",
    ):
        assert paths[path]["get"]["description"]


def test_an_empty_log_has_no_checkpoint(tmp_path: Path) -> None:
    empty = Published(4)
    empty.keys()
    write(empty.files, tmp_path / "files")
    app = served(tmp_path / "files", tmp_path)
    assert ask(app, "/ledger/4/checkpoint").status_code == 404
    assert ask(app, "/ledger/keys").status_code == 200
