"""Verifying a deployment: keys trusted at first use and then pinned, state, sources, and the command line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.testing import CliRunner

from pactstream import canonical, clock
from pactstream.cli import verify_agent
from pactstream.cli.app import app
from pactstream.errors import Detail, Fatal, InvalidInput
from pactstream.ledger import files, merkle
from pactstream.ledger.audit import Fault
from pactstream.ledger.cosignature import Cosigner
from pactstream.ledger.leaf import parse_leaf
from pactstream.ledger.log_keys import LogKey, parse_keys
from pactstream.ledger.note import NoteError, NoteSigner
from pactstream.ledger.pins import PinBook
from pactstream.ledger.published import Result
from pactstream.ledger.tile_reader import TileReader
from pactstream.ledger.tiles import Missing
from pactstream.ledger.tlog_proof import TlogProof
from pactstream.ledger.verification import Verification, source
from pactstream.signing.jwks import jwks_document
from pactstream.signing.keys import create_keys, load_keys
from pactstream.signing.report import sign_report
from tests.http_servers import serving
from tests.published_ledger import AGENTS, Published, changed, leaves, published, relinked, write
from tests.reported import honest_claims

LEAVES = leaves(300)
OTHERS = [changed(entry, agentId="0196c9a4-0000-7000-8000-0000000000ff") for entry in leaves(20)]


def deployment(*logs: Published) -> dict[str, bytes]:
    merged: dict[str, bytes] = {}
    for log in logs:
        merged |= log.files
    merged["ledger/keys"] = "".join(f"{log.signer.verifier.vkey()}\n" for log in logs).encode()
    return merged


def two_logs(count: int = 300) -> dict[str, bytes]:
    return deployment(published(LEAVES[:count], (100, 200)), published(relinked(OTHERS), (), 1))


@contextmanager
def served(directory: Path) -> Iterator[str]:
    """The files of a directory over HTTP, as any static server gives them."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(directory)))) as address:
        yield address


class Place:
    """A directory of published files, and a verifier's state beside it."""

    def __init__(self, root: Path) -> None:
        self.files, self.state, self.keys = root / "files", root / "state", root / "keys"

    def publish(self, content: dict[str, bytes]) -> None:
        write(content, self.files)

    def verify(self, **options: Any) -> list[Result]:
        url = str(self.files)
        return Verification(url, source(url), PinBook(self.state), **options).run()

    def run(self, *arguments: str, url: str | None = None) -> str:
        """The command's standard output; it raises what the command raises."""
        fixed = ["--url", url or str(self.files), "--state", str(self.state)]
        return CliRunner().invoke(app, ["verify", *arguments, *fixed], catch_exceptions=False).stdout


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr(verify_agent, "PUBLISHED_WITHIN_SECONDS", 0.01)  # what is published here stays as it is
    one = Place(tmp_path)
    one.publish(two_logs())
    return one


def messages(results: list[Result]) -> list[str]:
    return [finding.message for result in results for finding in result.findings]


def test_a_first_run_remembers_and_a_second_compares(place: Place) -> None:
    first = place.verify()
    assert [(one.origin, one.leaves, one.faults) for one in first] == [
        ("dev/ledger/0", 300, 0),
        ("dev/ledger/1", 20, 0),
    ]
    pins = PinBook(place.state).all()
    seen = pins["dev/ledger/0"].seen
    assert seen is not None
    assert (seen.checkpoint, seen.heads) == (first[0].checkpoint, first[0].heads)
    assert place.verify() == first
    place.publish(two_logs(200))
    assert messages(place.verify()) == ["rolled back: it had 300 leaves when last seen, and has 200"]
    assert PinBook(place.state).all() == pins, "what is at fault is not remembered"


def test_a_fork_is_refused_by_who_remembers(place: Place) -> None:
    place.verify()
    forged = relinked([changed(LEAVES[0], tool="other"), *LEAVES[1:]])
    place.publish(deployment(published(forged, (100, 200)), published(relinked(OTHERS), (), 1)))
    assert place.verify()[0].findings[0].fault is Fault.FORKED


