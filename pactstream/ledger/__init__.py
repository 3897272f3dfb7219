"""The ledger's formats and proofs: leaves, tree, checkpoints, tiles, witnesses, their audit.

Pure, but for `files`, `pins`, `tile_store`, `witness_store` (a disk) and `verification`, `witness_client`,
`witness_http` (a network).
"""
