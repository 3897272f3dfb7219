"""Hypothesis without a time limit for each example: on a busy machine it would fail tests that are right."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("pactstream", deadline=None)
settings.load_profile("pactstream")
