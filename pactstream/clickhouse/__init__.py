"""ClickHouse: the client, and the numbered migrations that make its tables."""
