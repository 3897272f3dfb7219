"""Commands in the documentation: understood by the command line as it is, and run by a test that is named here.

Those of `pactstream` and of curl are run by `tests/integration/test_demo.py` on a pipeline. What is not run
there stands here, and nowhere else: `ELSEWHERE` and `PROGRAMS` say why, and what is checked in its place.
"""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest
import typer.main

from pactstream.cli.app import app
from tests.docs_commands import PAGES, ROOT, Command, commands

ELSEWHERE: Final = {
    # They go on for ever.
    "atlas": ("tests/console_stack.py", "atlas.run("),
    "dev": ("tests/integration/test_devstack_stack.py", "Stack("),
    "mcp": ("tests/unit/test_integration_mcp.py", "mcp"),
    "mirror serve": ("tests/fault/test_mirror_process.py", "mirror"),
    "sidecar": ("tests/fault/test_kill_sidecar.py", "sidecar"),
    "witness serve": ("tests/witness_process.py", "serve"),
    # They need what the demo has not: letters, an authority, a secured broker; or end what others still need.
    "demo": ("tests/integration/test_demo.py", "--once"),
    "ledger timestamp": ("tests/unit/test_timestamps.py", '"ledger", "timestamp"'),
    "sidecar discard": ("tests/unit/test_sidecar.py", '"sidecar", "discard"'),
    "sidecar letters": ("tests/unit/test_sidecar.py", '"sidecar", "letters"'),
    "sidecar retry": ("tests/unit/test_sidecar.py", '"sidecar", "retry"'),
    "topics grant": ("tests/integration/test_secured.py", '"topics", "grant"'),
    "topics grow": ("tests/integration/test_growing.py", '"topics", "grow"'),
    "verify sent": ("tests/unit/test_verify_sent.py", '"verify", "sent"'),
    "verify timestamp": ("tests/unit/test_timestamps.py", '"verify", "timestamp"'),
}
"""Commands that no test runs on the demo: the test that runs them, or what they start, and where it does."""

MIRROR: Final = "$MIRROR_KEY"
"""What stands in commands against a mirror: tests/unit/test_mirror_log.py has one."""

PLACEHOLDERS: Final = {"AGENT", "$AGENT", "EVENT", "PAGE", "ROUTE", "TENANT"}
SOME_ID: Final = "0190d0a0-0000-7000-8000-000000000001"

PROGRAMS: Final = {
    ".": "activates an environment: a shell's own",
    "clickhouse-client": "tests/integration/test_backup.py gives its statements to the engine",
    "docker": "no Docker engine here: tests/contract/test_deploy_page.py has its client read them",
    "helm": "no cluster here: tests/contract/test_deploy_page.py renders what would be installed",
    "kafka-acls.sh": "tests/integration/test_secured.py writes such lists",
    "kafka-avro-console-consumer": "Confluent's: not in the Kafka that is here",
    "kafka-configs.sh": "tests/integration/test_secured.py makes its users with the same tool",
    "kafka-console-consumer.sh": "tests/integration/test_consumers.py runs it",
    "kubectl": "no cluster here: tests/contract/test_deploy_page.py compares secrets with the chart's",
    "npm": "tests/contract/test_typescript_guide.py runs that page on what it would install",
    "openssl": "tests/unit/test_timestamps.py runs it where it is installed",
    "pip": "tests/contract/test_base_install.py checks what the extras are for, and a test below their names",
    "tar": "tests/integration/test_backup.py runs it",
    "tail": "tests/integration/test_consumers.py decodes the same record",
}
"""Programs that are not ours: why they are not run, and what is checked of them instead."""

ROOT_COMMAND: Final[Any] = typer.main.get_command(app)
COMMANDS: Final = tuple(commands())
OURS: Final = tuple(one for one in COMMANDS if one.words[:1] == ("pactstream",))
CURLS: Final = tuple(one for one in COMMANDS if re.search(r"\bcurl ", one.text))