def test_a_log_that_vanished_is_named(place: Place) -> None:
    place.verify()
    place.publish(deployment(published(LEAVES, (100, 200))))
    assert messages(place.verify()) == ["the log was published here when last seen, and is no longer"]
    assert messages(place.verify(keys=parse_keys((place.files / "ledger/keys").read_bytes()))) == []


def test_keys_are_pinned(place: Place) -> None:
    place.verify()
    log = published(LEAVES, (100, 200))
    new = NoteSigner("dev/ledger/0", Ed25519PrivateKey.from_private_bytes(b"n" * 32))
    rotated = deployment(log)
    text = log.checkpoint.text()
    rotated["ledger/0/checkpoint"] = f"{text}\n{new.sign(text).line()}".encode()
    rotated["ledger/keys"] = f"{new.verifier.vkey()}\n".encode()
    place.publish(rotated)
    found = messages(place.verify())
    assert found[:2] == [
        "no known key signed the note",
        "its published keys are not those pinned: if you have the new ones from its operator, pass them",
    ]
    assert messages(place.verify(keys={"dev/ledger/0": [LogKey(new.verifier)]})) == []
    assert [key.key_id for key in PinBook(place.state).all()["dev/ledger/0"].keys] == [new.verifier.key_id]


def test_a_cut_off_is_honoured_and_remembered(place: Place) -> None:
    """A stolen key signs on: beyond the declared size nobody believes it, though it was pinned before."""
    place.publish(two_logs(200))
    place.verify()
    keys = (place.files / "ledger/keys").read_text().splitlines()
    place.publish({"ledger/keys": f"{keys[0]} until 200\n{keys[1]}\n".encode()})
    assert messages(place.verify()) == []
    forged = two_logs()
    del forged["ledger/keys"]
    place.publish(forged)
    (message,) = messages(place.verify())
    assert message.endswith("vouches for trees of up to 200 leaves only")
    place.publish({"ledger/keys": "\n".join(keys).encode()})
    assert messages(place.verify()) == [message], "it cannot be taken back by whoever serves the files"
    assert messages(place.verify(keys=parse_keys("\n".join(keys).encode()))) == []


def test_lines_of_keys() -> None:
    verifier = published(LEAVES[:1], ()).signer.verifier
    key = LogKey(verifier, 7)
    assert LogKey.parse(key.line()) == key
    assert LogKey.parse(verifier.vkey()) == LogKey(verifier)
    assert key.limited_by(LogKey(verifier)) == LogKey(verifier).limited_by(key) == key
    assert key.limited_by(LogKey(verifier, 5)).max_size == 5
    assert LogKey(verifier).limited_by(LogKey(verifier)).max_size is None
    for line in ("", "until 7", f"{verifier.vkey()} until", f"{verifier.vkey()} until 07", f"{key.line()} "):
        with pytest.raises(NoteError):
            LogKey.parse(line)


def test_a_log_without_a_checkpoint_is_pinned_by_its_key(place: Place) -> None:
    place.publish(deployment(Published(7)))
    (result,) = place.verify()
    assert (result.faults, result.checkpoint) == (0, None)
    assert PinBook(place.state).all()["dev/ledger/7"].seen is None
    assert "dev/ledger/7  0" in place.run("ledger", "--since", "last")


