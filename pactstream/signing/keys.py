"""Signing keys: made, kept in files that only their owner can read, rotated; never printed.

A directory (mode 0700) holds one PEM file (PKCS #8, mode 0600) per key, `<purpose>.<algorithm>.pem`, and the
public halves of earlier keys, `retired/<purpose>.<key id>.json`. Or the PEM texts come from environment
variables, `PACTSTREAM_KEY_<PURPOSE>_<ALGORITHM>`. A key's id is its RFC 7638 thumbprint.
"""

from __future__ import annotations

import os
import secrets
import stat
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey

from pactstream import canonical, clock
from pactstream.errors import Fatal, InvalidInput
from pactstream.ledger.cosignature import Cosigner
from pactstream.ledger.log_keys import LogKey
from pactstream.ledger.note import NoteSigner, NoteVerifier
from pactstream.signing.jwks import Algorithm, Jwk, PublicKey, parse_jwk

Purpose: TypeAlias = Literal["ledger", "report", "witness", "evaluator"]

ALGORITHMS: dict[Purpose, tuple[Algorithm, ...]] = {
    "ledger": ("Ed25519",),
    "report": ("ES256", "Ed25519"),
    "witness": ("Ed25519",),
    "evaluator": ("Ed25519",),
}
"""The keys of each purpose."""

DEFAULT_OVERLAP_SECONDS = 3_600
"""How long after a rotation the old key may still sign: until every process that holds it is restarted."""

CONSOLE_FILE = "console.key"
"""What seals the console's sessions."""

SECRET_BYTES = 32
"""Of what is shared between processes of a deployment, and signs for nobody else."""

_RETIRED = "retired"
_GROUP_OR_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_WRITE_GROUP_OR_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_MAX_PEM_BYTES = 16_384


class SigningKeyError(Fatal):
    """A key that is missing, exposed, or not what it should be. The text never holds key material."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key and what it is for; its `repr` shows the id only."""

    purpose: Purpose
    algorithm: Algorithm
    kid: str
    jwk: Jwk = field(repr=False, compare=False)

    @property
    def public(self) -> PublicKey:
        """The public half."""
        return parse_jwk({**self.jwk.as_dict(private=False), "kid": self.kid})

    def note_signer(self, origin: str) -> NoteSigner:
        """This key as the signer of log `origin`. Raises `SigningKeyError` unless it is an Ed25519 key."""
        return NoteSigner(origin, self._ed25519())

    def cosigner(self, name: str) -> Cosigner:
        """This key as the witness `name`. Raises `SigningKeyError` unless it is an Ed25519 key."""
        return Cosigner(name, self._ed25519())

    def _ed25519(self) -> Ed25519PrivateKey:
        private = self.jwk.private_key
        if not isinstance(private, Ed25519PrivateKey):
            raise SigningKeyError(f"key {self.kid} is not an Ed25519 key: it cannot sign checkpoints")
        return private


def note_verifier(key: PublicKey, origin: str) -> LogKey:
    """A public key, current or retired, as a verifier of log `origin`; its `line()` is what to hand out.

    Raises `SigningKeyError` unless it is an Ed25519 key.
    """
    public = key.jwk.public_key
    if not isinstance(public, Ed25519PublicKey):
        raise SigningKeyError(f"key {key.kid} is not an Ed25519 key: it cannot verify checkpoints")
    return LogKey(NoteVerifier(origin, public.public_bytes_raw()), dict(key.until).get(origin))


def create_keys(directory: Path, purpose: Purpose) -> tuple[SigningKey, ...]:
    """Make and store those keys of `purpose` that are not there yet; returns the new ones, perhaps none.

    An existing key is never touched. Raises `SigningKeyError` when one cannot be stored.
    """
    _make_directory(directory)
    keys = []
    for algorithm, path in _paths(directory, purpose).items():
        if path.exists():
            continue
        key = _generate(purpose, algorithm)
        store_private(path, _pem(key), overwrite=False)
        # A crash here leaves this key whole and the purpose's next one missing: loading says so, and creating
        # again makes the missing one.
        keys.append(key)
    return tuple(keys)


