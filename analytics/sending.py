"""Sends what people are to read: to a folder, a webhook, or by e-mail."""

from __future__ import annotations

import os
import smtplib
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from http.client import HTTPException
from pathlib import Path
from typing import Any, Protocol
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

import msgspec

from warren.core.atomic import writing
from warren.core.errors import AddressError, ConnectorError

__all__ = ["Folder", "Mail", "Parcel", "Post", "Receiver", "receiver"]

_PAUSES = (2.0, 10.0)
"""Seconds before the second and the third attempt."""
_PATIENCE = 30.0
_TYPES = {".html": "text/html", ".json": "application/json", ".pdf": "application/pdf"}


@dataclass(frozen=True)
class Parcel:
    """What is sent: a summary as plain values, the same in words, and files by suffix.

    The summary's ``text`` is the subject of a mail; ``what`` is what errors call all of it.
    """

    name: str
    summary: dict[str, Any]
    files: dict[str, bytes] = field(default_factory=dict)
    words: str = ""
    what: str = "the report"


class Receiver(Protocol):
    """Where something is sent."""

    def send(self, parcel: Parcel) -> None:
        """Try up to three times. Raises `ConnectorError` where it cannot be sent."""
        ...


def receiver(
    address: str, environment: Mapping[str, str] = os.environ, *, option: str = "--send", **mail: str | None
) -> Receiver:
    """What an address means; ``option`` is where it was given.

    ``mail`` are settings for e-mail, which the environment has otherwise.

    Raises `AddressError` where it means nothing.

    >>> receiver("folder:/var/reports")
    Folder(path=PosixPath('/var/reports'))
    """
    scheme, _, rest = address.partition(":")
    if scheme == "folder" and rest:
        return Folder(Path(rest))
    if scheme in ("http", "https") and urlsplit(address).hostname:
        return Post(address)
    if scheme == "mailto":
        to = [unquote(each).strip() for each in rest.partition("?")[0].split(",")]
        if all(_is_mailbox(each) for each in to):
            return Mail(to, **_settings(environment, mail))
    raise AddressError(
        f"{option} {address}: write 'folder:/var/reports', 'https://hooks.example.org/…' or 'mailto:ops@example.org'"
    )


def _is_mailbox(text: str) -> bool:
    name, at, host = text.rpartition("@")
    return bool(name and at and host) and text.isprintable() and not set(text) & set(' <>",;:\\')


def _settings(environment: Mapping[str, str], given: Mapping[str, str | None]) -> dict[str, Any]:
    server = given.get("smtp") or environment.get("WARREN_SMTP") or "localhost:25"
    secure = server.startswith("smtps://")
    host, colon, port = server.removeprefix("smtps://").rpartition(":")
    if not colon:
        host, port = port, "465" if secure else "25"
    if not host or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65536:
        raise AddressError(f"the mail server {server!r} is no address; write HOST:PORT, or smtps://HOST:PORT")
    sender = given.get("sender") or environment.get("WARREN_MAIL_FROM") or ""
    if sender and not _is_mailbox(sender):
        raise AddressError(f"the sender {sender!r} is no mail address; write one such as 'warren@example.org'")
    return {
        "host": host,
        "port": int(port),
        "secure": secure,
        "sender": sender,
        "user": given.get("user") or environment.get("WARREN_SMTP_USER") or "",
        "password": environment.get("WARREN_SMTP_PASSWORD", ""),
    }


@dataclass(frozen=True)
class Folder:
    """Keeps each report in a folder, named by when it was made."""

    path: Path

    def send(self, parcel: Parcel) -> None:
        def write() -> None:
            self.path.mkdir(parents=True, exist_ok=True)
            for suffix, data in parcel.files.items():
                with writing(self.path / f"{parcel.name}{suffix}") as temporary:
                    temporary.write_bytes(data)

        _attempt(parcel, f"the folder {self.path}", write, pauses=())


class _Straight(HTTPRedirectHandler):
    """A redirected POST would arrive as a GET without what was sent."""

    def redirect_request(self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, newurl: Any) -> None:
        return None


