"""HTTPS of gateway and oracle: one process, its own certificate."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import urllib3

from pactstream import clock, server
from pactstream.devstack.security import certificate
from pactstream.errors import Fatal
from pactstream.settings import ServiceSettings

_SERVER = """
import logging, sys
from pathlib import Path
from fastapi import FastAPI
from pactstream import server
logging.basicConfig(level="INFO", stream=sys.stdout, format="%(message)s")
app = FastAPI()
app.get("/")(lambda: 1)
sys.exit(server.serve(app, "127.0.0.1", 0, tls=server.Tls(Path(sys.argv[1]), Path(sys.argv[1]))))
"""


@pytest.fixture
def chain(tmp_path: Path) -> Path:
    ca, chain = certificate(clock.now_micros())
    (tmp_path / "ca.pem").write_bytes(ca)
    (tmp_path / "chain.pem").write_bytes(chain)
    return tmp_path / "chain.pem"


def test_https_and_nothing_else(chain: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _SERVER, str(chain)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        env=dict(os.environ),
    ) as process:
        assert process.stdout is not None
        found = next(filter(None, (re.search(r"listening on (https://\S+)", line) for line in process.stdout)))
        with urllib3.PoolManager(ca_certs=str(chain.parent / "ca.pem"), retries=3) as pool:
            assert pool.request("GET", found[1]).data == b"1"
        with urllib3.PoolManager(retries=False) as pool, pytest.raises(urllib3.exceptions.SSLError):
            pool.request("GET", found[1])
        plain = found[1].replace("https", "http")
        with urllib3.PoolManager(retries=False) as pool, pytest.raises(urllib3.exceptions.ProtocolError):
            pool.request("GET", plain)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_a_certificate_that_cannot_be_used_stops_the_server(chain: Path, tmp_path: Path) -> None:
    with pytest.raises(Fatal, match=r"no TLS with .*missing\.pem .*: No such file"):
        server.Tls(tmp_path / "missing.pem", chain).check()
    with pytest.raises(Fatal, match=r"no TLS with .*ca\.pem .*chain\.pem"):
        server.Tls(chain.parent / "ca.pem", chain).check()


def test_half_of_it_is_a_mistake(chain: Path) -> None:
    assert server.tls_of(ServiceSettings()) is None
    assert server.tls_of(ServiceSettings(tls_certificate=chain, tls_key=chain)) == server.Tls(chain, chain)
    with pytest.raises(Fatal, match="go together"):
        server.tls_of(ServiceSettings(tls_key=chain))
