"""ClickHouse's HTTP interface in front of the same engine in this process (`chdb-core`); loopback only.

It speaks what clickhouse-connect and `curl` need, so that services run unchanged against a real server. It has
no users, no TLS and no limits: it is never production.
"""
