"""What any counterparty may ask: signed trust reports, public keys, checkpoints, and a live page."""
