"""The gateway's certificate is verified, its name included; nothing is sent to anyone else."""

from __future__ import annotations

import ipaddress
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pactstream.sdk import TelemetryProblem
from tests.sdk_gateway import serving, wait_until


def certificate(folder: Path, address: str) -> tuple[ssl.SSLContext, str]:
    """A server's TLS context with a self-signed certificate for `address`, and the certificate's file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gateway of the tests")])
    now = datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / "certificate.pem", folder / "key.pem"
    certificate_file.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate_file, key_file)
    return context, str(certificate_file)


def test_a_trusted_certificate_is_fine(tmp_path: Path) -> None:
    context, authority = certificate(tmp_path, "127.0.0.1")
    with serving(tls=context) as gateway, gateway.telemetry(ca_certs=authority) as tel:
        receipt = tel.tool_call(tool="t")
        assert tel.flush(10)
        assert receipt.status == "accepted"


@pytest.mark.parametrize(("address", "trusted"), [("127.0.0.1", False), ("10.0.0.1", True)])
def test_a_stranger_learns_nothing(tmp_path: Path, address: str, trusted: bool) -> None:
    context, authority = certificate(tmp_path, address)
    problems: list[TelemetryProblem] = []
    options = {"ca_certs": authority} if trusted else {}
    with serving(tls=context) as gateway:
        tel = gateway.telemetry(on_error=problems.append, **options)
        tel.tool_call(tool="t")
        tel.flush(0)
        wait_until(lambda: tel.stats().retries > 0)
        assert not tel.close(0)
        assert gateway.requests == []
    assert "certificate verify failed" in str(problems[0])
