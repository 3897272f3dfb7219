"""A journal of what a gateway acknowledged, kept by whoever sent it, and its comparison with the ledger."""