def rotate_keys(
    directory: Path, purpose: Purpose, *, now_micros: int, overlap_seconds: int = DEFAULT_OVERLAP_SECONDS
) -> tuple[SigningKey, ...]:
    """Replace the keys of `purpose`; the old ones' public halves stay, retired as of now plus the overlap.

    The old private keys are gone afterwards. Raises `SigningKeyError`.
    """
    retired_at = now_micros + overlap_seconds * clock.MICROS_PER_SECOND
    keys = []
    for old in load_keys(directory, purpose):
        _store_retired(directory, purpose, replace(old.public, retired_at_micros=retired_at))
        # A crash here leaves the old key in use and also listed as retired: a key set shows it as current, and
        # rotating again completes the work.
        key = _generate(purpose, old.algorithm)
        store_private(_paths(directory, purpose)[old.algorithm], _pem(key), overwrite=True)
        # A crash here leaves this key rotated and the purpose's next one not: each stands on its own.
        keys.append(key)
    return tuple(keys)


def load_keys(directory: Path, purpose: Purpose) -> tuple[SigningKey, ...]:
    """The private keys of `purpose`. Raises `SigningKeyError`: missing, readable by others, or malformed."""
    return tuple(
        _parse_pem(read_private(path), purpose, algorithm, path.name)
        for algorithm, path in _paths(directory, purpose).items()
    )


def load_keys_from_environment(environ: Mapping[str, str], purpose: Purpose) -> tuple[SigningKey, ...] | None:
    """The private keys of `purpose` from variables that hold PEM text; None when none of them is set.

    Raises `SigningKeyError` when only some are set, or one is malformed.
    """
    names = {algorithm: environment_name(purpose, algorithm) for algorithm in ALGORITHMS[purpose]}
    missing = [name for name in names.values() if not environ.get(name)]
    if len(missing) == len(names):
        return None
    if missing:
        raise SigningKeyError(f"{', '.join(missing)} is not set, but another key for {purpose} is")
    return tuple(
        _parse_pem(environ[name].encode(errors="replace"), purpose, algorithm, name)
        for algorithm, name in names.items()
    )


def environment_name(purpose: Purpose, algorithm: Algorithm) -> str:
    """The variable that may hold a key: `PACTSTREAM_KEY_REPORT_ES256`."""
    return f"PACTSTREAM_KEY_{purpose}_{algorithm}".upper()


def load_retired(directory: Path, purpose: Purpose) -> tuple[PublicKey, ...]:
    """The public halves of earlier keys of `purpose`. Raises `SigningKeyError` for a malformed one."""
    keys = []
    for path in sorted((directory / _RETIRED).glob(f"{purpose}.*.json")):
        try:
            key = parse_jwk(canonical.parse_exact(path.read_bytes()))
        except (OSError, InvalidInput) as error:
            raise SigningKeyError(f"{_RETIRED}/{path.name} is not a retired public key: {error}") from error
        if key.retired_at_micros is None:
            raise SigningKeyError(f"{_RETIRED}/{path.name} does not say since when it is retired")
        keys.append(key)
    return tuple(keys)


def cut_off(directory: Path, kid: str, until: Mapping[str, int]) -> PublicKey:
    """Declare a retired ledger key compromised: of the logs in `until` it vouches for no tree above that size.

    A cut-off is only ever lowered. Raises `SigningKeyError` when there is no such retired key.
    """
    for key in load_retired(directory, "ledger"):
        if key.kid == kid:
            known = dict(key.until)
            lowered = {origin: min(size, known.get(origin, size)) for origin, size in until.items()}
            limited = replace(key, until=tuple(sorted((known | lowered).items())))
            _store_retired(directory, "ledger", limited)
            return limited
    raise SigningKeyError(f"there is no retired ledger key {kid}: a key that is in use must be rotated first")


def _store_retired(directory: Path, purpose: Purpose, key: PublicKey) -> None:
    _make_directory(directory / _RETIRED)
    path = directory / _RETIRED / f"{purpose}.{key.kid}.json"
    store_private(path, canonical.dumps(key.members()), overwrite=True)


