"""The ledger's formats and proofs: leaves, Merkle tree, checkpoints, segments, their audit. Pure: no I/O."""
