"""Certificates made when they are needed: an authority, and what it issues to servers and clients."""

from __future__ import annotations

import itertools
import shutil
import ssl
import subprocess
import tempfile
import weakref
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

from tests.brokers.installation import Unavailable

SETTINGS = """
[req]
distinguished_name = name
prompt = no
[name]
CN = {common_name}
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = {names}
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[client]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""


@dataclass(frozen=True)
class Certificate:
    """A certificate with its key, and the authority that its holder trusts; all PEM files."""

    common_name: str
    certificate: Path
    key: Path
    ca: Path
    issuer: Authority = field(repr=False)
    """Whose folder the files are in, and stay in while it is held."""

    @property
    def query(self) -> str:
        """What to put behind the `?` of an address, so that a client logs in with it and without a password."""
        names = {"cafile": self.ca, "certfile": self.certificate, "keyfile": self.key}
        return urlencode({**{name: str(path) for name, path in names.items()}, "auth": "EXTERNAL"})

    def context(self) -> ssl.SSLContext:
        """For a client that shows this certificate."""
        context = ssl.create_default_context(cafile=self.ca)
        context.load_cert_chain(self.certificate, self.key)
        return context


class Authority:
    """A certificate authority in a folder of its own, which goes with it: two of them do not trust one another."""

    def __init__(self, common_name: str = "warren tests") -> None:
        if shutil.which("openssl") is None:
            raise Unavailable("Certificates are made by openssl, and there is none here: run `apt-get install openssl`.")
        self.folder = Path(tempfile.mkdtemp(prefix="warren-certificates-"))
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        self._numbers = itertools.count()
        self.ca, self._key = self._make(common_name, "authority")

    def server(self, common_name: str = "localhost", names: str = "DNS:localhost, IP:127.0.0.1") -> Certificate:
        """A certificate for a server that is reached under `names`."""
        return Certificate(common_name, *self._make(common_name, "server", names), self.ca, self)

    def client(self, common_name: str = "guest") -> Certificate:
        """A certificate with which the user of that name logs in."""
        return Certificate(common_name, *self._make(common_name, "client"), self.ca, self)

    def _make(self, common_name: str, kind: str, names: str = "DNS:localhost") -> tuple[Path, Path]:
        stem = self.folder / f"{kind}-{next(self._numbers)}"
        certificate, key, settings = (stem.with_suffix(suffix) for suffix in (".pem", ".key", ".cnf"))
        settings.write_text(SETTINGS.format(common_name=common_name, names=names), "utf-8")
        command: list[str | Path] = ["openssl", "req", "-x509", "-config", settings, "-extensions", kind, "-days", "2"]
        command += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", certificate]
        if kind != "authority":
            command += ["-CA", self.ca, "-CAkey", self._key]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"openssl made no certificate for {common_name!r}: {done.stderr.strip()}")
        return certificate, key
