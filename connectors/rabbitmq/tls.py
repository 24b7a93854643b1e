"""Certificates for encrypted connections, as a value; they are read from their files at each connect."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from typing import Literal

from warren.core.errors import StorageError

__all__ = ["TLS"]


@dataclass(frozen=True)
class TLS:
    """How an ``amqps://`` connection is encrypted and who is on either side.

    - ``ca``: a file with the authorities that vouch for the broker; the system's unless given
    - ``certificate``, ``key``: files with the client's own certificate and its key
    - ``external``: log in as whom the certificate names (EXTERNAL) instead of by password (PLAIN)
    - ``least``: the oldest version that is accepted
    - ``check``: ``False`` accepts any certificate, and so anybody in between: for experiments only

    The files are read again at each connect, so renewed certificates are used without a restart.

    Raises `StorageError` where a file cannot be read or does not fit.
    """

    ca: str | os.PathLike[str] | None = None
    certificate: str | os.PathLike[str] | None = None
    key: str | os.PathLike[str] | None = None
    external: bool = False
    least: Literal["1.2", "1.3"] = "1.2"
    check: bool = True

    def context(self) -> ssl.SSLContext:
        """A context made from the files as they are now."""
        try:
            context = ssl.create_default_context(cafile=self.ca)
            if self.certificate is not None:
                context.load_cert_chain(self.certificate, self.key)
        except (OSError, ssl.SSLError) as error:
            files = ", ".join(str(each) for each in (self.ca, self.certificate, self.key) if each is not None)
            raise StorageError(
                f"TLS: the certificates in {files} cannot be used: {error}; give PEM files, and the key of the certificate"
            ) from error
        context.minimum_version = ssl.TLSVersion.TLSv1_3 if self.least == "1.3" else ssl.TLSVersion.TLSv1_2
        if not self.check:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context