def test_a_large_log_with_many_segments(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.publish(published(leaves(2_600), range(10, 2_600, 10)).files)
    (result,) = place.verify()
    assert (result.faults, result.leaves, result.segments) == (0, 2_600, 260)


@pytest.mark.parametrize("damage", [b"", b"\xff", b"{}", b'{"v":1,"url":"","origin":"a","vkeys":["x"]}'])
def test_a_damaged_pin_stops(place: Place, damage: bytes) -> None:
    place.verify()
    (path, _) = sorted(place.state.iterdir())
    path.write_bytes(damage)
    with pytest.raises(Fatal, match="is damaged"):
        place.verify()


def test_a_pin_under_another_name_stops(place: Place) -> None:
    place.verify()
    one, other = sorted(place.state.iterdir())
    other.write_bytes(one.read_bytes())
    with pytest.raises(Fatal, match="is the pin of another log"):
        place.verify()


def test_keys_that_are_none(place: Place) -> None:
    for data in (b"", b"# none\n", b"junk\n", b"\xff"):
        with pytest.raises(InvalidInput, match="verifier key"):
            parse_keys(data)
    (place.files / "ledger/keys").unlink()
    with pytest.raises(Fatal, match="publishes no ledger"):
        place.verify()
    signer = NoteSigner("dev/ledger/x", Ed25519PrivateKey.from_private_bytes(bytes(32)))
    with pytest.raises(InvalidInput, match="does not end in a log's number"):
        place.verify(keys={"dev/ledger/x": [LogKey(signer.verifier)]})


def test_sources(place: Place) -> None:
    with served(place.files) as url:
        for fetch in (source(url), source(f"{url}/"), source(str(place.files))):
            assert fetch("ledger/0/checkpoint") == (place.files / "ledger/0/checkpoint").read_bytes()
            for path in ("ledger/9/checkpoint", "ledger/0/checkpoint/below"):
                with pytest.raises(Missing, match=f"{path} is missing"):
                    fetch(path)
    with pytest.raises(Fatal, match="cannot be had"):
        source(url)("ledger/keys")
    with pytest.raises(Fatal, match="cannot be read"):
        source(str(place.files))("ledger")


class _Failing(SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(403 if "forbidden" in self.path else 200)
        self.end_headers()
        self.wfile.write(bytes(17_000_000))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


def test_answers_that_say_nothing() -> None:
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), _Failing)) as address:
        fetch = source(address)
        with pytest.raises(Fatal, match="forbidden answers 403"):
            fetch("forbidden")
        with pytest.raises(Fatal, match="is longer than"):
            fetch("long")


# --- the command line ---


def test_the_ledger_over_http(place: Place) -> None:
    with served(place.files) as url:
        output = place.run("ledger", url=url)
    (head, one, two) = output.strip().splitlines()
    assert head.split() == ["log", "size", "verified", "segments", "root", "cosigned", "faults"]
    assert one.split()[:4] == ["dev/ledger/0", "300", "300", "3"]
    assert two.split()[:4] == ["dev/ledger/1", "20", "20", "1"]


def test_since(place: Place, tmp_path: Path) -> None:
    place.publish(two_logs(200))
    earlier = (place.files / "ledger/0/checkpoint").read_bytes()
    place.run("ledger")
    place.publish(two_logs())
    assert place.run("ledger", "--since", "last").splitlines()[1].split()[1:3] == ["300", "100"]
    assert place.run("ledger", "--since", "last").splitlines()[1].split()[1:3] == ["300", "0"]
    path = tmp_path / "earlier"
    path.write_bytes(earlier)
    output = place.run("ledger", "--since", str(path))
    assert output.splitlines()[1].split()[1:3] == ["300", "100"]
    assert "dev/ledger/0: 3 agents' links across the start were not checked" in output
    path.write_bytes((place.files / "ledger/0/checkpoint").read_bytes())
    assert "were not checked" not in place.run("ledger", "--since", str(path))
    path.write_bytes(b"no checkpoint")
    with pytest.raises(Fatal, match="is not a checkpoint"):
        place.run("ledger", "--since", str(path))
    with pytest.raises(Fatal, match="is missing"):
        place.run("ledger", "--since", str(tmp_path / "none"))


def test_a_start_later_than_what_is_remembered(place: Place, tmp_path: Path) -> None:
    """The agents' heads there are not known, and so not remembered; the checkpoint is."""
    place.publish(two_logs(200))
    place.run("ledger")
    place.publish(two_logs())
    path = tmp_path / "now"
    path.write_bytes((place.files / "ledger/0/checkpoint").read_bytes())
    place.run("ledger", "--since", str(path))
    seen = PinBook(place.state).all()["dev/ledger/0"].seen
    assert seen is not None
    assert (seen.checkpoint.size, seen.heads) == (300, None)
    assert "were not checked" not in place.run("ledger")
    place.publish(two_logs(200))
    with pytest.raises(InvalidInput):
        place.run("ledger", "--since", "last")


