"""Limits: each caller its own, whatever process it meets, and none by another's doing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from oracle_api import limits
from oracle_api.limits import Limiter
from pactstream import clock
from pactstream.errors import Fatal
from pactstream.web import Refused


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    time = [1_000.0]
    monkeypatch.setattr(clock, "monotonic_seconds", lambda: time[0])
    return iter([time])


@pytest.fixture
def time(now: Iterator[list[float]]) -> list[float]:
    return next(now)


@pytest.fixture(params=["alone", "shared"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return tmp_path / "limits" if request.param == "shared" else None


def passes(limiter: Limiter, key: str = "192.0.2.1", cost: int = 1) -> bool:
    try:
        limiter.check(key, cost)
    except Refused:
        return False
    return True


def test_a_caller_has_its_burst_and_then_its_rate(file: Path | None, time: list[float]) -> None:
    with closing(Limiter(60, 3, file)) as limiter:
        assert [passes(limiter) for _ in range(4)] == [True, True, True, False]
        assert passes(limiter, "192.0.2.2")
        time[0] += 0.99
        assert not passes(limiter)
        time[0] += 0.01
        assert [passes(limiter) for _ in range(2)] == [True, False]
        time[0] += 1_000
        assert [passes(limiter) for _ in range(4)] == [True, True, True, False]


def test_a_refusal_costs_nothing_and_says_when_to_return(file: Path | None, time: list[float]) -> None:
    with closing(Limiter(1, 3, file)) as limiter:
        limiter.check("a", 3)
        for _ in range(5):
            with pytest.raises(Refused) as refused:
                limiter.check("a")
        assert refused.value.status == 429
        assert refused.value.headers == {"Retry-After": "60", "X-RateLimit-Reset": "180"}
        assert not passes(limiter, "b", 4)
        assert passes(limiter, "b", 3)


def test_two_processes_count_together(tmp_path: Path) -> None:
    file = tmp_path / "limits"
    ask = (
        "import sys; from pathlib import Path; from oracle_api.limits import Limiter\n"
        "from pactstream.web import Refused\n"
        "limiter, passed = Limiter(1, 100, Path(sys.argv[1])), 0\n"
        "for _ in range(90):\n"
        "    try: limiter.check('192.0.2.1'); passed += 1\n"
        "    except Refused: pass\n"
        "print(passed)"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", ask, str(file)], stdout=subprocess.PIPE, text=True)
        for _ in "123"
    ]
    assert sum(int(one.communicate(timeout=60)[0]) for one in started) == 100


def test_the_counts_outlive_a_process_and_not_a_host(tmp_path: Path, time: list[float]) -> None:
    with closing(Limiter(1, 1, tmp_path / "limits")) as limiter:
        assert passes(limiter)
    with closing(Limiter(1, 1, tmp_path / "limits")) as limiter:
        assert not passes(limiter)
        time[0] = 5  # the host was started again, and with it the clock
        assert [passes(limiter), passes(limiter)] == [True, False]


def test_a_file_that_is_none_of_ours_is_made_anew_and_nobody_else_reads_it(tmp_path: Path) -> None:
    file = tmp_path / "limits"
    file.write_bytes(b"something else")
    with closing(Limiter(1, 1, file)) as limiter:
        assert [passes(limiter), passes(limiter)] == [True, False]
    fresh = tmp_path / "fresh"
    with closing(Limiter(1, 1, fresh)):
        assert fresh.stat().st_mode & 0o777 == 0o600
    with pytest.raises(Fatal, match="cannot be used"):
        Limiter(1, 1, tmp_path / "missing" / "limits")


def test_in_a_full_table_the_caller_that_loses_least_makes_room(
    file: Path | None, time: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "_BUCKETS", 1)
    with closing(Limiter(1, 2, file)) as limiter:
        limiter.check("heavy", 2)
        for number in range(50):
            limiter.check(f"light {number}")
        assert not passes(limiter, "heavy")
