"""Writes `docs/metrics.md` from the list of metrics: `python -m tests.metrics_page`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pactstream.metric_kinds import LABELS, PROCESSES
from pactstream.metric_list import METRICS, markdown_table

PAGE: Final = Path(__file__).parents[1] / "docs" / "metrics.md"

_PREFACE: Final = """\
# Metrics

Every Prometheus metric of every process, and there are no others: each is made from one list,
`pactstream/metric_list.py`, from which `python -m tests.metrics_page` also makes this page. Tests compare the
list with what each process registers, and this page with the list. Beside these, each process exports what the
Prometheus client measures by itself (`process_*`, `python_*`).

Where: gateway and oracle on a port of their own (`PACTSTREAM_GATEWAY_METRICS_PORT`,
`PACTSTREAM_ORACLE_METRICS_PORT`), the workers at `/metrics` of the port that answers `/readyz`. No label holds
a tenant, an agent, or anything else that a caller chooses, so what is deployed bounds the number of series.

Counting costs the hot paths nothing that shows. Loops count once a batch or a transaction; lag is taken from
the Kafka client's own statistics, every ten seconds; sizes are looked at when Prometheus asks.

Traces are another thing, off by default: with `PACTSTREAM_TRACING_ENABLED=1` and the extra `tracing`, each
request and each transaction is an OpenTelemetry span, sent where `OTEL_EXPORTER_OTLP_ENDPOINT` says. Records
carry `traceparent`; a transaction links to the first hundred contexts that its records brought.

"""


def page() -> str:
    """The page as it should be."""
    labels = "".join(f"| `{name}` | {meaning} |\n" for name, meaning in sorted(LABELS.items()))
    started = "".join(
        f"| {name} | `python -m {module.removesuffix('.__main__')}` |\n" for name, module in PROCESSES.items()
    )
    return (
        f"{_PREFACE}## Metrics\n\n{markdown_table(METRICS.values())}"
        f"\n## Labels\n\n| label | values |\n|---|---|\n{labels}"
        f"\n## Processes\n\n| process | started by |\n|---|---|\n{started}"
    )


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
