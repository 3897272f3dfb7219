"""The command line as `python -m pactstream`."""

from __future__ import annotations

from pactstream.cli import main

main()
