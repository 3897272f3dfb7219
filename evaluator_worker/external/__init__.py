"""Asks third parties what they make of calls: a process of its own, so that nothing waits for them.

Reads `telemetry.evaluated`. What a third party says, or that it said nothing in time, is an event of the agent
and goes round through `telemetry.batches`, the evaluator and the ledger. It changes no verdict of ours.
"""
