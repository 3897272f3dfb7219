"""The mirror as a process: killed while it mirrors, it goes on; with the oracle gone, it stands in for it."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from typer.testing import CliRunner

from pactstream.cli import verify
from pactstream.devstack.ports import free_port
from pactstream.trust import TrustClient
from tests.mirror_tools import mirror_process, mirrored, prepare
from tests.published_ledger import leaves, published
from tests.stack import eventually
from tests.trust_oracle import AGENT, ISSUER, TestOracle, serving

ENTRIES = leaves(900)
CUTS = (200, 400, 600, 700)


class Counted(dict[str, bytes]):
    """The oracle's files."""

    at = 0
    then: Callable[[], None] = staticmethod(lambda: None)

    def kill(self, process: subprocess.Popen[bytes], at: int) -> None:
        """Kill the process at the `at`-th file that it asks for from now on."""
        self.at, self.then = at, process.kill
        assert process.wait(30) == -signal.SIGKILL

    def get(self, path: str, default: object = None) -> bytes | None:  # type: ignore[override]
        self.at -= 1
        if self.at == 0:
            self.then()
        return super().get(path)


def test_killed_while_it_mirrors_it_goes_on_and_stands_in_for_the_oracle(tmp_path: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with serving(tmp_path) as oracle:
        oracle.files = files = Counted(oracle.files)
        oracle.show(published(ENTRIES[:600], CUTS))
        key = prepare(oracle, tmp_path)
        with mirror_process(oracle, tmp_path, port) as process:
            files.kill(process, 9)
        verified(tmp_path)
        with mirror_process(oracle, tmp_path, port) as process:
            mirrored(url, 600)
            oracle.show(published(ENTRIES, CUTS))
            files.kill(process, 5)
        verified(tmp_path)
        with mirror_process(oracle, tmp_path, port) as process:
            mirrored(url, 900)
            check_report(url, oracle)
            oracle.status = 503
            check_ledger(url, key, tmp_path)
            check_report(url, oracle)
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
    assert "Traceback" not in (tmp_path / "log.txt").read_text()


def verified(directory: Path) -> None:
    """Whatever the killed process left is whole: a new one would serve no less than a log that verifies."""
    ledger = directory / "mirror" / "ledger"
    if not (ledger / "0" / "checkpoint").exists():
        return
    (ledger / "keys").write_text((directory / "logs.txt").read_text())
    run(str(directory / "mirror"), directory)


def check_ledger(url: str, key: str, directory: Path) -> None:
    assert "900" in run(url, directory, "--witness", key)


def run(url: str, directory: Path, *options: str) -> str:
    words = ["ledger", "--url", url, "--state", str(directory / "seen"), *options]
    return CliRunner().invoke(verify.app, words, catch_exceptions=False).stdout


def check_report(url: str, oracle: TestOracle) -> None:
    def claims() -> dict[str, object]:
        with TrustClient(issuer=ISSUER, jwks=oracle.jwks, url=url) as client:
            return client.get(AGENT)

    assert eventually(claims)["agentId"] == str(AGENT)
