"""`pactstream demo` as a newcomer runs it: the promised figures, the addresses, Ctrl-C, nothing left behind."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from pactstream.devstack import ports
from pactstream.fetch import fetch
from tests.stack import eventually

START_SECONDS = 210  # the first run of all downloads Kafka


def demo(data_dir: Path, *arguments: str) -> list[str]:
    command = [sys.executable, "-c", "from pactstream.cli import main; main()", "demo"]
    return [*command, "--data-dir", str(data_dir), "--console-port", str(ports.free_port()), *arguments]


@pytest.mark.timeout(330)
def test_the_demo_shows_every_figure_and_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    gateway, oracle = ports.free_port(), ports.free_port()
    output = tmp_path / "output"
    with output.open("w") as written:
        process = subprocess.Popen(
            demo(tmp_path / "demo", "--gateway-port", str(gateway), "--oracle-port", str(oracle)),
            stdout=written,
            stderr=subprocess.STDOUT,
        )
        try:
            shown = eventually(lambda: _until_up(process, output), timeout=START_SECONDS, interval=0.2)
            children = psutil.Process(process.pid).children(recursive=True)
            assert len(children) >= 9
            assert re.search(r"what runs +ingest_gateway, .*evaluator_worker\.anomaly", shown)
            for url in (f"http://127.0.0.1:{oracle}/demo", f"http://127.0.0.1:{gateway}/docs"):
                assert url in shown
                assert b"<html" in fetch(url)
            link = re.search(r"and answer +(http://[^ ]+/console/pages/[0-9a-f-]{36})", shown)
            assert link
            assert b"Pactstream console" in fetch(link[1])
            assert re.search(r"log in with +pk_live_", shown)
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
        finally:
            process.kill()
            process.wait()
    assert [child for child in children if child.is_running()] == []
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
        assert figure in shown
    assert "✗" not in shown


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
    assert [child for child in children if child.is_running()] == []
