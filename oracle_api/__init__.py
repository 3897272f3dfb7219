"""oracle_api: see README.md, "Reading the code"."""
