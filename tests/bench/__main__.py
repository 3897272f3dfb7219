"""Every bench, one after the other, and a table of all figures at the end: `make bench`.

Each is a program of its own. One that fails is named at the end, and the exit code is 1. Those that compare
with peers in one process run in the peers' environment, `.venv-bench`.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from tests.bench.figures import MARK

PEERS_PYTHON: Final = ".venv-bench/bin/python"
IN_PEERS: Final = {"bench_anomaly", "bench_pacts"}
# Whatever else stands here under this name: helpers are not called bench_.
PROGRAMS: Final = "bench_*.py"
COLUMNS: Final = ("", "Pactstream", "peer", "ratio", "aim")


def main() -> int:
    """Run those that the arguments name, or all."""
    known = sorted(path.stem for path in Path(__file__).parent.glob(PROGRAMS))
    wanted = [name for name in known if not sys.argv[1:] or name.removeprefix("bench_") in sys.argv[1:]]
    rows: list[list[str]] = []
    failed = []
    for name in wanted:
        print(f"\n== {name}", flush=True)
        found, code = run(name)
        rows += found
        if code:
            failed.append(name)
    table = Table(*COLUMNS)
    for row in rows:
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


def run(name: str) -> tuple[list[list[str]], int]:
    """One program, its output shown as it comes; the rows for the table, and its exit code."""
    python = PEERS_PYTHON if name in IN_PEERS else sys.executable
    rows = []
    with subprocess.Popen([python, "-m", f"tests.bench.{name}"], stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            if line.startswith(MARK):
                rows.append(line.removeprefix(MARK).rstrip("\n").split(" | "))
    return rows, process.returncode


if __name__ == "__main__":
    sys.exit(main())
