"""TCP ports of this machine's loopback interface."""

from __future__ import annotations

import errno
import socket

from pactstream.devstack.errors import PortInUse

LOOPBACK = "127.0.0.1"


def free_port() -> int:
    """A port that nothing listens on now, chosen by the operating system."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def claim_port(wanted: int | None, purpose: str) -> int:
    """The `wanted` port, or any free one for `None`; raises `PortInUse` if another program holds it."""
    if wanted is None:
        return free_port()
    with socket.socket() as probe:
        # As servers do, so that the last run's connections in TIME_WAIT do not count as "in use".
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, wanted))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            raise PortInUse(
                f"port {wanted} ({purpose}) is in use: stop the program that holds it, or choose another port"
            ) from error
    return wanted


def answers(port: int) -> bool:
    """Whether something on this machine accepts connections on `port`."""
    try:
        socket.create_connection((LOOPBACK, port), timeout=1).close()
    except OSError:
        return False
    return True
