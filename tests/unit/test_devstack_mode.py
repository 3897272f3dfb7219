from __future__ import annotations

import pytest

from tests.stack import ClickHouseAddress, Mode, choose_mode, eventually, external_addresses


def unasked() -> bool:
    raise AssertionError("Docker was asked although the mode was given")


@pytest.mark.parametrize("mode", list(Mode))
def test_the_variable_decides(mode: Mode) -> None:
    assert choose_mode({"PACTSTREAM_TEST_STACK": mode.value}, unasked) is mode


def test_without_it_docker_decides() -> None:
    assert choose_mode({}, lambda: True) is Mode.CONTAINERS
    assert choose_mode({"PACTSTREAM_TEST_STACK": ""}, lambda: False) is Mode.EMBEDDED


def test_an_unknown_mode_is_an_error() -> None:
    with pytest.raises(ValueError, match="podman"):
        choose_mode({"PACTSTREAM_TEST_STACK": "podman"}, unasked)


def test_an_external_stack_is_taken_from_the_environment() -> None:
    needed = {"PACTSTREAM_KAFKA_BOOTSTRAP": "k:9092", "PACTSTREAM_CLICKHOUSE_HOST": "c"}
    addresses = external_addresses(needed)
    assert addresses.kafka_bootstrap == "k:9092"
    assert addresses.clickhouse == ClickHouseAddress("c", 8123, "default", "", "default")
    given = {"PORT": "9", "USER": "u", "PASSWORD": "p", "DATABASE": "d"}
    full = external_addresses(
        needed | {f"PACTSTREAM_CLICKHOUSE_{name}": value for name, value in given.items()}
    )
    assert full.clickhouse == ClickHouseAddress("c", 9, "u", "p", "d")


def test_eventually_returns_the_first_true_value_and_fails_at_the_deadline() -> None:
    values = iter((0, 0, 7, 8))
    assert eventually(lambda: next(values), interval=0) == 7
    with pytest.raises(AssertionError, match="still 0"):
        eventually(lambda: 0, timeout=0.01, interval=0)
