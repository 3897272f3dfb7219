"""Calls an agent's owners: a process of its own, because the evaluator's path pays for each event.

A watch turns critical verdicts into pages, exactly once each; a deliverer sends these where their tenant wants
them, at least once; a projector copies them to ClickHouse.
"""
