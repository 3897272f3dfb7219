"""evaluator_worker: see README.md, "Reading the code"."""