def test_faults_are_printed_and_the_command_fails(place: Place) -> None:
    bundle = place.files / "ledger/0/tile/entries/000"
    bundle.write_bytes(bundle.read_bytes() + b"\0")
    result = CliRunner().invoke(
        app, ["verify", "ledger", "--url", str(place.files), "--state", str(place.state)]
    )
    assert isinstance(result.exception, InvalidInput)
    assert str(result.exception) == "the ledger is not in order: 1 faults"
    assert "dev/ledger/0, leaf 0: changed: tile/entries/000: the bundle has 1 bytes after" in result.stderr


def test_witnesses_are_asked_for(place: Place) -> None:
    witness = Cosigner("witness.example/w", Ed25519PrivateKey.from_private_bytes(b"w" * 32))
    vkey = witness.verifier.vkey()
    for log in ("0", "1"):
        path = place.files / "ledger" / log / "checkpoint"
        text = path.read_text().rpartition("\n\n")[0] + "\n"
        path.write_bytes(path.read_bytes() + witness.cosign(text, 1_700_000_000).line().encode())
    assert [line.split()[5] for line in place.run("ledger", "--witness", vkey).splitlines()] == [
        "cosigned",
        "1",
        "1",
    ]
    other = Cosigner("witness.example/o", Ed25519PrivateKey.from_private_bytes(b"o" * 32)).verifier.vkey()
    with pytest.raises(InvalidInput, match="2 faults"):
        place.run("ledger", "--witness", other)
    place.run("ledger", "--witness", other, "--witness", vkey, "--quorum", "1")
    for arguments in (["--witness", "junk"], ["--quorum", "1"], ["--witness", vkey, "--quorum", "2"]):
        with pytest.raises(Fatal, match="--witness, --quorum"):
            place.run("ledger", *arguments)


def test_keys_from_a_file(place: Place) -> None:
    place.keys.write_bytes((place.files / "ledger/keys").read_bytes().splitlines(keepends=True)[1])
    assert len(place.run("ledger", "--keys", str(place.keys)).splitlines()) == 2
    with pytest.raises(Fatal, match="is missing"):
        place.run("ledger", "--keys", str(place.files / "none"))


def test_a_proof_is_checked_offline(place: Place, tmp_path: Path) -> None:
    log = published(LEAVES, (100, 200))
    reader = TileReader(log.log_fetch, log.checkpoint.size, log.checkpoint.root)
    path = tuple(reader.inclusion_proof(7))
    file, keys = tmp_path / "proof", str(place.files / "ledger/keys")
    file.write_bytes(TlogProof(7, path, log.note, extra=LEAVES[7]).encode())

    def run() -> str:
        arguments = ["verify", "proof", str(file), "--keys", keys]
        return CliRunner().invoke(app, arguments, catch_exceptions=False).output

    assert f"event {parse_leaf(LEAVES[7]).event_id} is leaf 7 of 300 in dev/ledger/0" in run()
    file.write_bytes(TlogProof(7, path, log.note, extra=LEAVES[8]).encode())
    with pytest.raises(InvalidInput, match="leads to another root"):
        run()
    stranger = Published(5).publish(LEAVES[:1])
    file.write_bytes(TlogProof(0, (), stranger.note, extra=LEAVES[0]).encode())
    with pytest.raises(InvalidInput, match="has no key of dev/ledger/5"):
        run()


def test_two_runs_at_once(place: Place) -> None:
    with files.held(place.state), pytest.raises(Fatal, match="another process uses"):
        place.run("ledger")


