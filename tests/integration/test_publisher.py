"""The sealer's third loop on real Kafka: sealed segments become files that a stranger verifies."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from prometheus_client import REGISTRY

from ledger_sealer import publisher as loop
from ledger_sealer import wiring
from ledger_sealer.settings import SealerSettings
from pactstream.clickhouse.client import ClickHouse
from pactstream.clickhouse.verify import verify_ledger
from pactstream.devstack.ports import free_port
from pactstream.errors import Fatal
from pactstream.kafka import config
from pactstream.ledger import files
from pactstream.ledger.cosignature import Cosigner
from pactstream.ledger.note import NoteVerifier, parse_note
from pactstream.ledger.pins import PinBook
from pactstream.ledger.published import Result
from pactstream.ledger.verification import Verification, source
from pactstream.ledger.witness import Witness
from pactstream.signing.keys import create_keys, cut_off, load_keys, note_verifier, rotate_keys
from tests.sealer_stack import Setup, build, running
from tests.sealer_tools import Evaluated
from tests.stack import ClickHouseAddress, eventually
from tests.witness_process import WitnessMemory, witness_thread

LOG_0, LOG_1 = "test.example/ledger/0", "test.example/ledger/1"
TIMEOUT_SECONDS = 60
VKEY = Cosigner("witness.example/w", Ed25519PrivateKey.from_private_bytes(b"w" * 32)).verifier.vkey()


@pytest.fixture
def setup(
    kafka_bootstrap: str, topic_prefix: str, clickhouse_database: ClickHouseAddress, tmp_path: Path
) -> Iterator[Setup]:
    with build(
        kafka_bootstrap,
        topic_prefix,
        clickhouse_database,
        tmp_path / "keys",
        key_dir=tmp_path / "keys",
        tiles_dir=tmp_path / "published",
        publish_interval_seconds=0.05,
    ) as made:
        yield made


def publisher(setup: Setup, directory: Path | None = None) -> Callable[[Event], None]:
    where = directory or setup.settings.tiles_dir
    assert where is not None
    return wiring.build_publisher(setup.settings, setup.key, setup.database, where).run


def unchecked(directory: Path, state: Path) -> list[Result]:
    return Verification(str(directory), source(str(directory)), PinBook(state)).run()


def verify(directory: Path, state: Path) -> dict[str, Result]:
    """What a stranger finds who remembers in `state`."""
    results = unchecked(directory, state)
    assert [str(finding) for one in results for finding in one.findings] == []
    return {one.origin: one for one in results}


def sizes(directory: Path, tmp_path: Path) -> dict[str, int]:
    if not (directory / "ledger/keys").exists():
        return {}
    return {
        origin: one.checkpoint.size if one.checkpoint else 0
        for origin, one in verify(directory, tmp_path / "state").items()
    }


def wait_for(directory: Path, tmp_path: Path, expected: dict[str, int]) -> None:
    eventually(lambda: sizes(directory, tmp_path) == expected, TIMEOUT_SECONDS, 0.1)


def test_what_is_sealed_is_published_and_verifies(setup: Setup, tmp_path: Path) -> None:
    one, two = Evaluated(), Evaluated(1)
    with running(setup.sealer(), publisher(setup)):
        for part in range(1, 4):
            setup.write(one.batches(20))
            setup.write(two.batches(4), partition=1)
            wait_for(tmp_path / "published", tmp_path, {LOG_0: 100 * part, LOG_1: 20 * part})
    metric = REGISTRY.get_sample_value("pactstream_published_leaves", {"log": "1"})
    assert metric == 60
    # Begun again, it goes on after what is published.
    with running(setup.sealer(), publisher(setup)):
        setup.write(one.batches(20))
        wait_for(tmp_path / "published", tmp_path, {LOG_0: 400, LOG_1: 60})
    assert not list((tmp_path / "published").rglob("*.tmp"))


def test_only_one_of_two_publishes_and_the_other_says_so(
    setup: Setup, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second deployment on one directory, as a former holder that does not know: the lock keeps it out."""
    monkeypatch.setattr(loop, "_LAST_RETRY_SECONDS", 0.2)
    setup.write(Evaluated().batches(3))
    setup.seal(15)
    held = tmp_path / "published/ledger/0"
    with caplog.at_level(logging.WARNING), running(publisher(setup)):
        with files.held(held):
            eventually(lambda: "another process uses the directory 0" in caplog.text, TIMEOUT_SECONDS)
            assert "it publishes this log, and this process does not" in caplog.text
            assert not (held / "checkpoint").exists()
        wait_for(tmp_path / "published", tmp_path, {LOG_0: 15, LOG_1: 0})


