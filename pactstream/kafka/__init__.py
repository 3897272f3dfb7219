"""Kafka: client settings, topics, the transactional loop, compacted topics as tables."""
