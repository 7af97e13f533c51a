"""A private certificate authority for tests: certificates for names and addresses, in PEM files."""

from __future__ import annotations

import datetime as dt
import ipaddress
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Pair(NamedTuple):
    cert: Path
    key: Path


class Authority:
    """Its own certificate is `ca`; everything is written below `folder`."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder, self._name = folder, name
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = _called(name)
        self.ca = folder / f"{name}.pem"
        ca = x509.BasicConstraints(ca=True, path_length=0)
        self.ca.write_bytes(_pem(self._sign(self._subject, self._key.public_key(), ca)))

    def issue(self, name: str, *hosts: str, expired: bool = False) -> Pair:
        """A certificate and key for some host names or addresses."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([_host(host) for host in hosts])
        cert = self._sign(_called(name), key.public_key(), names, expired=expired)
        pair = Pair(self._folder / f"{self._name}-{name}.pem", self._folder / f"{self._name}-{name}.key")
        pair.cert.write_bytes(_pem(cert))
        pair.key.write_bytes(key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ))  # fmt: skip
        return pair

    def _sign(self, subject: x509.Name, key: object, extension: x509.ExtensionType, *, expired: bool = False) -> object:
        now = dt.datetime.now(dt.UTC) - dt.timedelta(days=10)
        builder = (
            x509.CertificateBuilder().subject_name(subject).issuer_name(self._subject).public_key(key)
            .serial_number(x509.random_serial_number()).not_valid_before(now)
            .not_valid_after(now + dt.timedelta(days=1 if expired else 100)).add_extension(extension, critical=True)
        )  # fmt: skip
        return builder.sign(self._key, hashes.SHA256())


def _called(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(certificate: object) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)  # type: ignore[attr-defined]
