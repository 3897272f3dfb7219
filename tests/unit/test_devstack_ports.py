from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pactstream.devstack import ports
from pactstream.devstack.errors import PortInUse
from pactstream.devstack.ports import LOOPBACK, answers, claim_ports, free_port


def test_a_free_port_can_be_listened_on() -> None:
    port = free_port()
    assert not answers(port)
    with socket.create_server((LOOPBACK, port)):
        assert answers(port)


def test_a_port_that_was_given_away_is_reserved_until_its_process_ends() -> None:
    """Its server may not have started yet: others who ask are given another, here and in other processes."""
    port = free_port()
    assert not ports._reserve(port)
    script = "from pactstream.devstack import ports; port = ports.free_port(); print(port, ports._reserve({}))"
    done = subprocess.run(
        [sys.executable, "-c", script.format(port)], capture_output=True, text=True, check=True, timeout=60
    )
    other, reserved = done.stdout.split()
    assert reserved == "False"
    assert ports._reserve(int(other))


def test_a_wanted_port_is_given_or_refused(tmp_path: Path) -> None:
    port = free_port()
    assert claim_ports({"Kafka": port}, tmp_path / "ports.json") == {"Kafka": port}
    with (
        socket.create_server((LOOPBACK, port)),
        pytest.raises(PortInUse, match=rf"port {port} \(Kafka\) is in use: stop the program .* or choose"),
    ):
        claim_ports({"Kafka": port}, tmp_path / "ports.json")


def test_ports_are_kept_from_start_to_start_while_they_are_free(tmp_path: Path) -> None:
    wanted = {"Kafka": None, "ClickHouse": None}
    first = claim_ports(wanted, tmp_path / "ports.json")
    assert claim_ports(wanted, tmp_path / "ports.json") == first
    with socket.create_server((LOOPBACK, first["Kafka"])):
        second = claim_ports(wanted, tmp_path / "ports.json")
    assert second["Kafka"] != first["Kafka"]
    assert second["ClickHouse"] == first["ClickHouse"]
