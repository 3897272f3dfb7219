"""TCP ports of this machine's loopback interface."""

from __future__ import annotations

import atexit
import errno
import json
import secrets
import socket
from collections import deque
from collections.abc import Mapping
from pathlib import Path

from pactstream.devstack.errors import PortInUse

LOOPBACK = "127.0.0.1"
_FREE_PORTS = range(20_000, 32_000)
_MAX_RESERVED = 500
_reserved: deque[socket.socket] = deque()


def free_port() -> int:
    """A port that nothing listens on now.

    Taken below the range from which systems choose the near end of outgoing connections (Linux: 32768 and up),
    so that no client of ours sits on it before the server it is meant for does. While this process lives, no
    process that asks here gets it again, though its server may take long to start.
    """
    while True:
        port = _FREE_PORTS.start + secrets.randbelow(len(_FREE_PORTS))
        if _is_free(port) and _reserve(port):
            return port


def _reserve(port: int) -> bool:
    """Mark the port as given away, by UDP's port of that number, which nobody here needs; False if it is."""
    mark = socket.socket(type=socket.SOCK_DGRAM)
    try:
        mark.bind((LOOPBACK, port))
    except OSError as error:
        mark.close()
        if error.errno != errno.EADDRINUSE:
            raise
        return False
    _reserved.append(mark)
    if len(_reserved) > _MAX_RESERVED:
        _reserved.popleft().close()  # its server has started long ago
    return True


@atexit.register
def _release() -> None:
    while _reserved:
        _reserved.pop().close()


def check_free(wanted: Mapping[str, int]) -> None:
    """Raise `PortInUse` if another program holds one of these ports, named by their purposes."""
    for purpose, port in wanted.items():
        if not _is_free(port):
            raise PortInUse(
                f"port {port} ({purpose}) is in use: stop the program that holds it, or choose another port"
            )


def claim_ports(wanted: Mapping[str, int | None], memory: Path) -> dict[str, int]:
    """A port for each purpose: the wanted one; for `None` the one of the last start, or else any free one.

    The file `memory` remembers them, so that an address somebody noted stays good. Raises `PortInUse` if a
    wanted port belongs to another program.
    """
    check_free({purpose: port for purpose, port in wanted.items() if port is not None})
    remembered = json.loads(memory.read_text()) if memory.exists() else {}
    claimed = {}
    for purpose, port in wanted.items():
        last = remembered.get(purpose)
        claimed[purpose] = port or (last if last and _is_free(last) else free_port())
    draft = memory.with_suffix(".new")
    draft.write_text(json.dumps(claimed))
    draft.rename(memory)  # a crash before this leaves the old file, whole
    return claimed


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do, so that the last run's connections in TIME_WAIT do not count as "in use".
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            return False
    return True


def answers(port: int) -> bool:
    """Whether something on this machine accepts connections on `port`."""
    try:
        socket.create_connection((LOOPBACK, port), timeout=1).close()
    except OSError:
        return False
    return True