def _paths(directory: Path, purpose: Purpose) -> dict[Algorithm, Path]:
    return {one: directory / f"{purpose}.{one.lower()}.pem" for one in ALGORITHMS[purpose]}


def _generate(purpose: Purpose, algorithm: Algorithm) -> SigningKey:
    jwk: Jwk = ECKey.generate_key("P-256") if algorithm == "ES256" else OKPKey.generate_key("Ed25519")
    return SigningKey(purpose, algorithm, jwk.thumbprint(), jwk)


def _pem(key: SigningKey) -> bytes:
    return key.jwk.as_pem(private=True)


def _parse_pem(pem: bytes, purpose: Purpose, algorithm: Algorithm, where: str) -> SigningKey:
    jwk: Jwk
    try:
        jwk = ECKey.import_key(pem) if algorithm == "ES256" else OKPKey.import_key(pem)
        suits = jwk.is_private and jwk.curve_name == ("P-256" if algorithm == "ES256" else "Ed25519")
    except (JoseError, UnsupportedAlgorithm, TypeError, ValueError):  # TypeError: it is encrypted
        suits = False
    if not suits:
        raise SigningKeyError(f"{where} does not hold an unencrypted {algorithm} private key (PEM, PKCS #8)")
    return SigningKey(purpose, algorithm, jwk.thumbprint(), jwk)


def _make_directory(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = directory.stat().st_mode
    except OSError as error:
        raise SigningKeyError(f"the key directory cannot be made: {error.strerror}") from error
    if mode & _GROUP_OR_OTHERS:
        raise SigningKeyError(f"the key directory {directory.name} is open to others: chmod 700 it")


def read_private(path: Path) -> bytes:
    """The bytes of a key file, after checking the opened file itself, so that no swap can slip between."""
    try:
        directory_mode = path.parent.stat().st_mode
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if mode & _GROUP_OR_OTHERS:
                raise SigningKeyError(f"{path.name} can be read by others than its owner: chmod 600 it")
            pem = file.read(_MAX_PEM_BYTES)
    except FileNotFoundError as error:
        raise SigningKeyError(f"{path.name} is missing: make it with `pactstream keys new`") from error
    except OSError as error:
        raise SigningKeyError(f"{path.name} cannot be read: {error.strerror}") from error
    if directory_mode & _WRITE_GROUP_OR_OTHERS:
        raise SigningKeyError(f"others can replace files in {path.parent.name}: chmod 700 it")
    return pem


def create_secret(path: Path) -> bool:
    """Make a file with a random secret of 32 bytes unless it is there; returns whether it was made.

    Raises:
        SigningKeyError: it cannot be stored.
    """
    if path.exists():
        return False
    store_private(path, b64encode(secrets.token_bytes(SECRET_BYTES)) + b"\n", overwrite=False)
    return True


def load_secret(path: Path, variable: str, environ: Mapping[str, str]) -> bytes:
    """A secret of 32 bytes, from the environment if it stands there, else from its file.

    Raises:
        SigningKeyError: it is missing, readable by others, or malformed.
    """
    given = environ.get(variable)
    text = given.encode() if given else read_private(path)
    try:
        secret = b64decode(text.strip(), validate=True)
    except ValueError:
        secret = b""
    if len(secret) != SECRET_BYTES:
        raise SigningKeyError(
            f"{variable if given else path.name} does not hold {SECRET_BYTES} bytes in base64"
        )
    return secret


def store_private(path: Path, data: bytes, *, overwrite: bool) -> None:
    """Write a file with mode 0600, whole or not at all, durable when this returns."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            # A crash here leaves the temporary file, which nothing reads, and the old state.
            if overwrite:
                temporary.replace(path)
            else:
                path.hardlink_to(temporary)  # fails where a key appeared meanwhile; a rename would destroy it
        finally:
            temporary.unlink(missing_ok=True)
        # A crash here leaves the old file or the new one under the name, whole in either case.
        _sync_directory(path.parent)
    except OSError as error:
        raise SigningKeyError(f"{path.name} cannot be stored: {error.strerror}") from error


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
