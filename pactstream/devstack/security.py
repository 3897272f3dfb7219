"""A broker that trusts nobody: TLS, SCRAM passwords and access control lists, to try a secured deployment on.

Certificates and passwords are made once for a data directory, which only its user may read. They are for this
machine: the authority's key is thrown away after it has signed one certificate.
"""

from __future__ import annotations

import ipaddress
import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pactstream import clock
from pactstream.devstack import ports
from pactstream.settings import PREFIX
from pactstream.signing.keys import store_private

BROKER: Final = "broker"
OPERATOR: Final = "operator"
MECHANISM: Final = "SCRAM-SHA-512"

_CA = "ca.pem"
_CERTIFICATE = "broker.pem"
_USERS = "users.json"
_DAYS = 30

# The controller's listener is plain and its caller nobody: the broker's own link to itself, on loopback.
_SERVER: Final = """\
listeners=SASL_SSL://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=SASL_SSL://{host}:{port}
listener.security.protocol.map=SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT
inter.broker.listener.name=SASL_SSL
sasl.enabled.mechanisms={mechanism}
sasl.mechanism.inter.broker.protocol={mechanism}
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required username="{user}" password="{password}";
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:{user};User:{operator};User:ANONYMOUS
ssl.keystore.type=PEM
ssl.keystore.location={certificate}
ssl.truststore.type=PEM
ssl.truststore.location={ca}
"""


@dataclass(frozen=True, slots=True)
class Security:
    """The files of one secured broker, and its users' passwords by name."""

    directory: Path
    passwords: Mapping[str, str] = field(repr=False)

    @classmethod
    def prepare(cls, directory: Path, users: Iterable[str]) -> Self:
        """What is in `directory`, made if it is not there; `users` count when it is made.

        Raises:
            SigningKeyError: it cannot be stored, or others can read it.
        """
        file = directory / _USERS
        if not file.exists():
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            names = (BROKER, OPERATOR, *users)
            passwords = {name: secrets.token_urlsafe(24) for name in names}
            ca, chain = certificate(clock.now_micros())
            store_private(directory / _CERTIFICATE, chain, overwrite=True)
            store_private(directory / _CA, ca, overwrite=True)
            # Last: a crash before leaves files that are made again, together.
            store_private(file, json.dumps(passwords).encode(), overwrite=True)
        return cls(directory, json.loads(file.read_bytes()))

    @property
    def ca(self) -> Path:
        """The certificate that clients believe."""
        return self.directory / _CA

    def server_properties(self, port: int, controller_port: int) -> str:
        """Kafka's own settings, in place of those of plain listeners."""
        return _SERVER.format(
            host=ports.LOOPBACK,
            port=port,
            controller_port=controller_port,
            mechanism=MECHANISM,
            user=BROKER,
            password=self.passwords[BROKER],
            operator=OPERATOR,
            certificate=self.directory / _CERTIFICATE,
            ca=self.ca,
        )

    def format_arguments(self) -> list[str]:
        """What has Kafka's storage tool know the users."""
        users = (f"[name={name},password={password}]" for name, password in self.passwords.items())
        return [word for user in users for word in ("--add-scram", f"{MECHANISM}={user}")]

    def environment(self, user: str) -> dict[str, str]:
        """The settings of a client that is this user."""
        return {
            f"{PREFIX}KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            f"{PREFIX}KAFKA_SASL_MECHANISM": MECHANISM,
            f"{PREFIX}KAFKA_SASL_USERNAME": user,
            f"{PREFIX}KAFKA_SASL_PASSWORD": self.passwords[user],
            f"{PREFIX}KAFKA_SSL_CA": str(self.ca),
        }

    def client(self, user: str) -> dict[str, str]:
        """The same for a bare librdkafka client."""
        return {
            "security.protocol": "SASL_SSL",
            "sasl.mechanisms": MECHANISM,
            "sasl.username": user,
            "sasl.password": self.passwords[user],
            "ssl.ca.location": str(self.ca),
        }


def certificate(now_micros: int, days: int = _DAYS) -> tuple[bytes, bytes]:
    """An authority's certificate, and behind it key and certificate of this machine's loopback; all PEM.

    `days`: how long both are valid from `now_micros` on.
    """
    now = datetime.fromtimestamp(now_micros / clock.MICROS_PER_SECOND, UTC)
    signer = ec.generate_private_key(ec.SECP256R1())
    authority = _builder("Pactstream development", signer, now, days).issuer_name(
        _name("Pactstream development")
    )
    ca = authority.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True).sign(
        signer, hashes.SHA256()
    )
    key = ec.generate_private_key(ec.SECP256R1())
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address(ports.LOOPBACK))]
    ours = (
        _builder("localhost", key, now, days)
        .issuer_name(ca.subject)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(signer, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem = serialization.Encoding.PEM
    return ca.public_bytes(pem), private + ours.public_bytes(pem)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(
    subject: str, key: ec.EllipticCurvePrivateKey, now: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=days))
    )
