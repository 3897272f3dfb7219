"""ledger_sealer: see README.md, "Reading the code"."""
