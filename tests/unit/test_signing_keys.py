"""Signing keys: made with strict modes, refused when exposed, rotated, and never shown."""

from __future__ import annotations

import base64
import json
import logging
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from joserfc.jwk import ECKey

from pactstream import clock
from pactstream.ledger.note import NoteVerifier, open_note, sign_note
from pactstream.signing import keys
from pactstream.signing.jwks import jwks_document, parse_jwk, parse_jwks
from pactstream.signing.keys import Purpose, SigningKeyError

NOW = 1_778_666_400_000_000
ED25519 = Ed25519PrivateKey.from_private_bytes(bytes(32))


def pem(key: Ed25519PrivateKey = ED25519) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "state" / "keys"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    ("purpose", "names"),
    [
        ("ledger", {"ledger.ed25519.pem": "Ed25519"}),
        ("report", {"report.es256.pem": "ES256", "report.ed25519.pem": "Ed25519"}),
    ],
)
def test_new_keys_are_stored_for_their_owner_only(
    directory: Path, purpose: Purpose, names: dict[str, str]
) -> None:
    made = keys.create_keys(directory, purpose)
    assert {path.name for path in directory.iterdir()} == set(names)
    assert mode(directory) == 0o700
    assert {mode(path) for path in directory.iterdir()} == {0o600}
    assert [key.algorithm for key in made] == list(names.values())
    assert keys.load_keys(directory, purpose) == made
    for path in directory.iterdir():
        assert path.read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----\n")


def test_a_key_id_is_the_rfc_7638_thumbprint() -> None:
    """The key and thumbprint of RFC 8037, appendix A."""
    seed = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"
    (key,) = (
        keys.load_keys_from_environment(
            {"PACTSTREAM_KEY_LEDGER_ED25519": pem(_ed25519_from(seed)).decode()}, "ledger"
        )
        or ()
    )
    assert key.kid == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    assert key.public.members() == {
        "kty": "OKP",
        "crv": "Ed25519",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        "kid": key.kid,
        "alg": "Ed25519",
        "use": "sig",
    }


