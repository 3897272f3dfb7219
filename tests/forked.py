"""Programs of the tests that end by their own hand, each in a process that has its modules from the start.

They are forked from one process that imports them once and has no threads (`multiprocessing`'s fork server).
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Mapping

_PROGRAMS = ["tests.dying_publisher", "tests.dying_sealer"]
_TIMEOUT_SECONDS = 60


def exit_code(main: Callable[..., None], *arguments: str, variables: Mapping[str, str]) -> int | None:
    """Run `main` in a process of its own under these variables; None if it does not end within a minute."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PROGRAMS)
    process = context.Process(target=_run, args=(main, arguments, dict(variables)))
    process.start()
    process.join(_TIMEOUT_SECONDS)
    ended = process.exitcode
    process.kill()
    process.join()
    process.close()
    return ended


def _run(main: Callable[..., None], arguments: tuple[str, ...], variables: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(variables)
    main(*arguments)
