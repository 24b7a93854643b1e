from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from tests.brokers.certificates import Authority
from warren.analytics.sending import Folder, Mail, Parcel, Post, receiver
from warren.apps.sending import words
from warren.core.errors import AddressError, ConnectorError

SUMMARY: dict[str, Any] = {
    "text": "Capacity runs out: orders\r\nBcc: all@example.org",
    "alert": True,
    "link": "https://reports.example.org/capacity.html",
    "queues": [{"pipeline": "orders", "verdict": "It runs out."}],
    "problems": ["bills: too short"],
}
PARCEL = Parcel(
    "capacity-20260101T060000Z",
    SUMMARY,
    {".html": "<p>größer</p>".encode(), ".json": b"{}", ".pdf": b"%PDF-1.7"},
    words(SUMMARY),
)


class Hook(HTTPServer):
    """A web hook that answers as it is told, and the last answer for ever."""

    def __init__(self, *answers: int) -> None:
        self.answers = list(answers)
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        super().__init__(("127.0.0.1", 0), _Answering)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/secret?token=1"


class _Answering(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((self.command, self.path, dict(self.headers), body))
        answers = self.server.answers
        self.send_response(answers.pop(0) if len(answers) > 1 else answers[0])
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST

    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def hook(*answers: int) -> Iterator[Hook]:
    server = Hook(*answers)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_web_hook_gets_the_summary() -> None:
    with hook(204) as server:
        receiver(server.address).send(PARCEL)
    ((command, path, headers, body),) = server.requests
    assert (command, path, headers["Content-Type"]) == ("POST", "/secret?token=1", "application/json")
    assert json.loads(body) == PARCEL.summary


def test_what_may_work_later_is_tried_again() -> None:
    with hook(503, 429, 200) as server:
        Post(server.address, pauses=(0, 0)).send(PARCEL)
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("answer", "tries", "said"),
    [
        (500, 3, r"\(tried 3 times\): it answered 500 Internal Server Error"),
        (404, 1, r"\(tried once\): it answered 404 Not Found"),
        (302, 1, r"\(tried once\): it answered 302 Found"),
    ],
)
def test_a_web_hook_that_does_not_take_it(answer: int, tries: int, said: str) -> None:
    with hook(answer) as server, pytest.raises(ConnectorError, match=said) as error:
        Post(server.address, pauses=(0, 0)).send(PARCEL)
    assert len(server.requests) == tries
    assert "secret" not in str(error.value) and "http://127.0.0.1/…" in str(error.value)


def test_a_web_hook_that_is_not_there() -> None:
    with hook(200) as server:
        address = server.address
    with pytest.raises(ConnectorError, match=r"\(tried 3 times\): .*Connection refused"):
        Post(address, pauses=(0, 0)).send(PARCEL)


def test_a_folder_keeps_every_report(tmp_path: Path) -> None:
    receiver(f"folder:{tmp_path / 'new'}").send(PARCEL)
    assert {file.name: file.read_bytes() for file in (tmp_path / "new").iterdir()} == {
        f"capacity-20260101T060000Z{suffix}": data for suffix, data in PARCEL.files.items()
    }
    (tmp_path / "file").write_text("")
    with pytest.raises(ConnectorError, match=r"could not be sent to the folder .*file"):
        Folder(tmp_path / "file").send(PARCEL)


class Box:
    """Takes mail, or refuses it as it is told."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.mail: list[Envelope] = []
        self.logins: list[tuple[bytes, bytes]] = []
        self.encrypted: list[bool] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        answer = self.answers.pop(0) if self.answers else "250 taken"
        if answer.startswith("250"):
            self.mail.append(envelope)
            self.encrypted.append(session.ssl is not None)
        return answer

    def login(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        self.logins.append((data.login, data.password))
        return AuthResult(success=data.password == b"right", handled=False)


@contextlib.contextmanager
def post_office(box: Box, **options: Any) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    office = Controller(box, hostname="127.0.0.1", port=port, **options)
    office.start()
    try:
        yield port
    finally:
        office.stop()


def mail(port: int, **options: Any) -> Mail:
    found = receiver("mailto:ops@example.org,dev@example.org", {}, smtp=f"localhost:{port}", sender="warren@example.org")
    assert isinstance(found, Mail)
    return Mail(**{**vars(found), "pauses": (0, 0), **options})


def test_mail_has_the_report_attached() -> None:
    box = Box()
    with post_office(box) as port:
        mail(port).send(PARCEL)
    (envelope,) = box.mail
    assert envelope.rcpt_tos == ["ops@example.org", "dev@example.org"] and envelope.mail_from == "warren@example.org"
    assert isinstance(envelope.content, bytes)
    message: Any = message_from_bytes(envelope.content, policy=policy.default)
    # A line break in a text makes no header.
    assert message["Subject"] == "Capacity runs out: orders Bcc: all@example.org" and message["Bcc"] is None
    assert message["Date"] and message["Message-ID"]
    body = message.get_body(("plain",)).get_content()
    assert "orders: It runs out." in body and "bills: too short" in body and "reports.example.org" in body
    parts = {part.get_filename(): part for part in message.iter_attachments()}
    assert {name: part.get_content_type() for name, part in parts.items()} == {
        "capacity-20260101T060000Z.html": "text/html",
        "capacity-20260101T060000Z.json": "application/json",
        "capacity-20260101T060000Z.pdf": "application/pdf",
    }
    assert parts["capacity-20260101T060000Z.html"].get_payload(decode=True) == PARCEL.files[".html"]


@pytest.fixture
def tls(monkeypatch: pytest.MonkeyPatch) -> Iterator[ssl.SSLContext]:
    """A server's certificate, by an authority that this machine trusts meanwhile."""
    issued = Authority().server()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.certificate, issued.key)
    monkeypatch.setenv("SSL_CERT_FILE", str(issued.ca))
    yield context
    assert issued.ca.exists()