def test_an_agents_history(place: Place) -> None:
    output = place.run("agent", AGENTS[1].upper())
    latest = merkle.leaf_hash(LEAVES[298]).hex()
    assert output.splitlines() == [
        f"{AGENTS[1]}: 100 leaves in dev/ledger/0, none missing, none changed",
        f"latest leaf {latest}",
        "no signed report to compare it with",
    ]
    with pytest.raises(InvalidInput, match="is in: none"):
        place.run("agent", "0196c9a4-0000-7000-8000-0000000000ee")
    with pytest.raises(Fatal, match="is not an agent id"):
        place.run("agent", "Atlas")


def test_an_agent_in_two_logs(place: Place) -> None:
    place.publish(deployment(published(LEAVES, (100, 200)), published(leaves(3), (), 1)))
    with pytest.raises(InvalidInput, match="is in: dev/ledger/0, dev/ledger/1"):
        place.run("agent", AGENTS[1])


def report(place: Place, at_micros: int, **changes: Any) -> None:
    """Publish a signed trust report of `AGENTS[1]`, with these members of its claims."""
    keys = load_keys(place.keys, "report") if place.keys.exists() else create_keys(place.keys, "report")
    now = clock.now_micros()
    valid = {"issuedAt": clock.to_iso(now), "expiresAt": clock.to_iso(now + 60_000_000)}
    claims = honest_claims(LEAVES, AGENTS[1], at_micros=now, score_at_micros=at_micros) | valid | changes
    jwks = canonical.dumps(jwks_document([key.public for key in keys]))
    body = canonical.dumps(sign_report(claims, keys))
    place.publish({f"api/v1/trust/{AGENTS[1]}": body, ".well-known/jwks.json": jwks})


def named(log: str, index: int, sequence: int, leaf_hash: str) -> dict[str, Any]:
    """A report's member `ledger` whose head says this."""
    return {"head": {"log": log, "leafIndex": index, "sequence": sequence, "leafHash": leaf_hash}}


def test_the_signed_report_agrees_or_not(place: Place) -> None:
    def outcome(**changes: Any) -> list[str]:
        report(place, clock.now_micros(), **changes)
        with served(place.files) as url:
            return place.run("agent", AGENTS[1], "--issuer", "dev", url=url).splitlines()[2:]

    good, older = merkle.leaf_hash(LEAVES[298]).hex(), merkle.leaf_hash(LEAVES[4]).hex()
    again = "its score, counts and violations are those of the leaves, computed again"
    assert outcome() == ["the signed report agrees: it names leaf 100", again]
    for log, index, sequence, leaf_hash in (
        ("dev/ledger/1", 298, 100, good),
        ("dev/ledger/0", 298, 101, good),
        ("dev/ledger/0", 297, 100, good),
        ("dev/ledger/0", 298, 100, older),
        ("dev/ledger/0", 301, 101, good),
    ):
        with pytest.raises(InvalidInput, match="the signed report"):
            outcome(ledger=named(log, index, sequence, leaf_hash))
    with pytest.raises(InvalidInput, match="follow") as refused:
        outcome(pactCompliance={"bound": 100, "valid": 100, "violationsBySeverity": {}})
    assert refused.value.details == (
        Detail("bound calls", "the report says 100, the leaves come to 0"),
        Detail("valid calls", "the report says 100, the leaves come to 0"),
    )


def test_a_report_that_counts_what_is_not_sealed(place: Place) -> None:
    """It is asked for again until its ledger has that, and in the end the leaves are missed."""
    place.publish(deployment(published(LEAVES[:297], (100, 200)), published(relinked(OTHERS), (), 1)))
    report(
        place, clock.now_micros(), ledger=named("dev/ledger/0", 295, 99, merkle.leaf_hash(LEAVES[295]).hex())
    )
    with served(place.files) as url, pytest.raises(InvalidInput) as refused:
        place.run("agent", AGENTS[1], "--issuer", "dev", url=url)
    assert refused.value.details == (Detail("leaf 100", "counted, but the ledger has 99 of the agent"),)


def test_without_a_report_over_http(place: Place) -> None:
    with served(place.files) as url:
        assert place.run("agent", AGENTS[1], url=url).splitlines()[-1] == "no signed report to compare it with"
