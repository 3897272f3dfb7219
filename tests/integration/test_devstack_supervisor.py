"""The supervisor with small programs of known behaviour."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest

from pactstream.devstack.errors import ChildFailed, NoSpace
from pactstream.devstack.supervisor import Program, Supervisor
from tests.processes import alive
from tests.stack import eventually

SLEEPER = "import time; print('up', flush=True); time.sleep(600)"


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    with Supervisor(grace_seconds=0.5) as supervisor:
        yield supervisor


def script(tmp_path: Path, code: str, name: str = "worker") -> Program:
    return Program(name=name, argv=(sys.executable, "-c", code), log_file=tmp_path / "logs" / f"{name}.log")


def says(program: Program, text: str) -> bool:
    return program.log_file.exists() and text in program.log_file.read_text()


def test_a_child_gets_its_environment_and_keeps_its_pid(supervisor: Supervisor, tmp_path: Path) -> None:
    code = "import os, time; print(os.getpid(), os.environ['COLOUR'], flush=True); time.sleep(600)"
    bare = script(tmp_path, code)
    program = Program(bare.name, bare.argv, bare.log_file, env={"COLOUR": "green"})
    child = supervisor.start(program)
    supervisor.wait_ready(child, lambda: says(program, f"{child.pid} green"))
    with pytest.raises(ValueError, match="already started"):
        supervisor.start(program)
    supervisor.check()


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import sys; sys.exit(3)", r"^worker ended with exit code 3 \(log: .*worker.log\)$"),
        ("raise OSError('Address already in use')", "exit code 1: OSError: Address already in use"),
        ("print('ERROR broken'); print('bye'); exit(1)", "exit code 1: ERROR broken"),
        ("import os; os.kill(os.getpid(), 9)", "worker was killed by SIGKILL"),
    ],
)
def test_an_early_end_is_noticed_with_its_reason(
    supervisor: Supervisor, tmp_path: Path, code: str, message: str
) -> None:
    child = supervisor.start(script(tmp_path, code))
    with pytest.raises(ChildFailed, match=message):
        supervisor.wait_ready(child, lambda: False)
    with pytest.raises(ChildFailed, match=message):
        supervisor.check()


def test_a_full_disk_is_named(supervisor: Supervisor, tmp_path: Path) -> None:
    child = supervisor.start(script(tmp_path, "raise OSError(28, 'No space left on device')"))
    with pytest.raises(NoSpace, match="worker stopped because the disk is full"):
        supervisor.wait_ready(child, lambda: False)


def test_the_last_runs_log_is_not_this_runs_reason(supervisor: Supervisor, tmp_path: Path) -> None:
    program = script(tmp_path, "exit(1)")
    program.log_file.parent.mkdir()
    program.log_file.write_text("Error: of yesterday\n")
    with pytest.raises(ChildFailed, match=r"exit code 1 \(log"):
        supervisor.wait_ready(supervisor.start(program), lambda: False)


def test_a_program_that_cannot_run(supervisor: Supervisor, tmp_path: Path) -> None:
    program = Program("worker", (str(tmp_path / "missing"),), tmp_path / "log")
    with pytest.raises(ChildFailed, match=r"Error: cannot run .*missing: No such file"):
        supervisor.wait_ready(supervisor.start(program), lambda: False)


def test_readiness_has_a_deadline(supervisor: Supervisor, tmp_path: Path) -> None:
    child = supervisor.start(script(tmp_path, SLEEPER))
    with pytest.raises(ChildFailed, match="worker was not ready after 0 s"):
        supervisor.wait_ready(child, lambda: False, timeout_seconds=0.05)


def test_children_stop_in_reverse_order(tmp_path: Path) -> None:
    order = tmp_path / "order"
    code = (
        "import signal, sys, time\n"
        "def stop(*_):\n"
        "    open({path!r}, 'a').write({name!r}); sys.exit()\n"
        "signal.signal(signal.SIGTERM, stop); print('up', flush=True); time.sleep(600)"
    )
    with Supervisor() as supervisor:
        for name in "abc":
            program = script(tmp_path, code.format(path=str(order), name=name), name)
            supervisor.wait_ready(supervisor.start(program), partial(says, program, "up"))
    assert order.read_text() == "cba"


def test_who_ignores_sigterm_is_killed(supervisor: Supervisor, tmp_path: Path) -> None:
    program = script(tmp_path, f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEPER}")
    child = supervisor.start(program)
    supervisor.wait_ready(child, lambda: says(program, "up"))
    supervisor.stop("worker")
    assert child.process.returncode == -signal.SIGKILL


def test_a_stopped_child_can_be_started_again(supervisor: Supervisor, tmp_path: Path) -> None:
    program = script(tmp_path, SLEEPER)
    first = supervisor.start(program)
    supervisor.stop("worker", kill=True)
    assert first.process.returncode == -signal.SIGKILL
    supervisor.check()
    assert supervisor.start(program).pid != first.pid


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel service is Linux's")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_child_outlives_a_killed_parent(tmp_path: Path, number: signal.Signals) -> None:
    # The child is started in a thread that ends at once, which must not be taken for the parent's end.
    code = (
        "import sys, threading, time\n"
        "from pathlib import Path\n"
        "from pactstream.devstack.supervisor import Program, Supervisor\n"
        "supervisor = Supervisor()\n"
        f"program = Program('worker', (sys.executable, '-c', {SLEEPER!r}), Path(sys.argv[1]))\n"
        "thread = threading.Thread(target=lambda: print(supervisor.start(program).pid, flush=True))\n"
        "thread.start(); thread.join(); time.sleep(600)\n"
    )
    log = tmp_path / "worker.log"
    with subprocess.Popen((sys.executable, "-c", code, str(log)), stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        eventually(lambda: log.exists() and "up" in log.read_text())
        assert child.is_running()
        os.kill(parent.pid, number)
    eventually(lambda: not alive([child]))
