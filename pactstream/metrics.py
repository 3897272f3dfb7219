"""Makes the Prometheus metrics of every service, each from the closed list in `metric_list`.

Nothing outside of this module makes a metric, and nothing outside of this list exists: a test compares it with
what each process registers, both ways, and `docs/metrics.md` is made from it. Label values come from closed
sets. A tenant, an agent or anything else that a caller chooses never becomes one, so what is deployed bounds
the number of series.
"""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from pactstream.metric_list import METRICS


def counter(name: str) -> Counter:
    """The counter of that name, registered. Raises KeyError: it is not on the list."""
    one = METRICS[name]
    return Counter(one.name, one.meaning, one.labels)


def gauge(name: str) -> Gauge:
    """The gauge of that name, registered. Raises KeyError: it is not on the list."""
    one = METRICS[name]
    return Gauge(one.name, one.meaning, one.labels)


def histogram(name: str) -> Histogram:
    """The histogram of that name, registered. Raises KeyError: it is not on the list."""
    one = METRICS[name]
    return Histogram(one.name, one.meaning, one.labels, buckets=one.buckets)
