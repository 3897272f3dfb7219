"""Starts the sidecar from its settings alone: `python -m pactstream.sidecar`, as `pactstream sidecar` does."""

from __future__ import annotations

import sys

from pactstream import logs, settings, worker
from pactstream.errors import PactstreamError
from pactstream.sidecar import wiring
from pactstream.sidecar.settings import SidecarSettings


def main() -> int:
    """Run until SIGTERM; 0 after a clean stop, 3 when it cannot go on."""
    logs.configure("sidecar", "INFO")
    try:
        return wiring.run(settings.load(SidecarSettings))
    except PactstreamError as error:
        sys.stderr.write(f"sidecar: {error}\n")
        return worker.EXIT_FATAL


if __name__ == "__main__":
    sys.exit(main())