@dataclass(frozen=True)
class Post:
    """Posts the summary as JSON to a web hook."""

    address: str
    pauses: Sequence[float] = _PAUSES

    def send(self, parcel: Parcel) -> None:
        request = Request(
            self.address,
            msgspec.json.encode(parcel.summary),
            {"Content-Type": "application/json", "User-Agent": "warren"},
            method="POST",
        )

        def post() -> None:
            try:
                with build_opener(_Straight).open(request, timeout=_PATIENCE) as answer:
                    answer.read(1)
            except HTTPError as error:
                error.close()
                raise
            except URLError as error:
                raise error.reason if isinstance(error.reason, OSError) else error from None

        # The rest of the address is often a secret.
        parts = urlsplit(self.address)
        _attempt(parcel, f"{parts.scheme}://{parts.hostname}/…", post, self.pauses)


@dataclass(frozen=True)
class Mail:
    """Mails it; with TLS where the server offers it, and never a password without."""

    to: Sequence[str]
    host: str
    port: int
    secure: bool = False
    sender: str = ""
    user: str = ""
    password: str = field(default="", repr=False)
    pauses: Sequence[float] = _PAUSES

    def send(self, parcel: Parcel) -> None:
        message = self._message(parcel)

        def mail() -> None:
            context = ssl.create_default_context()
            with (
                smtplib.SMTP_SSL(self.host, self.port, timeout=_PATIENCE, context=context)
                if self.secure
                else smtplib.SMTP(self.host, self.port, timeout=_PATIENCE)
            ) as server:
                server.ehlo()
                encrypted = self.secure
                if not encrypted and server.has_extn("starttls"):
                    server.starttls(context=context)
                    server.ehlo()
                    encrypted = True
                if self.password:
                    if not encrypted:
                        raise ConnectorError("it offers no TLS, and a password is not sent in the clear")
                    server.login(self.user, self.password)
                refused = server.send_message(message)
                if refused:
                    raise ConnectorError(f"it refused {', '.join(refused)}, the other addresses have it")

        _attempt(parcel, f"{', '.join(self.to)} by {self.host}:{self.port}", mail, self.pauses)

    def _message(self, parcel: Parcel) -> EmailMessage:
        message = EmailMessage()
        message["Subject"] = " ".join(parcel.summary["text"].split())
        message["From"] = self.sender or self.to[0]
        message["To"] = ", ".join(self.to)
        message["Date"] = formatdate()
        message["Message-ID"] = make_msgid(domain="warren.invalid")
        message.set_content(parcel.words)
        for suffix, data in parcel.files.items():
            kind, _, part = _TYPES[suffix].partition("/")
            message.add_attachment(data, maintype=kind, subtype=part, filename=f"{parcel.name}{suffix}")
        return message


def _attempt(parcel: Parcel, where: str, send: Callable[[], None], pauses: Sequence[float]) -> None:
    """Send, and again after a pause where that may help."""
    for attempt, pause in enumerate((*pauses, None), 1):
        try:
            send()
            return
        except (OSError, HTTPException, ConnectorError) as error:
            if pause is None or _is_final(error):
                tried = f"tried {attempt} times" if attempt > 1 else "tried once"
                raise ConnectorError(f"{parcel.what} could not be sent to {where} ({tried}): {_said(error)}") from error
        time.sleep(pause)


def _is_final(error: Exception) -> bool:
    """Whether another attempt would end the same way."""
    if isinstance(error, HTTPError):
        return error.code < 500 and error.code not in (408, 425, 429)
    if isinstance(error, smtplib.SMTPResponseException):
        return error.smtp_code >= 500
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return all(code >= 500 for code, _ in error.recipients.values())
    return isinstance(error, ConnectorError | smtplib.SMTPNotSupportedError | ssl.SSLCertVerificationError)


def _said(error: Exception) -> str:
    if isinstance(error, HTTPError):
        return f"it answered {error.code} {error.reason}"
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return "; ".join(f"{code} {text.decode('utf-8', 'replace')}" for code, text in error.recipients.values())
    if isinstance(error, smtplib.SMTPResponseException):
        text = error.smtp_error
        return f"{error.smtp_code} {text.decode('utf-8', 'replace') if isinstance(text, bytes) else text}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
    return " ".join(str(reason).split()) or type(error).__name__
