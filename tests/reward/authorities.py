"""Certificate authorities of a test's own, and the certificates that they sign."""

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

HOUR = timedelta(hours=1)
USES = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]


@dataclass(frozen=True)
class Files:
    """A certificate and its key, as PEM files."""

    certificate: Path
    key: Path


class Authority:
    """Its own certificate is the file `ca`."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._key, self._name = folder, ec.generate_private_key(ec.SECP256R1()), _name(name)
        built = _builder(self._name, self._name, self._key.public_key(), HOUR)
        built = built.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.ca = folder / f"{name}.crt"
        self.ca.write_bytes(built.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM))

    def sign(
        self, name: str, *, host: str = "127.0.0.1", lasts: timedelta = HOUR, at: tuple[Path, Path] | None = None
    ) -> Files:
        """For a subject `name`, valid for `host`; with `lasts` below nothing it has expired. `at` are its files."""
        key = ec.generate_private_key(ec.SECP256R1())
        built = _builder(_name(name), self._name, key.public_key(), lasts)
        built = built.add_extension(x509.SubjectAlternativeName([_host(host)]), critical=False)
        built = built.add_extension(x509.ExtendedKeyUsage(USES), critical=False)
        signed = built.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)
        files = Files(*(at or (self._folder / f"{name}.crt", self._folder / f"{name}.key")))
        _write(files.key, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        _write(files.certificate, signed)
        return files


def _write(path: Path, content: bytes) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_bytes(content)
    fresh.replace(path)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, lasts: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    built = x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=key)
    built = built.serial_number(x509.random_serial_number())
    return built.not_valid_before(now - 24 * HOUR).not_valid_after(now + lasts)


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
