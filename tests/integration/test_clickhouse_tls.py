"""ClickHouse behind TLS: who it is is checked, and what is wrong with it is said in one line."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from threading import Thread

import pytest

from pactstream import clock
from pactstream.clickhouse.client import ClickHouse
from pactstream.devstack import ports
from pactstream.devstack.security import certificate
from pactstream.errors import Fatal
from pactstream.settings import ClickHouseSettings, environment
from tests.stack import StackAddresses

DAY_MICROS = 86_400 * clock.MICROS_PER_SECOND


def authority(directory: Path, days_ago: int = 0) -> tuple[Path, Path]:
    """A CA's certificate and, signed by it, a server's with its key."""
    ca, chain = certificate(clock.now_micros() - days_ago * DAY_MICROS)
    (directory / f"ca-{days_ago}.pem").write_bytes(ca)
    (directory / f"chain-{days_ago}.pem").write_bytes(chain)
    return directory / f"ca-{days_ago}.pem", directory / f"chain-{days_ago}.pem"


@contextmanager
def front(stack: StackAddresses, chain: Path) -> Iterator[int]:
    """A port that speaks TLS and passes on what it hears to ClickHouse, one connection after another."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    listener = socket.create_server((ports.LOOPBACK, 0))
    threads = [Thread(target=accept, args=(listener, context, stack), daemon=True)]
    threads[0].start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        threads[0].join()


def accept(listener: socket.socket, context: ssl.SSLContext, stack: StackAddresses) -> None:
    with suppress(OSError):
        while True:
            plain, _ = listener.accept()
            # A handshake that fails is the client's affair.
            with suppress(OSError), closing(context.wrap_socket(plain, server_side=True)) as client:
                relay(client, stack)


def relay(client: ssl.SSLSocket, stack: StackAddresses) -> None:
    with socket.create_connection((stack.clickhouse.host, stack.clickhouse.port)) as server:
        back = Thread(target=copy, args=(server, client), daemon=True)
        back.start()
        copy(client, server)
        server.shutdown(socket.SHUT_WR)
        back.join()


def copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)


def settings(stack: StackAddresses, port: int, ca: Path | None, *, secure: bool = True) -> ClickHouseSettings:
    return ClickHouseSettings(
        clickhouse_host=ports.LOOPBACK,
        clickhouse_port=port,
        clickhouse_user=stack.clickhouse.user,
        clickhouse_password=stack.clickhouse.password,
        clickhouse_database=stack.clickhouse.database,
        clickhouse_secure=secure,
        clickhouse_ca=ca,
    )


def test_a_server_of_the_right_authority_is_believed(stack: StackAddresses, tmp_path: Path) -> None:
    ca, chain = authority(tmp_path)
    with front(stack, chain) as port, ClickHouse(settings(stack, port, ca)) as database:
        database.check()
        assert database.rows("SELECT 1 + 1") == [(2,)]


def test_what_is_wrong_with_a_certificate_is_one_clear_error(stack: StackAddresses, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    _, chain = authority(tmp_path)
    other, _ = authority(tmp_path / "other")
    old_ca, old_chain = authority(tmp_path, days_ago=40)
    for authority_of, served, says in (
        (other, chain, "certificate verify failed: .*(signature|issuer|self-signed)"),
        (None, chain, "certificate verify failed: .*(issuer|self-signed)"),
        (old_ca, old_chain, "certificate verify failed: certificate has expired"),
    ):
        with front(stack, served) as port, ClickHouse(settings(stack, port, authority_of)) as database:
            with pytest.raises(Fatal, match=f"^no trusted connection to ClickHouse: {says}") as told:
                database.check()
            assert "\n" not in str(told.value)


def test_a_server_without_tls_is_one_clear_error(stack: StackAddresses, tmp_path: Path) -> None:
    with (
        ClickHouse(settings(stack, stack.clickhouse.port, authority(tmp_path)[0])) as database,
        pytest.raises(Fatal, match="does not speak TLS: check PACTSTREAM_CLICKHOUSE_SECURE"),
    ):
        database.check()


def test_one_that_does_not_answer_is_waited_for(stack: StackAddresses) -> None:
    with ClickHouse(settings(stack, ports.free_port(), None, secure=False)) as database:
        database.check()


def test_a_service_stops_with_that_line(stack: StackAddresses, tmp_path: Path, topic_prefix: str) -> None:
    _, chain = authority(tmp_path)
    with front(stack, chain) as port:
        done = subprocess.run(
            [sys.executable, "-m", "oracle_api"],
            env=environment()
            | {
                "PACTSTREAM_KAFKA_BOOTSTRAP": stack.kafka_bootstrap,
                "PACTSTREAM_KAFKA_TOPIC_PREFIX": topic_prefix,
                "PACTSTREAM_CLICKHOUSE_PORT": str(port),
                "PACTSTREAM_CLICKHOUSE_SECURE": "true",
                "PACTSTREAM_ORACLE_PORT": str(ports.free_port()),
                "PACTSTREAM_ORACLE_METRICS_PORT": "0",
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 3
    (line,) = [one for one in done.stderr.splitlines() if one.startswith("oracle_api: ")]
    assert "no trusted connection to ClickHouse: certificate verify failed" in line
