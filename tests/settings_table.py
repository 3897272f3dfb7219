"""Writes `docs/settings.md` from the settings classes: `python -m tests.settings_table`.

It stands with the tests because shared code may not import the services whose settings it shows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from evaluator_worker.anomaly.settings import AnomalySettings
from evaluator_worker.behaviour.settings import BehaviourSettings
from evaluator_worker.external.settings import ExternalSettings
from evaluator_worker.otlp.settings import OtlpSettings
from evaluator_worker.paging.settings import PagingSettings
from evaluator_worker.settings import EvaluatorSettings
from ingest_gateway.settings import GatewaySettings
from ledger_sealer.settings import SealerSettings
from oracle_api.console.settings import ConsoleSettings
from oracle_api.settings import OracleSettings
from pactstream.settings import (
    ClickHouseSettings,
    KafkaSettings,
    SchemaSettings,
    ServiceSettings,
    markdown_table,
)
from pactstream.sidecar.settings import SidecarSettings
from score_aggregator.settings import AggregatorSettings

PAGE: Final = Path(__file__).parents[1] / "docs" / "settings.md"

CLASSES: Final = (
    KafkaSettings,
    ClickHouseSettings,
    SchemaSettings,
    ServiceSettings,
    GatewaySettings,
    EvaluatorSettings,
    BehaviourSettings,
    AnomalySettings,
    SealerSettings,
    AggregatorSettings,
    OracleSettings,
    PagingSettings,
    ExternalSettings,
    OtlpSettings,
    ConsoleSettings,
    SidecarSettings,
)

_PREFACE: Final = """\
# Settings

Every environment variable that the services read. A variable that is empty counts as unset; one that does not
fit stops the service at its start, with a line that names the variable and never its value. This page is made
from the settings classes by `python -m tests.settings_table`, and a test checks that it is current.

"""

_ELSEWHERE: Final = (
    (
        "PACTSTREAM_KEY_EVALUATOR_ED25519",
        "Third-party evaluators: the key of functions in that process as PEM: [Extending](extending.md).",
    ),
    ("PACTSTREAM_KEY_LEDGER_ED25519", "Sealer: its signing key as PEM, in place of a file: [Keys](keys.md)."),
    ("PACTSTREAM_KEY_REPORT_ES256", "Oracle: a signing key as PEM, in place of a file; both or none."),
    ("PACTSTREAM_KEY_REPORT_ED25519", "Oracle: the other one."),
    ("PACTSTREAM_KEY_PAGING", "Gateway, paging: the paging key in base64, in place of the file `paging.key`."),
    ("PACTSTREAM_KEY_CONSOLE", "Console: what seals its sessions, 32 bytes in base64, in place of a file."),
    ("PACTSTREAM_ORACLE_URL", "Command line: default of `--url` where that is the oracle's."),
    ("PACTSTREAM_CACHE_DIR", "Development stack: where Kafka's jars are kept."),
    ("PACTSTREAM_MAVEN_REPOSITORY", "Development stack: where they come from, in place of Maven Central."),
    (
        "PACTSTREAM_TEST_STACK",
        "Tests: `embedded`, `containers` or `external`: [Contributing](../CONTRIBUTING.md).",
    ),
)


def page() -> str:
    """The page as it should be."""
    rows = "".join(f"| `{name}` | {meaning} |\n" for name, meaning in _ELSEWHERE)
    return f"{_PREFACE}{markdown_table(CLASSES)}\nRead elsewhere:\n\n| variable | meaning |\n|---|---|\n{rows}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
