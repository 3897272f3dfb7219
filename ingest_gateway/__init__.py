"""ingest_gateway: see README.md, "Reading the code"."""