def test_mail_is_encrypted_where_that_is_offered_and_logs_in(tls: ssl.SSLContext) -> None:
    box = Box()
    with post_office(box, tls_context=tls, authenticator=box.login, auth_required=True) as port:
        mail(port, user="warren", password="right").send(PARCEL)
        assert box.encrypted == [True] and box.logins == [(b"warren", b"right")]
        with pytest.raises(ConnectorError, match=r"\(tried once\): 535"):
            mail(port, user="warren", password="wrong").send(PARCEL)


def test_a_password_is_not_sent_in_the_clear() -> None:
    box = Box()
    with (
        post_office(box, authenticator=box.login, auth_require_tls=False) as port,
        pytest.raises(ConnectorError, match="it offers no TLS, and a password is not sent in the clear"),
    ):
        mail(port, user="warren", password="right").send(PARCEL)
    assert box.logins == [] and box.mail == []


def test_a_certificate_that_nobody_vouches_for_is_refused(tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    box = Box()
    with (
        post_office(box, tls_context=tls) as port,
        pytest.raises(ConnectorError, match=r"\(tried once\): its certificate is not trusted"),
    ):
        mail(port).send(PARCEL)
    assert box.mail == []


def test_mail_that_is_refused_for_now_is_tried_again() -> None:
    box = Box("451 later", "451 later")
    with post_office(box) as port:
        mail(port).send(PARCEL)
    assert len(box.mail) == 1
    never = Box("550 no", "250 never asked")
    with post_office(never) as port, pytest.raises(ConnectorError, match=r"ops@example.org, .* \(tried once\): 550 no"):
        mail(port).send(PARCEL)
    assert never.answers == ["250 never asked"]


def test_no_mail_server() -> None:
    with post_office(Box()) as port:
        pass
    with pytest.raises(ConnectorError, match=r"by localhost:\d+ \(tried 3 times\): .*refused"):
        mail(port).send(PARCEL)


def test_settings_come_from_options_or_the_environment() -> None:
    environment = {
        "WARREN_SMTP": "mail.example.org:587",
        "WARREN_SMTP_USER": "u",
        "WARREN_SMTP_PASSWORD": "geheim",
        "WARREN_MAIL_FROM": "w@example.org",
    }
    found: Any = receiver("mailto:ops@example.org", environment)
    assert (found.host, found.port, found.user, found.password, found.sender, found.secure) == (
        *("mail.example.org", 587, "u", "geheim", "w@example.org"),
        False,
    )
    assert "geheim" not in repr(found)
    other: Any = receiver("mailto:a@b.org", environment, smtp="smtps://other", user="v", sender="x@example.org")
    assert (other.host, other.port, other.user, other.sender, other.secure) == ("other", 465, "v", "x@example.org", True)


@pytest.mark.parametrize(
    ("address", "options"),
    [
        ("ops@example.org", {}),
        ("mailto:", {}),
        ("mailto:ops", {}),
        ("mailto:a@b.org%0d%0aBcc:c@d.org", {}),
        ("folder:", {}),
        ("https://", {}),
        ("ftp://example.org", {}),
        ("file:///etc/passwd", {}),
        ("mailto:a@b.org", {"smtp": "mail:many"}),
        ("mailto:a@b.org", {"sender": "nobody"}),
    ],
)
def test_addresses_that_lead_nowhere(address: str, options: dict[str, str]) -> None:
    with pytest.raises(AddressError, match="write"):
        receiver(address, {}, **options)
