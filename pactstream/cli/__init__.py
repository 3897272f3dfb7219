"""The `pactstream` command.

Exit codes: 0 all is well; 1 what was checked is not in order (a signature, a ledger, a figure); 2 the command
was not understood; 3 it could not be carried out (the line says why and what to do); 130 interrupted.
"""

from pactstream.cli.app import main

__all__ = ["main"]
