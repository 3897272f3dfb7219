"""The command line as a whole: help, exit codes, and one clear line for whatever goes wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from pactstream.cli.app import app
from pactstream.devstack import ports
from pactstream.pacts import templates
from pactstream.settings import environment
from tests.cli_tools import Run, runner
from tests.stack import eventually

AGENT = "76cf31d6-ffe3-4a5c-8748-021114aa8066"
GUIDE = Path(__file__).parents[2] / "docs" / "cli.md"


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command by its words. Typer brings its own click, whose types are not for others."""
    for name, command in group.commands.items():
        if getattr(command, "invoke_without_command", False):
            yield (*path, name), command  # a group that is a command itself
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = dict(commands(typer.main.get_command(app)))


def run_without(modules: set[str], words: list[str], directory: Path) -> subprocess.CompletedProcess[str]:
    """Run the command line with a finder ahead of all others that knows of none of these packages."""
    program = (
        "import sys, importlib.abc\n"
        "class Absent(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.split('.')[0] in {modules!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "from pactstream.cli import main\n"
        "main()\n"
    )
    command = [sys.executable, "-c", program, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=directory, check=False)


@pytest.fixture
def pactstream(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    for name in set(os.environ) - set(environment()):
        monkeypatch.delenv(name)
    return runner(monkeypatch, capsys)


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_and_option_is_explained(pactstream: Run, path: tuple[str, ...]) -> None:
    code, _, err = pactstream(*path, "--help")
    assert (code, err) == (0, "")
    command = COMMANDS[path]
    summary = (command.help or "").split("\n\n")[0]
    assert summary.endswith("."), summary
    assert summary[0].isupper()
    options = [one for one in command.params if not str(one.name).endswith("port")]  # that says it all
    assert [one.name for one in options if not getattr(one, "help", None)] == []


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_is_in_the_guide(path: tuple[str, ...]) -> None:
    assert f"pactstream {' '.join(path)}" in GUIDE.read_text(encoding="utf-8")


def test_without_a_command_help_is_shown_and_an_unknown_one_is_not_understood(pactstream: Run) -> None:
    assert "dlq" in pactstream("--help").out
    assert pactstream("--version").out.startswith("pactstream 0.")
    assert pactstream("frobnicate").code == 2
    assert pactstream("dlq", "list", "--frobnicate").code == 2
    assert pactstream("keys", "rotate").code == 2


def test_an_agent_that_is_none_is_refused_before_anybody_is_asked(pactstream: Run) -> None:
    code, out, err = pactstream("trust", "get", "Atlas", "--url", "http://127.0.0.1:1")
    assert (code, out, err) == (3, "", "pactstream: 'Atlas' is not an agent id (UUID)\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ("trust", "get", AGENT, "--url", "http://127.0.0.1:1"),
        ("trust", "get", AGENT, "--verify", "--url", "http://127.0.0.1:1"),
        ("dlq", "list"),
        ("dlq", "show", "--all"),
        ("dlq", "replay", "--all"),
        ("dlq", "discard", "--at", "0:0"),
        ("topics", "apply", "--replication", "1"),
    ],
    ids=" ".join,
)
def test_a_server_that_does_not_answer_is_one_line(
    pactstream: Run, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pactstream.kafka import scan, topics

    monkeypatch.setattr(scan, "_TIMEOUT_SECONDS", 0.5)
    monkeypatch.setattr(topics, "_TIMEOUT_SECONDS", 0.5)
    monkeypatch.setenv("PACTSTREAM_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    code, out, err = pactstream(*arguments)
    assert (code, out, err.count("\n")) == (3, "", 1), err
    assert "does not answer" in err


def test_a_setting_that_does_not_fit_is_named_and_its_value_is_not(
    pactstream: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PACTSTREAM_KAFKA_SECURITY_PROTOCOL", "s3cret")
    code, _, err = pactstream("dlq", "list")
    assert code == 3
    assert err.startswith("pactstream: PACTSTREAM_KAFKA_SECURITY_PROTOCOL: ")
    assert "s3cret" not in err


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("confluent_kafka", ("dlq", "list")),
        ("confluent_kafka", ("topics", "apply")),
        ("confluent_kafka", ("pact", "replay", "PACT", "--agent", AGENT)),
        ("pydantic_settings", ("dlq", "replay", "--all")),
        ("clickhouse_connect", ("migrate",)),
    ],
    ids=str,
)
def test_the_base_install_says_what_to_install(tmp_path: Path, module: str, arguments: tuple[str, ...]) -> None:
    pact = tmp_path / "pact.json"
    pact.write_text(json.dumps(templates.load("treasury")))
    words = [str(pact) if word == "PACT" else word for word in arguments]
    ran = run_without({module}, words, tmp_path)
    assert (ran.returncode, ran.stdout) == (3, "")
    assert ran.stderr == f"pactstream: this command needs {module}: pip install 'pactstream[devstack]'\n"


def test_the_sidecar_needs_its_own_extra_and_neither_kafka_nor_clickhouse(tmp_path: Path) -> None:
    others = {"confluent_kafka", "clickhouse_connect", "fastavro", "aiohttp", "rocksdict"}
    ran = run_without(others, ["sidecar", "letters"], tmp_path)
    assert (ran.returncode, ran.stderr) == (
        3,
        "pactstream: there is no buffer in .pactstream/sidecar: give its directory with --dir\n",
    )
    ran = run_without(others | {"fastapi"}, ["sidecar"], tmp_path)
    assert ran.stderr == "pactstream: the sidecar needs fastapi: pip install 'pactstream[sidecar]'\n"


def test_what_works_offline_needs_the_base_install_only(tmp_path: Path) -> None:
    beyond = {"confluent_kafka", "clickhouse_connect", "fastapi", "fastavro", "prometheus_client", "uvicorn"}
    beyond |= {"pydantic_settings", "throttled"}
    (tmp_path / "e").write_text('{"tool": "get_balance", "params": {"account": "operations"}}')
    for words in (
        ["pact", "fork", "treasury", "--to", "p"],
        ["pact", "check", "p"],
        ["pact", "test", "p", "--events", "e"],
        ["pact", "diff", "p", "p"],
        ["keys", "new"],
    ):
        ran = run_without(beyond, words, tmp_path)
        assert (ran.returncode, ran.stderr) == (0, ""), words


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=str)
def test_a_signal_ends_a_command_without_a_traceback(tmp_path: Path, number: signal.Signals) -> None:
    """`atlas` against a gateway that is not there keeps trying until it is told to stop."""
    arguments = ["atlas", "--key", "pk_live_x", "--url", f"http://127.0.0.1:{ports.free_port()}", "--daily"]
    program = "import sys; from pactstream.cli import main; print('up', flush=True); main()"
    with subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "up\n"
        # The command catches SIGTERM from the moment it is about to work.
        eventually(lambda: _catches(process.pid, signal.SIGTERM), timeout=30)
        process.send_signal(number)
        code = process.wait(30)
        errors = process.stderr.read()
    assert code == 130, errors
    assert "Traceback" not in errors


def _catches(pid: int, number: signal.Signals) -> bool:
    """Whether the process has a handler for the signal by now (Linux)."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        pytest.skip("needs /proc")
    caught = next(line for line in status.read_text().splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)
