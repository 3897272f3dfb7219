"""Pactstream: continuous behavioural telemetry for AI agents."""

__version__ = "0.1.0"
