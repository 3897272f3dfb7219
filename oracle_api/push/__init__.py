"""Tells subscribers what changed: a process of its own, which listens to nobody and reads no request.

Two watches turn scores and standings into deliveries, exactly once each; the deliverer posts these, at least
once.
"""
