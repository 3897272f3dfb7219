"""`pactstream demo` as a newcomer runs it: the promised figures, the addresses, Ctrl-C, nothing left behind."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from pactstream import atlas
from pactstream.clickhouse.client import ClickHouse
from pactstream.devstack import ports
from pactstream.devstack.services import DEPLOYMENT
from pactstream.fetch import fetch
from pactstream.settings import ClickHouseSettings
from tests.cli_tools import runner
from tests.docs_commands import ROOT, Command
from tests.docs_run import Reader
from tests.processes import alive
from tests.stack import eventually
from tests.unit.test_docs_commands import CURLS, ELSEWHERE, MIRROR, OURS, understood

START_SECONDS = 210  # the first run of all downloads Kafka
FORGERY = """
INSERT INTO scores SELECT * REPLACE (now64(6) AS computed_at, 99.5 AS composite, 'platinum' AS tier)
FROM scores FINAL WHERE agent_id = {agent:UUID} AND NOT nightly ORDER BY computed_at DESC LIMIT 1
"""


def demo(data_dir: Path, *arguments: str) -> list[str]:
    command = [sys.executable, "-c", "from pactstream.cli import main; main()", "demo"]
    return [*command, "--data-dir", str(data_dir), "--console-port", str(ports.free_port()), *arguments]


@dataclass(frozen=True)
class Up:
    """A demo that is up, and what it printed."""

    process: subprocess.Popen[bytes]
    children: list[psutil.Process]
    shown: str
    gateway: int
    oracle: int


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """One for all that is looked at while it runs."""
    directory = tmp_path_factory.mktemp("demo")
    gateway, oracle = ports.free_port(), ports.free_port()
    output = directory / "output"
    with output.open("w") as written:
        process = subprocess.Popen(
            demo(directory / "data", "--gateway-port", str(gateway), "--oracle-port", str(oracle)),
            stdout=written,
            stderr=subprocess.STDOUT,
        )
        try:
            shown = eventually(lambda: _until_up(process, output), timeout=START_SECONDS, interval=0.2)
            children = psutil.Process(process.pid).children(recursive=True)
            yield Up(process, children, shown, gateway, oracle)
        finally:
            process.kill()
            process.wait()


@pytest.fixture
def reader(
    up: Up, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Reader:
    """Somebody who reads the documentation beside it."""
    monkeypatch.chdir(tmp_path)
    return Reader(up.shown, tmp_path, runner(monkeypatch, capsys), monkeypatch)


@pytest.mark.timeout(330)
def test_the_demo_shows_every_figure(up: Up) -> None:
    assert len(up.children) >= 7
    for url in (f"http://127.0.0.1:{up.oracle}/demo", f"http://127.0.0.1:{up.gateway}/docs"):
        assert url in up.shown
        assert b"<html" in fetch(url)
    link = re.search(r"and answer +(http://[^ ]+/console/pages/[0-9a-f-]{36})", up.shown)
    assert link
    assert b"Pactstream console" in fetch(link[1])
    assert re.search(r"log in with +pk_live_", up.shown)
    for figure in (
        "sessions",
        "tool calls",
        "96%",
        "critical",
        "destination (allowList)",
        "43 leaves verified",
        "3 delivered to the team",
        "breaks allowList",
    ):
        assert figure in up.shown
    assert "✗" not in up.shown


def test_the_agent_of_the_five_minute_start(up: Up, reader: Reader) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "start.md").read_text(), re.DOTALL)
    names = {"PACTSTREAM_API_KEY": reader.agent_key, "PACTSTREAM_URL": reader.gateway}
    ran = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | names, capture_output=True, text=True, check=True
    )
    sent, refused = ran.stdout.splitlines()
    assert sent.startswith("sent 250 USDC to 0xA11A")
    assert refused.startswith("refused: ")


@pytest.mark.timeout(330)
def test_every_command_of_the_documentation_runs(up: Up, reader: Reader) -> None:
    """Page by page, those first that the others build on; each once for each set of options."""
    reader.prepare()
    ordered = sorted(OURS, key=lambda command: (command.page != "docs/start.md", command.page != "docs/cli.md"))
    followed = [
        (one, path)
        for one in ordered
        if (path := understood(one.words)) not in ELSEWHERE and MIRROR not in one.words
    ]
    assert [wrong for one, path in followed if (wrong := reader.follow(one, path))] == []
    assert len(reader.done) > 40


def test_a_score_forged_in_clickhouse_is_named(up: Up, reader: Reader) -> None:
    """The oracle signs what stands there; whoever computes it again from the published leaves sees it."""
    again = ("verify", "agent", atlas.AGENT_ID, "--issuer", DEPLOYMENT)
    assert "computed again" in reader.run(*again).out
    with ClickHouse(ClickHouseSettings()) as database:
        database.command(FORGERY, {"agent": atlas.AGENT_ID})
    found = eventually(lambda: [ran] if (ran := reader.run(*again)).code else [], timeout=30)[0]
    assert found.code == 1
    assert "composite: the report says 99.5, the leaves come to" in found.err
    assert "tier: the report says platinum" in found.err


def test_every_curl_of_the_documentation_is_answered(up: Up, reader: Reader) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    assert [wrong for one in CURLS if (wrong := reader.curl(one))] == []
    assert (reader.folder / "logs.txt").read_bytes() == fetch(f"{reader.oracle}/ledger/keys")
    refused = Command("here", 1, 'curl -X PUT "$GATEWAY/api/v1/tenants/$TENANT" --json "{}"')
    assert '"UNAUTHENTICATED"' in reader.curl(refused)


def test_ctrl_c_leaves_nothing(up: Up) -> None:
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(60) == 0
    eventually(lambda: alive(up.children) == [], timeout=10)


def run(data_dir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = demo(data_dir, *arguments)
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def _until_up(process: subprocess.Popen[bytes], output: Path) -> str:
    text = output.read_text()
    if process.poll() is not None:
        raise AssertionError(f"the demo ended with {process.returncode}:\n{text}")
    return text if "Ctrl-C stops everything" in text else ""


def test_a_port_in_use_is_one_clear_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            demo(tmp_path, "--once", "--gateway-port", port),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 3
    (line,) = done.stderr.strip().splitlines()
    assert f"port {port}" in line
    assert "--gateway-port" in line


def test_a_directory_that_is_not_a_demos_is_left_alone(tmp_path: Path) -> None:
    precious = tmp_path / "thesis.txt"
    precious.write_text("years of work")
    ours = ("--gateway-port", str(ports.free_port()), "--oracle-port", str(ports.free_port()))
    done = run(tmp_path, "--once", *ours)
    assert done.returncode == 3
    assert "not a demo's" in done.stderr
    assert precious.read_text() == "years of work"


def test_ctrl_c_while_it_starts_ends_it(tmp_path: Path) -> None:
    """Before anything is up, as after: no waiting for the start to finish."""
    ours = ("--gateway-port", str(ports.free_port()), "--oracle-port", str(ports.free_port()))
    process = subprocess.Popen(demo(tmp_path / "demo", *ours), stderr=subprocess.PIPE, text=True)
    try:
        eventually(lambda: psutil.Process(process.pid).children(recursive=True), timeout=30)
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
        assert process.returncode == 130
        assert "Traceback" not in said
    finally:
        process.kill()
        process.wait()
    # A child that was being made as the signal came notices that its parent has gone.
    eventually(lambda: alive(children) == [], timeout=10)
