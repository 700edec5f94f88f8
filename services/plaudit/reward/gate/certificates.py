"""TLS and mTLS, for gRPC and for HTTP, of certificates that are replaced while the server runs.

A new certificate counts from the next connection on; those that are open keep theirs, until `max_connection_age`.
"""

import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import grpc
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from plaudit.errors import ConfigurationError, first_line
from plaudit.reward.gate.reloading import Reloaded
from plaudit.reward.gate.settings import TlsSettings


@dataclass(frozen=True, eq=False)
class Certificates:
    """What the files hold, found to be in order."""

    grpc: "grpc.ServerCertificateConfiguration" = field(repr=False)
    http: ssl.SSLContext
    expires: dict[str, datetime]  # certificate, client_ca: the first of each that does


class Tls:
    """The certificates of one server, as its listeners take them."""

    def __init__(self, settings: TlsSettings) -> None:
        """Raises ConfigurationError."""
        self._settings = settings
        authorities = [settings.client_ca] if settings.client_ca else []
        paths = [settings.certificate, settings.key, *authorities]
        self.files = Reloaded("tls", paths, lambda contents: _parse(settings, contents))

    def credentials(self) -> grpc.ServerCredentials:
        """For a gRPC server: it is asked for at each handshake what is in force."""
        given = first = self.files.value.grpc

        def newer() -> "grpc.ServerCertificateConfiguration | None":
            nonlocal given
            if given is self.files.value.grpc:
                return None
            given = self.files.value.grpc
            return given

        mutual = self._settings.client_ca is not None
        return grpc.dynamic_ssl_server_credentials(first, newer, mutual)  # type: ignore[arg-type]  # None: no change

    def context(self) -> ssl.SSLContext:
        """For an asyncio server: each handshake goes on with the context that is in force.

        Loading new files into the old one would leave authorities in it that are trusted no more.
        """
        outer = _context(self._settings)

        def chosen(connection: ssl.SSLObject | ssl.SSLSocket, _: str | None, __: ssl.SSLContext) -> None:
            connection.context = self.files.value.http

        outer.sni_callback = chosen  # asked whether a client names the server or not
        return outer

    def seconds_left(self) -> dict[str, float]:
        """Until the first certificate of each file expires."""
        now = datetime.now(UTC)
        return {name: (end - now).total_seconds() for name, end in self.files.value.expires.items()}


def _parse(settings: TlsSettings, contents: Sequence[bytes]) -> Certificates:
    chain, key, *authorities = contents
    certificates = {"certificate": _read(f"tls.certificate {settings.certificate}", chain)}
    if authorities:
        certificates["client_ca"] = _read(f"tls.client_ca {settings.client_ca}", authorities[0])
    _check_key(settings, certificates["certificate"][0], key)
    expires = {name: min(one.not_valid_after_utc for one in found) for name, found in certificates.items()}
    if expires["certificate"] <= datetime.now(UTC):
        at = f"{expires['certificate']:%F %T} UTC"
        raise ConfigurationError(f"tls.certificate {settings.certificate} expired at {at}: give another")
    given = grpc.ssl_server_certificate_configuration([(key, chain)], authorities[0] if authorities else None)
    return Certificates(given, _loaded(settings, certificates.get("client_ca", [])), expires)


def _read(name: str, content: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(content)
    except ValueError:
        raise ConfigurationError(f"{name}: not a certificate in PEM") from None


def _check_key(settings: TlsSettings, certificate: x509.Certificate, content: bytes) -> None:
    try:
        of_key = load_pem_private_key(content, None).public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ConfigurationError(f"tls.key {settings.key}: not a private key in PEM without a password") from None
    spki = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if of_key.public_bytes(*spki) != certificate.public_key().public_bytes(*spki):
        raise ConfigurationError(f"tls.key {settings.key} is not the key of tls.certificate {settings.certificate}")


def _loaded(settings: TlsSettings, authorities: Sequence[x509.Certificate]) -> ssl.SSLContext:
    context = _context(settings)
    try:
        context.load_cert_chain(settings.certificate, settings.key)
        if authorities:
            context.load_verify_locations(cadata=b"".join(one.public_bytes(Encoding.DER) for one in authorities))
    except OSError as error:  # SSLError is one; what it says names no secret
        raise ConfigurationError(f"tls.certificate {settings.certificate}: {first_line(error)}") from None
    return context


def _context(settings: TlsSettings) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED if settings.client_ca else ssl.CERT_NONE
    # No session is taken up again: that would let in whoever had a certificate of an authority that is gone.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    return context
