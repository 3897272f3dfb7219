"""A mirror of somebody else's oracle: ledger and reports, served again, so that the oracle may be away."""
