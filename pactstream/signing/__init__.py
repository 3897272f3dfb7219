"""Signing keys, their public form, and signed trust reports."""