def understood(words: tuple[str, ...]) -> str:
    """The command's path, after Typer has taken every argument and option of it, as it would to run it."""
    command = ROOT_COMMAND
    path, rest = [], [SOME_ID if word in PLACEHOLDERS else word for word in words[1:]]
    while rest and rest[0] in getattr(command, "commands", {}):
        path.append(rest.pop(0))
        command = command.commands[path[-1]]
    if rest and not rest[0].startswith("-") and hasattr(command, "commands"):
        raise typer.BadParameter(f"there is no {' '.join(path)} {rest[0]}")
    try:
        command.make_context(" ".join(path), rest)
    except typer.BadParameter as error:
        # Files are there when it is run.
        if "does not exist" not in error.message:
            raise
    return " ".join(path)


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a person has in the environment."""
    monkeypatch.setenv("PACTSTREAM_API_KEY", "pk_live_x_y")


@pytest.mark.parametrize("command", OURS, ids=str)
def test_the_command_line_understands_it(command: Command) -> None:
    assert "…" not in command.text or command.variables
    assert understood(command.words)


def test_a_renamed_option_is_noticed() -> None:
    """That the tests above can fail."""
    assert understood(("pactstream", "trust", "get", "AGENT", "--verify")) == "trust get"
    for wrong in ("trust get AGENT --verified", "trust get", "trust git AGENT", "pages show PAGE ANOTHER"):
        with pytest.raises(typer.TyperException):
            understood(("pactstream", *wrong.split()))


def test_what_is_not_run_on_the_demo_has_its_test() -> None:
    shown = {understood(one.words) for one in OURS}
    assert set(ELSEWHERE) <= shown
    for path, (test, there) in ELSEWHERE.items():
        assert there in (ROOT / test).read_text(encoding="utf-8"), (path, test)


def test_other_programs_are_known_and_name_what_is_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    unknown = []
    for command in COMMANDS:
        match command.words:
            case ("pactstream", *_) | ():
                continue
            case ("make", target, *_):
                assert target in targets, command
            case ("python" | ".venv/bin/python", "-m", module, *_):
                assert importlib.util.find_spec(module), command
            case ("curl", *_):
                assert command in CURLS  # run by test_demo.py
            case (python, "agent.py" | "-c", *_) if Path(python).name == "python":
                continue  # run by test_demo.py, and below
            case (program, *words):
                unknown += [] if program.rpartition("/")[2] in PROGRAMS else [str(command)]
                for word in words:
                    if word.removeprefix("./").startswith(("deploy/", "tests/", "docs/", "sdk/")):
                        assert (ROOT / word).exists(), command
    assert unknown == []
    assert len(CURLS) > 5


def test_extras_that_pages_install_are_there() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = {
        extra
        for command in COMMANDS
        if command.words[:2] == ("pip", "install")
        for extras in re.findall(r"pactstream\[(.+)\]", command.text)
        for extra in extras.split(",")
    }
    assert {"mcp", "sidecar"} <= named <= project["optional-dependencies"].keys()


def test_what_is_checked_in_place_of_other_programs_is_there() -> None:
    for program, reason in PROGRAMS.items():
        for named in re.findall(r"tests/[\w/]+\.py", reason):
            assert (ROOT / named).exists(), program
    shown = {one.words[0].rpartition("/")[2] for one in COMMANDS if one.words}
    assert set(PROGRAMS) <= shown


def test_the_fingerprint_of_a_schema_is_printed_as_contributing_says() -> None:
    (command,) = [one for one in COMMANDS if one.words[:2] == (".venv/bin/python", "-c")]
    entry = json.loads((ROOT / "schemas" / "registry.json").read_text(encoding="utf-8"))[0]
    program = command.words[2]
    ran = subprocess.run(
        [sys.executable, "-c", program, str(ROOT / "schemas" / entry["file"])], capture_output=True, check=True
    )
    assert ran.stdout.decode().strip() == entry["fingerprint"]


def test_tests_and_files_that_pages_name_are_there() -> None:
    """`tests/unit/test_x.py`, or in short `test_x.py`."""
    known = {path.name for path in (ROOT / "tests").rglob("test_*.py")}
    missing = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for named in re.findall(r"`((?:tests/[\w/]+/)?test_\w+\.py)`", text):
            there = (ROOT / named).exists() if "/" in named else named in known
            missing += [] if there else [(page.name, named)]
    assert missing == []