def test_two_sealers_share_the_logs_and_one_goes_on_alone(setup: Setup, tmp_path: Path) -> None:
    published = tmp_path / "published"
    sources = (Evaluated(), Evaluated(1))

    def write() -> None:
        for log, one in enumerate(sources):
            setup.write(one.batches(4), partition=log)

    with running(setup.sealer(), publisher(setup)):
        with running(publisher(setup)):
            write()
            wait_for(published, tmp_path, {LOG_0: 20, LOG_1: 20})
            eventually(lambda: holders(published) == 2, TIMEOUT_SECONDS, 0.1)
            write()
            wait_for(published, tmp_path, {LOG_0: 40, LOG_1: 40})
        write()
        wait_for(published, tmp_path, {LOG_0: 60, LOG_1: 60})


def holders(published: Path) -> int:
    """How many logs are held by somebody."""
    count = 0
    for log in range(2):
        try:
            with files.held(published / f"ledger/{log}"):
                continue
        except files.Held:
            count += 1
    return count


def test_a_lost_directory_is_filled_again_from_the_start(setup: Setup, tmp_path: Path) -> None:
    published = tmp_path / "published"
    setup.write(Evaluated().batches(30))
    with running(setup.sealer(), publisher(setup)):
        wait_for(published, tmp_path, {LOG_0: 150, LOG_1: 0})
    shutil.rmtree(published)
    shutil.rmtree(tmp_path / "state")  # who remembers calls it a rollback, until it is filled again
    with running(publisher(setup)):
        wait_for(published, tmp_path, {LOG_0: 150, LOG_1: 0})


def test_after_an_older_backup_what_it_lacks_is_published_again(setup: Setup, tmp_path: Path) -> None:
    published, source_0 = tmp_path / "published", Evaluated()
    with running(setup.sealer(), publisher(setup)):
        setup.write(source_0.batches(10))
        wait_for(published, tmp_path, {LOG_0: 50, LOG_1: 0})
        earlier = (published / "ledger/0/checkpoint").read_bytes()
        setup.write(source_0.batches(10))
        wait_for(published, tmp_path, {LOG_0: 100, LOG_1: 0})
    (published / "ledger/0/checkpoint").write_bytes(earlier)
    shutil.rmtree(tmp_path / "state")
    with running(setup.sealer(), publisher(setup)):
        setup.write(source_0.batches(1))
        wait_for(published, tmp_path, {LOG_0: 105, LOG_1: 0})


def test_leaves_past_kafkas_retention_come_from_clickhouse(setup: Setup, tmp_path: Path) -> None:
    source_0 = Evaluated()
    setup.write(source_0.batches(30))
    with running(setup.sealer(), setup.projector()):
        setup.wait_for(150)
    delete_records(setup, before=20)
    with running(publisher(setup)):
        wait_for(tmp_path / "published", tmp_path, {LOG_0: 150, LOG_1: 0})


def test_a_disk_that_fails_is_waited_for_and_the_other_log_goes_on(
    setup: Setup, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "_LAST_RETRY_SECONDS", 0.2)
    obstacle = tmp_path / "published/ledger/0/tile/0"
    obstacle.parent.mkdir(parents=True)
    obstacle.write_text("a file where a directory must be")
    one, two = Evaluated(), Evaluated(1)
    with caplog.at_level(logging.WARNING), running(setup.sealer(), publisher(setup)):
        for part in range(1, 3):
            setup.write(one.batches(4))
            setup.write(two.batches(4), partition=1)
            wait_for(tmp_path / "published", tmp_path, {LOG_0: 0, LOG_1: 20 * part})
        assert "log 0 is not published" in caplog.text
        obstacle.unlink()
        wait_for(tmp_path / "published", tmp_path, {LOG_0: 40, LOG_1: 40})


def test_another_history_under_our_name_stops_it(setup: Setup, tmp_path: Path) -> None:
    """What is published is not what Kafka has: publishing on would fork the log."""
    published = tmp_path / "published"
    setup.write(Evaluated().batches(3))
    with running(setup.sealer(), publisher(setup)):
        wait_for(published, tmp_path, {LOG_0: 15, LOG_1: 0})
    for path in (published / "ledger/0").rglob("15"):
        path.write_bytes(path.read_bytes()[:-1] + b"\x00")
    setup.write(Evaluated(1).batches(1), partition=1)
    setup.write(Evaluated().batches(1))
    with running(setup.sealer(), publisher(setup)) as failures:
        eventually(lambda: failures, TIMEOUT_SECONDS)
        assert "what is published is damaged" in str(failures.pop())


def test_a_rotated_key_goes_on_and_both_verify(setup: Setup, tmp_path: Path) -> None:
    """The sealer that began with the old key publishes what another one signs with the new key."""
    published = tmp_path / "published"
    source_0 = Evaluated()
    with running(publisher(setup)):
        with running(setup.sealer()):
            setup.write(source_0.batches(3))
            wait_for(published, tmp_path, {LOG_0: 15, LOG_1: 0})
        assert setup.settings.tiles_dir is not None
        rotate_keys(setup.settings.key_dir, "ledger", now_micros=1)
        (new,) = load_keys(setup.settings.key_dir, "ledger")
        with running(wiring.build(setup.settings, new).run):
            setup.write(source_0.batches(3))
            verifier = new.note_signer(LOG_0).verifier
            eventually(
                lambda: (
                    f"{verifier.name} " in (published / "ledger/0/checkpoint").read_text()
                    and "\n30\n" in (published / "ledger/0/checkpoint").read_text()
                ),
                TIMEOUT_SECONDS,
            )
            lines = eventually(
                lambda: [one for one in (published / "ledger/keys").read_text().splitlines() if LOG_0 in one][
                    1:
                ],
                TIMEOUT_SECONDS,
            )
    assert verifier.vkey() in lines
    fresh = verify(published, tmp_path / "fresh")
    assert fresh[LOG_0].leaves == 30


