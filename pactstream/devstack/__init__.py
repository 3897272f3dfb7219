"""A real Kafka broker and a real ClickHouse engine on this machine, with nothing of either installed.

For development, the demo and the tests: everything listens on 127.0.0.1 without passwords, and nothing here is
meant for production.
"""
