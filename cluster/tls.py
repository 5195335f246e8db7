"""Certificates for Ray's own traffic: ``python -m cluster.tls DIR --host HOST`` makes an authority and a node's pair.

Ray asks every peer for a certificate of the authority, so nobody without one even connects. Copy ``ca.crt`` and one
node's ``.crt`` and ``.key`` to each node; ``ca.key`` stays off the cluster. `variables` says what a node sets.
"""

from __future__ import annotations

import argparse
import datetime
import ipaddress
import os
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_DAYS, NODE_DAYS = 3650, 825
ONE_HOUR = datetime.timedelta(hours=1)  # for clocks that are behind


def make_certificates(folder: Path, hosts: list[str]) -> dict[str, str]:
    """Make a pair for a node that is reached as `hosts` (names or addresses); the variables that the node sets.

    The authority in the folder is used, and made where there is none. The pair is named by the first host.
    """
    folder.mkdir(parents=True, exist_ok=True)
    authority, signer = _authority(folder)
    key = ec.generate_private_key(ec.SECP256R1())
    node = (
        _certificate(hosts[0], key, authority.subject, NODE_DAYS)
        .add_extension(x509.SubjectAlternativeName([_name(host) for host in hosts]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .sign(signer, hashes.SHA256())
    )
    _write(folder / f"{hosts[0]}.key", _private(key))
    _write(folder / f"{hosts[0]}.crt", node.public_bytes(serialization.Encoding.PEM))
    return variables(folder, hosts[0])


def variables(folder: Path, host: str) -> dict[str, str]:
    """What a node, or a driver on it, sets to talk to the others by TLS only."""
    return {
        "RAY_USE_TLS": "1",
        "RAY_TLS_SERVER_CERT": str(folder / f"{host}.crt"),
        "RAY_TLS_SERVER_KEY": str(folder / f"{host}.key"),
        "RAY_TLS_CA_CERT": str(folder / "ca.crt"),
    }


def _authority(folder: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    if (folder / "ca.key").exists():
        key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError(f"{folder / 'ca.key'}: expected a key on an elliptic curve")
        return x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes()), key
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _certificate("ms2img cluster", key, None, CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    _write(folder / "ca.key", _private(key))
    _write(folder / "ca.crt", certificate.public_bytes(serialization.Encoding.PEM))
    return certificate, key


def _certificate(
    name: str, key: ec.EllipticCurvePrivateKey, issuer: x509.Name | None, days: int
) -> x509.CertificateBuilder:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer or subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - ONE_HOUR)
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path: Path, content: bytes) -> None:
    """For nobody else to read from the first byte on."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)


def main() -> None:
    """Make the files and print the lines for the node's environment."""
    parser = argparse.ArgumentParser(
        prog="python -m cluster.tls", description="certificates for a node of a Ray cluster"
    )
    parser.add_argument("folder", type=Path, help="where the authority is kept, or made")
    parser.add_argument("--host", action="append", required=True, help="name or address of the node; may be repeated")
    given = parser.parse_args()
    for name, value in make_certificates(given.folder.absolute(), given.host).items():
        print(f"export {name}={value}")


if __name__ == "__main__":
    main()