def test_failing_open_it_publishes_with_the_cosignatures_it_has(
    kafka_bootstrap: str, topic_prefix: str, clickhouse_database: ClickHouseAddress, tmp_path: Path
) -> None:
    """One of two witnesses is away. Failing closed: tests/integration/test_verify_live.py."""
    names = ("one.example/w", "two.example/w")
    here, away = (Cosigner(name, Ed25519PrivateKey.generate()) for name in names)
    known: dict[str, list[NoteVerifier]] = {}
    with witness_thread(Witness(here, known, WitnessMemory())) as url:
        nobody = f"http://127.0.0.1:{free_port()}"
        with build(
            kafka_bootstrap,
            topic_prefix,
            clickhouse_database,
            tmp_path / "keys",
            key_dir=tmp_path / "keys",
            tiles_dir=tmp_path / "published",
            witnesses=f"{url} {here.verifier.vkey()}, {nobody} {away.verifier.vkey()}",
            witness_fail_closed=False,
        ) as setup:
            known[LOG_0] = [setup.key.note_signer(LOG_0).verifier]
            setup.write(Evaluated().batches(3))
            with running(setup.sealer(), publisher(setup)):
                wait_for(tmp_path / "published", tmp_path, {LOG_0: 15, LOG_1: 0})
    note = parse_note((tmp_path / "published/ledger/0/checkpoint").read_bytes())
    assert [one.name for one in note.signatures] == [LOG_0, names[0]]
    assert REGISTRY.get_sample_value("pactstream_published_cosignatures", {"log": "0"}) == 1


@pytest.mark.parametrize(
    ("witnesses", "quorum", "message"),
    [
        ("https://w.example", None, "a URL, a space and a verifier key"),
        ("w.example key", None, "a URL, a space and a verifier key"),
        ("https://w.example key", None, "verifier key"),
        (f"https://w.example {VKEY}", 2, "cannot be asked for"),
        (f"https://w.example {VKEY}, https://x.example {VKEY}", 1, "cannot be asked for"),
    ],
)
def test_witnesses_that_make_no_sense_stop_it_at_the_start(
    tmp_path: Path, witnesses: str, quorum: int | None, message: str
) -> None:
    settings = SealerSettings(witnesses=witnesses, witness_quorum=quorum)
    (key,) = create_keys(tmp_path / "keys", "ledger")
    with pytest.raises(Fatal, match=message):
        wiring.build_publisher(settings, key, ClickHouse(settings), tmp_path)


def test_a_cut_off_is_published_and_the_rows_verifier_honours_it(setup: Setup, tmp_path: Path) -> None:
    """A stolen key signs on: from the declared size on, neither verifier believes it."""
    published = tmp_path / "published"
    source_0 = Evaluated()
    with running(setup.sealer(), setup.projector(), publisher(setup)):
        for part in (1, 2):
            setup.write(source_0.batches(3))
            setup.wait_for(15 * part)
        wait_for(published, tmp_path, {LOG_0: 30, LOG_1: 0})
        assert setup.findings() == []
        rotate_keys(setup.settings.key_dir, "ledger", now_micros=1)
        limited = cut_off(setup.settings.key_dir, setup.key.kid, {LOG_0: 15})
        line = note_verifier(limited, LOG_0).line()
        assert line.endswith(" until 15")
        eventually(lambda: line in (published / "ledger/keys").read_text().splitlines(), TIMEOUT_SECONDS, 0.1)
    (result,) = [one for one in unchecked(published, tmp_path / "fresh") if one.origin == LOG_0]
    assert [str(one.fault) for one in result.findings] == ["signature refused"]
    reports = verify_ledger(setup.database, deployment="test.example", keys=[limited], in_flight_seconds=0.1)
    found = [one for report in reports for one in report.findings]
    assert {str(one.fault) for one in found} == {"signature refused"}
    assert {one.segment for one in found}.isdisjoint({0}), "what it signed before stands"


def delete_records(setup: Setup, before: int) -> None:
    """As retention does: records of log 0 below that offset go."""
    from confluent_kafka import TopicPartition
    from confluent_kafka.admin import AdminClient

    from pactstream.kafka import topics

    admin = AdminClient(config.client(setup.settings))
    where = TopicPartition(topics.name(setup.settings, topics.EVALUATED), 0, before)
    for done in admin.delete_records([where]).values():
        done.result(30)
