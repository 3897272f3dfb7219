"""Connections to agent frameworks, one module each, on the SDK's public interface: `docs/frameworks.md`.

Each module imports its framework, which comes with the extra of the same name; this package imports none.
"""
