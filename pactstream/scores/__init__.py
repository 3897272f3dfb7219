"""What scores are made of, for all who compute, serve or explain them; see `docs/scores.md`."""
