"""Programs that `make tools` builds from source, for tests that want the real ones."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path


def tool(name: str) -> str | None:
    """Where a program is: on the `PATH`, or beside this Python; None if it was not built."""
    return shutil.which(name) or shutil.which(Path(sys.executable).with_name(name))
