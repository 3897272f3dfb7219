"""Logging of a service: one line an entry, on standard error, nothing secret."""

from __future__ import annotations

import logging
import sys
import time


def configure(service: str, level: str) -> None:
    """Log to standard error from `level` up: `2026-05-13T10:00:00Z INFO evaluator_worker: text`."""
    formatter = logging.Formatter(f"%(asctime)sZ %(levelname)s {service}: %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
