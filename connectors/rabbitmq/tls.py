"""Certificates for encrypted connections, as a value; they are read from their files at each connect."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass, field
from typing import Literal

from warren.core.errors import GraphError, StorageError

__all__ = ["TLS"]


@dataclass(frozen=True)
class TLS:
    """How an ``amqps://`` connection is encrypted and who is on either side.

    - ``ca``: a file with the authorities that vouch for the broker; the system's unless given
    - ``certificate``, ``key``: files with the client's own certificate and its key, which may stand in one file
    - ``password``: of the key, where it is encrypted
    - ``external``: log in as whom the certificate names (EXTERNAL) instead of by password (PLAIN)
    - ``least``: the oldest version that is accepted
    - ``check``: ``False`` accepts any certificate, and so anybody in between: for experiments only

    The files are read again at each connect, so renewed certificates are used without a restart.

    Raises `GraphError` where the values do not fit each other; `context` raises `StorageError` where a file cannot be used.

    >>> TLS(certificate="app.pem", key="app.key", password="secret")
    TLS(ca=None, certificate='app.pem', key='app.key', external=False, least='1.2', check=True)
    """

    ca: str | os.PathLike[str] | None = None
    certificate: str | os.PathLike[str] | None = None
    key: str | os.PathLike[str] | None = None
    password: str | None = field(default=None, repr=False)
    external: bool = False
    least: Literal["1.2", "1.3"] = "1.2"
    check: bool = True

    def __post_init__(self) -> None:
        """Check the values."""
        if self.certificate is None and (self.key is not None or self.external):
            what = "key=..." if self.key is not None else "external=True"
            raise GraphError(f"TLS({what}): it belongs to a certificate; give certificate=... too")
        if self.least not in ("1.2", "1.3"):
            raise GraphError(f"TLS(least={self.least!r}): give '1.2' or '1.3'; what is older is not safe")

    def context(self) -> ssl.SSLContext:
        """A context made from the files as they are now."""
        try:
            context = ssl.create_default_context(cafile=self.ca)
            if self.certificate is not None:
                # Without a password given, OpenSSL would ask for one at the terminal.
                context.load_cert_chain(self.certificate, self.key, self.password or "")
        except (OSError, ssl.SSLError) as error:
            files = ", ".join(str(each) for each in (self.ca, self.certificate, self.key) if each is not None)
            raise StorageError(
                f"TLS: the certificates in {files} cannot be used: {error}; give PEM files, the certificate's own key, "
                f"and its password where it is encrypted"
            ) from error
        context.minimum_version = ssl.TLSVersion.TLSv1_3 if self.least == "1.3" else ssl.TLSVersion.TLSv1_2
        if not self.check:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context
