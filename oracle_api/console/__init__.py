"""The console: what a tenant's people see and do. A process of its own, `python -m oracle_api.console`.

It reads private values, of the tenant that is logged in and of nobody else. It changes nothing itself: changes
go to the gateway with the key of whoever asks.
"""
