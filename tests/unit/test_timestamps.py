"""RFC 3161 stamps of checkpoints, by an authority of the test's own (`openssl ts`)."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from pactstream.errors import Fatal, InvalidInput
from pactstream.ledger.timestamps import Authority, check, stamp
from tests.cli_tools import runner
from tests.http_servers import serving
from tests.published_ledger import leaves, published, write

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the stamps")

_CONFIG = """
[req]
distinguished_name = name
prompt = no
[name]
CN = Test authority
[root]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign
subjectKeyIdentifier = hash
[leaf]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = critical,timeStamping
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[tsa]
default_tsa = ours
[ours]
serial = {directory}/serial
signer_cert = {directory}/tsa.pem
signer_key = {directory}/tsa.key
default_policy = 1.2.3.4.1
digests = sha256
signer_digest = sha256
ess_cert_id_alg = sha256
"""


def openssl(*arguments: str | Path, data: bytes | None = None) -> bytes:
    done = subprocess.run(["openssl", *map(str, arguments)], input=data, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root certificate, and the authority's own under it."""
    made = tmp_path_factory.mktemp("tsa")
    config = made / "openssl.cnf"
    config.write_text(_CONFIG.format(directory=made))
    (made / "serial").write_text("01")
    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-config", config)
    root = ("-x509", "-days", "30", "-extensions", "root", "-subj", "/CN=Test root")
    openssl("req", *new_key, *root, "-keyout", made / "root.key", "-out", made / "root.pem")
    openssl("req", *new_key, "-keyout", made / "tsa.key", "-out", made / "tsa.csr")
    signed_by = ("-CA", made / "root.pem", "-CAkey", made / "root.key", "-CAcreateserial", "-days", "30")
    extensions = ("-extfile", config, "-extensions", "leaf")
    openssl("x509", "-req", "-in", made / "tsa.csr", *signed_by, *extensions, "-out", made / "tsa.pem")
    return made


@pytest.fixture(scope="module")
def authority(directory: Path) -> Authority:
    def answer(request: bytes) -> bytes:
        (directory / "request.tsq").write_bytes(request)
        return openssl(
            "ts", "-reply", "-config", directory / "openssl.cnf", "-queryfile", directory / "request.tsq"
        )

    return answer


def test_a_stamp_of_this_note_by_this_authority(directory: Path, authority: Authority) -> None:
    note = published(leaves(3), [3]).note
    roots = (directory / "root.pem").read_bytes()
    done = stamp(note, authority)
    assert check(note, done.response, roots).time == done.time
    with pytest.raises(InvalidInput, match="of other bytes"):
        check(note + b"x", done.response, roots)
    with pytest.raises(InvalidInput, match="of other bytes"):
        stamp(note + b"x", lambda _: done.response)
    with pytest.raises(InvalidInput, match="answers another request"):
        stamp(note, lambda _: done.response)
    with pytest.raises(InvalidInput, match="not an RFC 3161 timestamp"):
        stamp(note, lambda _: b"hello")
    with pytest.raises(InvalidInput, match="not by an authority under these certificates"):
        check(note, done.response, b"no certificate")
    stranger = directory / "stranger.pem"
    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-x509", "-extensions", "root")
    config = ("-config", directory / "openssl.cnf", "-keyout", directory / "stranger.key", "-out", stranger)
    openssl("req", *new_key, *config)
    with pytest.raises(InvalidInput, match="not by an authority under these certificates"):
        check(note, done.response, stranger.read_bytes())


def test_a_refusal_is_told(authority: Authority) -> None:
    refused = bytes.fromhex("30053003020102")  # TimeStampResp: PKIStatus rejection, no token
    with pytest.raises((Fatal, InvalidInput)):
        stamp(b"note", lambda _: refused)


@pytest.fixture
def tsa(authority: Authority) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.headers["Content-Type"] == "application/timestamp-query"
            answer = authority(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
            """Say nothing."""

    with serving(HTTPServer(("127.0.0.1", 0), Handler)) as address:
        yield address


def test_from_the_command_line(
    directory: Path,
    tsa: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = runner(monkeypatch, capsys)
    write(published(leaves(3), [3]).files, tmp_path / "site")
    stamps = tmp_path / "stamps"
    done = run("ledger", "timestamp", 0, "--tsa", tsa, "--to", stamps, "--url", tmp_path / "site")
    assert (done.code, done.out.startswith("dev/ledger/0, 3 leaves: 20")) == (0, True), done
    note, response, roots = stamps / "0.3.checkpoint", stamps / "0.3.tsr", directory / "root.pem"
    checked = run("verify", "timestamp", note, response, "--roots", roots)
    assert (checked.code, "3 leaves: there at 20" in checked.out) == (0, True), checked
    # As anybody can, without us.
    openssl("ts", "-verify", "-data", note, "-in", response, "-CAfile", roots)
    note.write_bytes(note.read_bytes().replace(b"\n3\n", b"\n4\n", 1))
    assert run("verify", "timestamp", note, response, "--roots", roots).code == 1
    unreachable = run(
        "ledger", "timestamp", 0, "--tsa", "http://127.0.0.1:1", "--to", stamps, "--url", tmp_path / "site"
    )
    assert unreachable.code == 3
