"""Drift of one agent in one tenant, found in `behaviour.windows`."""
