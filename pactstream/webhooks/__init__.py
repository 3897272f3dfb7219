"""Webhooks as standardwebhooks.com describes them: signed, to public addresses only."""
