"""What scores are made of, for all who compute, serve or explain them; `docs/scores.md` explains each figure."""
