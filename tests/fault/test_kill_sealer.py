"""The sealing process is killed at each step of its transaction; an auditor who remembers checks the log."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pactstream.ledger.pins import PinBook
from pactstream.ledger.verification import Verification, source
from pactstream.settings import environment
from tests import dying_sealer
from tests.dying_publisher import DIED
from tests.dying_sealer import STEPS
from tests.forked import exit_code
from tests.oracle_process import variables
from tests.sealer_stack import Setup, build
from tests.sealer_tools import Evaluated
from tests.stack import ClickHouseAddress

FATES = [(step, fate) for step in STEPS for fate in ("lost", "persisted")]
LEAVES_A_ROUND = 15


@pytest.fixture
def setup(
    kafka_bootstrap: str, topic_prefix: str, clickhouse_database: ClickHouseAddress, tmp_path: Path
) -> Iterator[Setup]:
    with build(
        kafka_bootstrap,
        topic_prefix,
        clickhouse_database,
        tmp_path / "keys",
        key_dir=tmp_path / "keys",
        kafka_session_seconds=1,
    ) as made:
        yield made


def audit(setup: Setup, tmp_path: Path) -> int:
    """Verify all that readers of committed records see, against all that they saw before; the log's size."""
    directory = tmp_path / "published"
    setup.publish(directory)
    if not (directory / "ledger/0/checkpoint").exists():
        return 0
    results = Verification(str(directory), source(str(directory)), PinBook(tmp_path / "state")).run()
    assert [str(finding) for one in results for finding in one.findings] == []
    return sum(one.checkpoint.size for one in results if one.checkpoint)


def test_killed_at_each_step_it_never_forks_and_loses_nothing(setup: Setup, tmp_path: Path) -> None:
    batches = Evaluated()
    sizes = []
    for step, fate in FATES:
        setup.write(batches.batches(3))
        names = environment() | variables(setup.settings)
        assert exit_code(dying_sealer.main, step, fate, variables=names) == DIED, (step, fate)
        sizes.append(audit(setup, tmp_path))
    # Until a commit reached the broker nothing shows, and what it covered is sealed by the next holder.
    total = LEAVES_A_ROUND * len(FATES)
    assert sizes == [0] * (len(FATES) - 1) + [sizes[-1]]
    assert 0 < sizes[-1] <= total
    setup.seal(total)
    assert audit(setup, tmp_path) == total
