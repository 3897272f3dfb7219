"""score_aggregator: see README.md, "Reading the code"."""
