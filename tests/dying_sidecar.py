"""A sidecar that kills itself at one durable step: `tests.dying_sidecar STEP FATE`.

STEP: `kept`, a batch is written to disk; `sent`, the gateway has it; `settled`, it is deleted again. FATE:
`lost`, the step does not happen; `persisted`, it does, and nothing after it. The second time that it comes to
the step counts. Settings come from the environment.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from pactstream.sdk.transport import Transport
from pactstream.settings import load
from pactstream.sidecar import wiring
from pactstream.sidecar.settings import SidecarSettings
from pactstream.sidecar.store import Store

STEPS: dict[str, tuple[Any, str]] = {
    "kept": (Store, "put"),
    "sent": (Transport, "post"),
    "settled": (Store, "settle"),
}


def dying(function: Callable[..., Any], fate: str) -> Callable[..., Any]:
    calls = itertools.count(1)

    def run(*args: Any, **options: Any) -> Any:
        last = next(calls) == 2
        if last and fate == "lost":
            os.kill(os.getpid(), signal.SIGKILL)
        done = function(*args, **options)
        if last:
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    return run


def main() -> None:
    """Run until the step is reached; without arguments, for ever."""
    if len(sys.argv) > 1:
        where, name = STEPS[sys.argv[1]]
        setattr(where, name, dying(getattr(where, name), sys.argv[2]))
    sys.exit(wiring.run(load(SidecarSettings)))


if __name__ == "__main__":
    main()
