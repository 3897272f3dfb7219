"""A bare transactional loop on confluent-kafka: what somebody would write by hand for exactly-once.

    python -m tests.bench.worker_bare BOOTSTRAP PREFIX GROUP MODE BATCH

No state, no dead letters, no rebalance. MODE is `plain` or
`leaves`. Transactions close as the evaluator's do by default: after 2,000 events, or
when nothing more is there.
"""

from __future__ import annotations

import sys

from confluent_kafka import Consumer, Producer

from pactstream.kafka import config, topics
from tests.bench.worker_job import job
from tests.kafka_tools import service_settings

MAX_EVENTS = 2_000
RECORDS_A_POLL = 100


def main() -> None:
    """Run until killed."""
    bootstrap, prefix, group, mode, batch = sys.argv[1:6]
    settings = service_settings(bootstrap, prefix)
    run = job(leaves=mode == "leaves")
    producer = Producer(config.transactional_producer(settings, group))
    consumer = Consumer(config.consumer(settings, group))
    consumer.subscribe([topics.name(settings, topics.BATCHES)])
    out = topics.name(settings, topics.EVALUATED)
    producer.init_transactions()
    records = MAX_EVENTS // int(batch)
    while True:
        message = consumer.poll(0.25)
        if message is None:
            continue
        producer.begin_transaction()
        messages, taken = [message], 0
        while messages:
            for one in messages:
                value = one.value()
                if one.error() is None and value is not None:
                    producer.produce(out, run(value), one.key(), one.partition() or 0)
            producer.poll(0)
            taken += len(messages)
            left = records - taken
            messages = consumer.consume(min(left, RECORDS_A_POLL), 0) if left > 0 else []
        positions = consumer.position(consumer.assignment())
        producer.send_offsets_to_transaction(positions, consumer.consumer_group_metadata())
        producer.commit_transaction()


if __name__ == "__main__":
    main()
