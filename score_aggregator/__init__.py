"""Keeps each agent's score current with its ledger: counts, dimensions, composite, confidence."""
