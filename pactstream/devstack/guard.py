"""Becomes another program that the kernel kills when our parent dies; run as a script, so it imports little.

`subprocess`'s `preexec_fn` would do the same without a second interpreter start (10 ms), but is not safe in a
process with threads.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # prctl(2)


def command(argv: tuple[str, ...]) -> list[str]:
    """The command line that runs `argv` under the guard, as a child of this process."""
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *argv]


def _main() -> None:
    parent, argv = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        # SIGKILL, not SIGTERM: it cannot be ignored, and everything we run must survive it anyway.
        if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
            sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
        if os.getppid() != parent:  # it died before the call above, so no signal will come
            sys.exit("the parent is gone")
    try:
        os.execvp(argv[0], argv)  # noqa: S606
    except OSError as error:
        sys.exit(f"Error: cannot run {argv[0]}: {error.strerror}")


if __name__ == "__main__":
    _main()
