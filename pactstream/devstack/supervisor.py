"""Starts programs, waits until they are ready, notices when one ends, and leaves none behind.

Each child runs in a process group of its own, so that Ctrl-C reaches only us and we stop the children in order.
Should this process be killed outright, the kernel kills the children (Linux, `guard.py`). On macOS there is no
such service: after SIGKILL of the parent, and only then, children live on.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from pactstream import clock
from pactstream.devstack import guard
from pactstream.devstack.errors import ChildFailed, NoSpace

_POLL_SECONDS = 0.02
_WATCH_SECONDS = 0.5
_LOG_TAIL_BYTES = 64 * 1024
_MAX_REASON = 300
# `java.net.BindException: Address already in use`, `Caused by: …`, `OSError: [Errno 98] …`, `Error: …`
_CAUSE = re.compile(r"^(Caused by: )?[\w.]*(Exception|Error): ")


@dataclass(frozen=True, slots=True)
class Program:
    """What to run: `argv`, variables added to our environment, and the file its output is appended to.

    `error_log` is read for the reason when it fails, if that is another file than `log_file`.
    """

    name: str
    argv: tuple[str, ...]
    log_file: Path
    env: Mapping[str, str] = field(default_factory=dict)
    error_log: Path | None = None


@dataclass(frozen=True, slots=True)
class Child:
    """A started program, and how long its logs were before."""

    program: Program
    process: subprocess.Popen[bytes]
    log_starts: Mapping[Path, int]

    @property
    def pid(self) -> int:
        """The program's own process id (the guard replaces itself by the program)."""
        return self.process.pid


class Supervisor:
    """The started children, in the order of their start; a context manager that stops them in reverse order."""

    def __init__(self, grace_seconds: float = 10.0) -> None:
        self._grace_seconds = grace_seconds
        self._children: dict[str, Child] = {}
        # Linux ties "die with the parent" to the parent *thread* that forked, so one thread that lives as long
        # as the supervisor forks every child.
        self._forker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="forker")

    def start(self, program: Program) -> Child:
        """Start `program` without waiting for it; a program of the same name must have been stopped."""
        if program.name in self._children:
            raise ValueError(f"{program.name} is already started")
        program.log_file.parent.mkdir(parents=True, exist_ok=True)
        child = self._forker.submit(_spawn, program).result()
        self._children[program.name] = child
        return child

    def wait_ready(self, child: Child, is_ready: Callable[[], bool], timeout_seconds: float = 60.0) -> None:
        """Wait until `is_ready()`; raises `ChildFailed` if the child ends first or the time is up."""
        deadline = clock.monotonic_seconds() + timeout_seconds
        while not is_ready():
            self._check(child)
            if clock.monotonic_seconds() > deadline:
                raise ChildFailed(
                    f"{child.program.name} was not ready after {timeout_seconds:.0f} s{_reason(child)}"
                )
            time.sleep(_POLL_SECONDS)

    def check(self) -> None:
        """Raise `ChildFailed` for the first child that ended without being stopped."""
        for child in tuple(self._children.values()):
            self._check(child)

    def watch(self) -> None:
        """Stay until Ctrl-C; raises `ChildFailed` as soon as a child ends by itself."""
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                self.check()
                time.sleep(_WATCH_SECONDS)

    def child(self, name: str) -> Child:
        """The running child called `name`."""
        return self._children[name]

    def stop(self, name: str, *, kill: bool = False) -> None:
        """Stop one child: SIGTERM, then SIGKILL after the grace; SIGKILL at once with `kill`."""
        _end(self._children.pop(name), 0 if kill else self._grace_seconds)

    def close(self) -> None:
        """Stop every child, the last started first."""
        for name in reversed(tuple(self._children)):
            self.stop(name)
        self._forker.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @staticmethod
    def _check(child: Child) -> None:
        code = child.process.poll()
        if code is None:
            return
        if any("No space left on device" in line for line in _log_lines(child)):
            raise NoSpace(f"{child.program.name} stopped because the disk is full: make room and start again")
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        raise ChildFailed(f"{child.program.name} {how}{_reason(child)}")


def _spawn(program: Program) -> Child:
    log_starts = {log: log.stat().st_size if log.exists() else 0 for log in _logs(program)}
    with program.log_file.open("ab") as log:
        process = subprocess.Popen(
            guard.command(program.argv),
            env={**os.environ, **program.env},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
    return Child(program, process, log_starts)


def _end(child: Child, grace_seconds: float) -> None:
    process = child.process
    if grace_seconds and process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace_seconds)
    if process.poll() is None:  # only then does the group's number still belong to it
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _reason(child: Child) -> str:
    """Why the child failed, in its own words if it left any, and where the rest is."""
    lines = _log_lines(child)
    causes = [line for line in lines if _CAUSE.search(line)] or [line for line in lines if "ERROR" in line]
    where = f" (log: {_logs(child.program)[0]})"
    return f": {causes[-1].strip().removeprefix('Caused by: ')[:_MAX_REASON]}{where}" if causes else where


def _logs(program: Program) -> list[Path]:
    return [log for log in (program.error_log, program.log_file) if log is not None]


def _log_lines(child: Child) -> list[str]:
    """The last lines of its logs, as far as this run wrote them."""
    text = ""
    for path, start in child.log_starts.items():
        with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
            size = path.stat().st_size
            file.seek(max(size - _LOG_TAIL_BYTES, start if start <= size else 0))  # shorter: it was rotated
            text += file.read().decode(errors="replace")
    return text.splitlines()


def python_program(
    name: str, module: str, *args: str, log_file: Path, env: Mapping[str, str] | None = None
) -> Program:
    """`python -m module args…` in this interpreter, its output unbuffered."""
    argv = (sys.executable, "-m", module, *args)
    return Program(name=name, argv=argv, log_file=log_file, env={"PYTHONUNBUFFERED": "1", **(env or {})})