def _ed25519_from(seed: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(base64.urlsafe_b64decode(seed + "="))


def test_existing_keys_are_never_overwritten(directory: Path) -> None:
    made = keys.create_keys(directory, "ledger")
    assert keys.create_keys(directory, "ledger") == ()
    assert keys.load_keys(directory, "ledger") == made


def test_creating_again_completes_what_a_crash_left(directory: Path) -> None:
    es256, _ = keys.create_keys(directory, "report")
    (directory / "report.ed25519.pem").unlink()
    with pytest.raises(SigningKeyError, match=r"report\.ed25519\.pem is missing"):
        keys.load_keys(directory, "report")
    (ed25519,) = keys.create_keys(directory, "report")
    assert keys.load_keys(directory, "report") == (es256, ed25519)


def test_a_key_that_appears_meanwhile_is_not_destroyed(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes make keys at once: one wins, the other fails and leaves nothing behind."""
    winner = keys.create_keys(directory, "ledger")
    monkeypatch.setattr(Path, "exists", lambda _: False)
    with pytest.raises(SigningKeyError, match="cannot be stored: File exists"):
        keys.create_keys(directory, "ledger")
    assert keys.load_keys(directory, "ledger") == winner
    assert [path.name for path in directory.iterdir()] == ["ledger.ed25519.pem"]


def test_keys_are_not_put_into_an_open_directory(directory: Path) -> None:
    directory.mkdir(parents=True, mode=0o755)
    directory.chmod(0o755)
    with pytest.raises(SigningKeyError, match="keys is open to others: chmod 700"):
        keys.create_keys(directory, "ledger")
    assert list(directory.iterdir()) == []


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SigningKeyError, match="cannot be made: Not a directory"):
        keys.create_keys(tmp_path / "file" / "keys", "ledger")


@pytest.mark.parametrize("exposed", [0o640, 0o604, 0o660, 0o610])
def test_an_exposed_key_is_not_loaded(directory: Path, exposed: int) -> None:
    keys.create_keys(directory, "ledger")
    (directory / "ledger.ed25519.pem").chmod(exposed)
    with pytest.raises(
        SigningKeyError, match=r"ledger\.ed25519\.pem can be read by others than its owner: chmod 600"
    ):
        keys.load_keys(directory, "ledger")


def test_a_directory_that_others_can_write_to_is_not_trusted(directory: Path) -> None:
    keys.create_keys(directory, "ledger")
    directory.chmod(0o755)
    assert len(keys.load_keys(directory, "ledger")) == 1
    directory.chmod(0o770)
    with pytest.raises(SigningKeyError, match="others can replace files in keys: chmod 700"):
        keys.load_keys(directory, "ledger")


def test_missing_and_unreadable_keys_are_told_apart(directory: Path) -> None:
    with pytest.raises(SigningKeyError, match=r"ledger\.ed25519\.pem is missing: .*pactstream keys new"):
        keys.load_keys(directory, "ledger")
    (directory / "ledger.ed25519.pem").mkdir(parents=True)
    with pytest.raises(SigningKeyError, match="cannot be read: Is a directory"):
        keys.load_keys(directory, "ledger")


P384 = ECKey.generate_key("P-384").as_pem(private=True)
ENCRYPTED = ED25519.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
PUBLIC = ED25519.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize("content", [b"", b"junk", P384, ENCRYPTED, PUBLIC, b"\xff" * 99, pem() * 200])
@pytest.mark.parametrize("name", ["report.es256.pem", "report.ed25519.pem"])
def test_a_file_without_the_right_key_is_refused(directory: Path, name: str, content: bytes) -> None:
    keys.create_keys(directory, "report")
    (directory / name).write_bytes(content)
    if name == "report.ed25519.pem" and content == pem() * 200:
        assert len(keys.load_keys(directory, "report")) == 2  # the first of several is read
        return
    with pytest.raises(
        SigningKeyError, match=r"does not hold an unencrypted (ES256|Ed25519) private key"
    ) as caught:
        keys.load_keys(directory, "report")
    assert name in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_keys_come_from_the_environment() -> None:
    assert keys.load_keys_from_environment({}, "report") is None
    assert keys.load_keys_from_environment({"PACTSTREAM_KEY_LEDGER_ED25519": ""}, "ledger") is None
    es256 = ECKey.generate_key("P-256").as_pem(private=True).decode()
    environ = {"PACTSTREAM_KEY_REPORT_ES256": es256, "PACTSTREAM_KEY_REPORT_ED25519": pem().decode()}
    loaded = keys.load_keys_from_environment(environ, "report")
    assert loaded is not None
    assert [key.algorithm for key in loaded] == ["ES256", "Ed25519"]
    with pytest.raises(SigningKeyError, match="PACTSTREAM_KEY_REPORT_ED25519 is not set, but another"):
        keys.load_keys_from_environment({"PACTSTREAM_KEY_REPORT_ES256": es256}, "report")
    with pytest.raises(SigningKeyError, match="PACTSTREAM_KEY_REPORT_ED25519 does not hold"):
        keys.load_keys_from_environment(environ | {"PACTSTREAM_KEY_REPORT_ED25519": "\udcff"}, "report")


def test_rotation_keeps_the_old_public_keys(directory: Path) -> None:
    old = keys.create_keys(directory, "report")
    ledger = keys.create_keys(directory, "ledger")
    new = keys.rotate_keys(directory, "report", now_micros=NOW, overlap_seconds=60)
    assert keys.load_keys(directory, "report") == new
    assert not {key.kid for key in old} & {key.kid for key in new}
    retired = keys.load_retired(directory, "report")
    assert {key.kid for key in retired} == {key.kid for key in old}
    assert {key.retired_at_micros for key in retired} == {NOW + 60 * clock.MICROS_PER_SECOND}
    assert keys.load_retired(directory, "ledger") == ()
    assert keys.load_keys(directory, "ledger") == ledger
    published = parse_jwks(jwks_document([key.public for key in new], retired))
    assert set(published) == {key.kid for key in (*old, *new)}
    assert published[new[0].kid].retired_at_micros is None

    keys.rotate_keys(directory, "report", now_micros=NOW + 1)
    assert len(keys.load_retired(directory, "report")) == 4


def test_no_private_key_outlives_its_rotation(directory: Path) -> None:
    keys.create_keys(directory, "ledger")
    secret = (directory / "ledger.ed25519.pem").read_bytes().splitlines()[1]
    keys.rotate_keys(directory, "ledger", now_micros=NOW)
    stored = [path.read_bytes() for path in directory.rglob("*") if path.is_file()]
    assert len(stored) == 2
    assert not any(secret in data for data in stored)


def test_a_crash_between_the_two_writes_of_a_rotation_loses_nothing(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the first write the key is in use and listed as retired; rotating again completes the work."""
    old = keys.create_keys(directory, "report")
    with monkeypatch.context() as patch:
        patch.setattr(keys, "_generate", _crash)
        with pytest.raises(KeyboardInterrupt):
            keys.rotate_keys(directory, "report", now_micros=NOW)
    assert keys.load_keys(directory, "report") == old
    retired = keys.load_retired(directory, "report")
    assert [key.kid for key in retired] == [old[0].kid]
    shown = parse_jwks(jwks_document([key.public for key in old], retired))
    assert shown[old[0].kid].retired_at_micros is None

    new = keys.rotate_keys(directory, "report", now_micros=NOW + 1)
    assert keys.load_keys(directory, "report") == new
    assert {key.kid for key in keys.load_retired(directory, "report")} == {key.kid for key in old}


def _crash(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_failed_write_leaves_the_old_key(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = keys.create_keys(directory, "ledger")
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", _no_space)
        with pytest.raises(SigningKeyError, match="cannot be stored: No space left"):
            keys.rotate_keys(directory, "ledger", now_micros=NOW)
    assert keys.load_keys(directory, "ledger") == old
    assert [path.name for path in directory.rglob("*.tmp")] == []


def _no_space(_: int) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not JSON"),
        (b"{}", "not an ES256 or Ed25519 public key"),
        (b'{"kty":"OKP"', "not JSON"),
        (b"public", "not JSON"),
    ],
)
def test_a_damaged_retired_key_is_reported(directory: Path, content: bytes, reason: str) -> None:
    keys.create_keys(directory, "ledger")
    keys.rotate_keys(directory, "ledger", now_micros=NOW)
    (path,) = (directory / "retired").iterdir()
    path.write_bytes(content)
    with pytest.raises(SigningKeyError, match=reason):
        keys.load_retired(directory, "ledger")


def test_a_retired_key_says_since_when(directory: Path) -> None:
    (key,) = keys.create_keys(directory, "ledger")
    (directory / "retired").mkdir(mode=0o700)
    (directory / "retired" / "ledger.x.json").write_text(json.dumps(key.public.members()))
    with pytest.raises(SigningKeyError, match=r"retired/ledger\.x\.json does not say since when"):
        keys.load_retired(directory, "ledger")


def test_a_ledger_key_signs_notes_and_its_public_half_verifies_them(directory: Path) -> None:
    (key,) = keys.create_keys(directory, "ledger")
    note = sign_note("text\n", [key.note_signer("dev/ledger/0")])
    verifier = keys.note_verifier(key.public, "dev/ledger/0")
    assert open_note(note, [NoteVerifier.from_vkey(verifier.line())]).text == "text\n"


def test_a_compromised_key_is_cut_off(directory: Path) -> None:
    (old,) = keys.create_keys(directory, "ledger")
    with pytest.raises(SigningKeyError, match="must be rotated first"):
        keys.cut_off(directory, old.kid, {"dev/ledger/0": 5})
    keys.rotate_keys(directory, "ledger", now_micros=1)
    keys.cut_off(directory, old.kid, {"dev/ledger/0": 7, "dev/ledger/1": 9})
    keys.cut_off(directory, old.kid, {"dev/ledger/0": 5, "dev/ledger/1": 11})  # never raised
    (retired,) = keys.load_retired(directory, "ledger")
    assert retired.until == (("dev/ledger/0", 5), ("dev/ledger/1", 9))
    assert parse_jwk(retired.members()) == retired
    lines = [keys.note_verifier(retired, f"dev/ledger/{log}").line() for log in range(3)]
    assert [line.partition(" ")[2] for line in lines] == ["until 5", "until 9", ""]


def test_an_es256_key_has_nothing_to_do_with_notes(directory: Path) -> None:
    es256, _ = keys.create_keys(directory, "report")
    with pytest.raises(SigningKeyError, match="cannot sign checkpoints"):
        es256.note_signer("dev/ledger/0")
    with pytest.raises(SigningKeyError, match="cannot verify checkpoints"):
        keys.note_verifier(es256.public, "dev/ledger/0")


def test_private_keys_are_never_shown(directory: Path, caplog: pytest.LogCaptureFixture) -> None:
    made = keys.create_keys(directory, "report")
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("test").info("%r %s", made, made[0].public)
    secrets = [key.jwk.as_dict(private=True)["d"] for key in made]
    for text in (
        repr(made),
        str(made[0]),
        repr(made[0].public),
        json.dumps(made[0].public.members()),
        caplog.text,
    ):
        assert made[0].kid in text
        assert not any(str(secret) in text for secret in secrets)
