"""What a metric of the closed list is: its kind, its unit, what its labels may say, who exports it."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from prometheus_client import Histogram

PROCESSES: Final = {
    "gateway": "ingest_gateway.__main__",
    "evaluator": "evaluator_worker.__main__",
    "sealer": "ledger_sealer.__main__",
    "aggregator": "score_aggregator.__main__",
    "oracle": "oracle_api.__main__",
    "push": "oracle_api.push.__main__",
    "paging": "evaluator_worker.paging.__main__",
    "behaviour": "evaluator_worker.behaviour.__main__",
    "anomaly": "evaluator_worker.anomaly.__main__",
    "external": "evaluator_worker.external.__main__",
    "console": "oracle_api.console.__main__",
    "otlp": "evaluator_worker.otlp.__main__",
    "sidecar": "pactstream.sidecar.__main__",
}
"""Each kind of process, and the module that starts it."""

LABELS: Final = {
    "answer": "What became of a pre-flight question: `told`, `held`, `refused`, `failed`.",
    "code": "Code of an error, as on the wire.",
    "group": "Consumer group, without the topic prefix.",
    "kind": "Kind of route that a page goes to; empty where it is gone.",
    "log": "Number of a ledger: a partition of `telemetry.evaluated`.",
    "method": "HTTP method; `other` for one that is none.",
    "outcome": "How it ended, of a fixed few that the meaning names.",
    "partition": "Number of a Kafka partition.",
    "reason": "Why a key was refused: `missing`, `unknown`, `scope` and the like.",
    "route": "Route as declared, ids unfilled; `none` where no route matched.",
    "status": "HTTP status.",
    "topic": "Kafka topic, without the prefix.",
    "type": "Type of an event.",
    "verdict": "`valid`, `unbound`, `none`, or the worst severity violated.",
}
"""What each label may say."""

Kind = Literal["counter", "gauge", "histogram"]


class Metric(NamedTuple):
    """One of the list; of a counter, `name` has the ending `_total` that Prometheus sees."""

    name: str
    kind: Kind
    unit: str
    meaning: str
    processes: tuple[str, ...]
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = Histogram.DEFAULT_BUCKETS


FAST: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Buckets, in seconds, of what takes milliseconds."""
