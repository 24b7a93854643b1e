"""Encrypted connections: who is on either side, by which version, and what the sentence is where that fails."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.brokers.plugin import refuse
from tests.brokers.proxy import Proxy
from tests.brokers.rabbitmq import Authority, Certificate, Node, Unavailable
from tests.connectors.rabbitmq import fake
from tests.connectors.rabbitmq.hands import broker, drain, eventually, opened, run, write
from warren.connectors import rabbitmq
from warren.connectors.conformance.kit import bodies_of
from warren.connectors.rabbitmq import TLS
from warren.core.errors import BrokerError, GraphError, StorageError
from warren.core.message import Outgoing

LANES = pytest.mark.parametrize("lane", [True, False], ids=["lane", "plain"])


@pytest.fixture(scope="module")
def authority() -> Authority:
    try:
        return Authority()
    except Unavailable as reason:
        refuse(reason)


def trusting(node: Node, **options: Any) -> TLS:
    assert node.tls is not None
    return TLS(ca=node.tls.ca, **options)


def version(connection: Any) -> str:
    """The version of TLS that an open queue's publisher speaks."""
    link = connection.sink.publisher.link
    return str(link._session.protocol.transport.get_extra_info("ssl_object").version())


async def told(url: str, tls: TLS | None, **options: Any) -> str:
    """Why no connection comes about."""
    with pytest.raises(BrokerError) as caught:
        await rabbitmq.queue("q", broker=broker(url, tls=tls, **options)).open()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    return str(caught.value)


# On real nodes


@LANES
def test_a_password_over_tls(rabbitmq_tls: Node, lane: bool) -> None:
    async def main() -> None:
        queue = rabbitmq.queue(f"tls-{lane}", broker=broker(rabbitmq_tls.tls_url, tls=trusting(rabbitmq_tls), lane=lane))
        async with opened(queue) as sink:
            await sink.write(Outgoing([b"x" * 300_000, b"y"]))
            assert version(sink) == "TLSv1.3"
        assert [len(each.body) for each in await drain(queue)] == [300_000, 1]

    run(main)


@LANES
def test_a_client_certificate_instead_of_a_password(rabbitmq_tls: Node, lane: bool) -> None:
    assert rabbitmq_tls.tls is not None
    mine = rabbitmq_tls.tls.client("guest")
    tls = trusting(rabbitmq_tls, certificate=mine.certificate, key=mine.key, external=True, least="1.3")
    url = rabbitmq_tls.tls_url.replace("guest:guest", "nobody:wr0ng")
    queue = rabbitmq.queue(f"external-{lane}", broker=broker(url, tls=tls, lane=lane))
    run(lambda: write(queue, b"x"))
    assert bodies_of(run(lambda: drain(queue))) == [b"x"]


def test_a_certificate_of_nobody(rabbitmq_tls: Node) -> None:
    assert rabbitmq_tls.tls is not None
    stranger = rabbitmq_tls.tls.client("stranger")
    tls = trusting(rabbitmq_tls, certificate=stranger.certificate, key=stranger.key, external=True)
    sentence = run(lambda: told(rabbitmq_tls.tls_url, tls))
    assert f"refused the user that the certificate {stranger.certificate} names: create that user" in sentence


def test_a_certificate_of_another_authority(rabbitmq_tls: Node, authority: Authority) -> None:
    foreign = authority.client("guest")
    tls = trusting(rabbitmq_tls, certificate=foreign.certificate, key=foreign.key, external=True)
    sentence = run(lambda: told(rabbitmq_tls.tls_url, tls))
    assert re.search(
        r"it refused our certificate \(\w*UNKNOWN_CA\), and we gave .*client.*; give one by an authority", sentence
    )


def test_a_wrong_password_over_tls(rabbitmq_tls: Node) -> None:
    url = rabbitmq_tls.tls_url.replace("guest:guest", "guest:wr0ng")
    assert "refused user 'guest': check user and password" in run(lambda: told(url, trusting(rabbitmq_tls)))


def test_a_broker_that_nobody_vouches_for(rabbitmq_tls: Node, authority: Authority) -> None:
    for tls in (None, TLS(), TLS(ca=authority.ca)):
        sentence = run(lambda tls=tls: told(rabbitmq_tls.tls_url, tls))  # type: ignore[misc]  # bound at once
        assert re.search(
            r"its certificate is not accepted: (self-signed|unable to get).*; give the authority that", sentence
        )


def test_anybody_is_accepted_without_a_check(rabbitmq_tls: Node) -> None:
    run(lambda: write(rabbitmq.queue("unchecked", broker=broker(rabbitmq_tls.tls_url, tls=TLS(check=False)))))


def test_the_wrong_port(rabbitmq_tls: Node) -> None:
    unencrypted = rabbitmq_tls.url.replace("amqp://", "amqps://")
    assert "it speaks no TLS (WRONG_VERSION_NUMBER); write amqp://" in run(lambda: told(unencrypted, trusting(rabbitmq_tls)))
    encrypted = rabbitmq_tls.tls_url.replace("amqps://", "amqp://")
    assert run(lambda: told(encrypted, None)).endswith("it expects an encrypted connection: write amqps://")


@pytest.mark.slow
def test_an_older_broker(start_node: Callable[..., Node], authority: Authority) -> None:
    older = {"ssl_options.versions.1": "tlsv1.2", "ssl_options.versions.2": "tlsv1.2"}
    node = start_node("3.10", tls=authority, config=older)

    async def main() -> None:
        async with opened(rabbitmq.queue("q", broker=broker(node.tls_url, tls=TLS(ca=authority.ca)))) as sink:
            await sink.write(Outgoing([b"x"]))
            assert version(sink) == "TLSv1.2"
        sentence = await told(node.tls_url, TLS(ca=authority.ca, least="1.3"))
        assert re.search(r"it does not speak TLS 1\.3 or newer \(\w+\); enable that there, or lower TLS\(least=", sentence)

    run(main)


@pytest.mark.slow
@LANES
def test_renewed_certificates_are_used_without_a_restart(
    start_node: Callable[..., Node], start_proxy: Callable[[int], Proxy], authority: Authority, tmp_path: Path, lane: bool
) -> None:
    first, second = authority, Authority("second")
    node = start_node(tls=first)
    proxy = start_proxy(node.tls_port)
    files = {"ca": tmp_path / "ca.pem", "certificate": tmp_path / "me.pem", "key": tmp_path / "me.key"}

    def install(client: Certificate, *names: str) -> None:
        for name in names:
            shutil.copy(getattr(client, name), files[name])

    async def main() -> None:
        install(first.client("guest"), *files)
        there = broker(proxy.url(node.tls_url), tls=TLS(**files, external=True), lane=lane)
        async with opened(rabbitmq.queue("q", broker=there)) as sink:
            await sink.write(Outgoing([b"1"]))
            link = sink.sink.publisher.link
            renewed = second.client("guest")
            # Half of it is there when the connection is lost: that is told, and tried again.
            await asyncio.to_thread(node.present, second.server())
            install(renewed, "ca", "certificate")
            proxy.cut()
            writing = asyncio.ensure_future(sink.write(Outgoing([b"2"])))

            async def mismatched() -> bool:
                return "KEY_VALUES_MISMATCH" in str(link.last_error) or "key values mismatch" in str(link.last_error)

            await eventually(mismatched)
            assert "give PEM files, the certificate's own key" in str(link.last_error)
            install(renewed, "key")
            await writing
            assert link.last_error is None
        assert bodies_of(await drain(rabbitmq.queue("q", broker=there))) == [b"1", b"2"]

    run(main)


# Against servers of our own, as no broker's answer is needed


def serving(certificate: Certificate, **options: Any) -> Any:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.certificate, certificate.key)
    context.load_verify_locations(certificate.ca)
    for name, value in options.items():
        setattr(context, name, value)
    return fake.serving(fake.Broker().talk, context)


def secure(server: fake.Server) -> str:
    return server.url.replace("amqp://", "amqps://")


def test_a_certificate_for_another_host(authority: Authority) -> None:
    async def main() -> None:
        async with serving(authority.server(names="DNS:elsewhere.example")) as server:
            sentence = await told(secure(server), TLS(ca=authority.ca))
        assert re.search(r"not accepted: .*mismatch, .*'127\.0\.0\.1'; use a host name that stands in it, or have", sentence)

    run(main)


def expired(authority: Authority, folder: Path) -> Certificate:
    (folder / "names").write_text("subjectAltName = IP:127.0.0.1\n", "utf-8")
    key, request, certificate = (folder / name for name in ("expired.key", "expired.csr", "expired.pem"))
    new = ["openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=old", "-keyout", key, "-out", request]
    sign = ["openssl", "x509", "-req", "-in", request, "-CA", authority.ca, "-CAkey", authority.ca.with_suffix(".key")]
    for command in (new, [*sign, "-CAcreateserial", "-days", "-1", "-extfile", folder / "names", "-out", certificate]):
        subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    return Certificate("old", certificate, key, authority.ca, authority)


def test_an_expired_certificate(authority: Authority, tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(expired(authority, tmp_path)) as server:
            sentence = await told(secure(server), TLS(ca=authority.ca))
        assert sentence.endswith(
            "its certificate is not accepted: certificate has expired; renew it, or set the clock right"
        )

    run(main)


class Handshakes:
    """A server that shakes hands and says no more; asyncio's would not tell why it refuses."""

    def __init__(self, certificate: Certificate, **options: Any) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate.certificate, certificate.key)
        self.context.load_verify_locations(certificate.ca)
        for name, value in options.items():
            setattr(self.context, name, value)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"amqps://guest:guest@127.0.0.1:{self.listener.getsockname()[1]}/"
        self.thread = threading.Thread(target=self._serve)

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            with self.context.wrap_socket(peer, server_side=True, do_handshake_on_connect=False) as shaking:
                shaking.settimeout(10)
                try:
                    shaking.do_handshake()
                except OSError:
                    # Closed with bytes unread, the connection would be reset before the client has read why.
                    with contextlib.suppress(OSError):
                        while socket.socket.recv(shaking, 4096):
                            pass

    def __enter__(self) -> str:
        self.thread.start()
        return self.url

    def __exit__(self, *raised: object) -> None:
        # Closing alone would leave `accept` waiting.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()


def test_a_server_that_speaks_only_older_versions(authority: Authority) -> None:
    with Handshakes(authority.server(), maximum_version=ssl.TLSVersion.TLSv1_2) as url:
        sentence = run(lambda: told(url, TLS(ca=authority.ca, least="1.3")))
        assert re.search(r"it does not speak TLS 1\.3 or newer \(\w+\); enable that there, or lower TLS\(least=", sentence)
        sentence = run(lambda: told(url, TLS(ca=authority.ca), patience="50ms"))
        assert "closed the connection without a word" in sentence, "so it was let in"


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_server_that_wants_a_certificate(authority: Authority, newest: ssl.TLSVersion) -> None:
    with Handshakes(authority.server(), maximum_version=newest, verify_mode=ssl.CERT_REQUIRED) as url:
        sentence = run(lambda: told(url, TLS(ca=authority.ca)))
        assert re.search(r"it refused our certificate \(\w+\), and we gave none; give one by an authority that it", sentence)
        mine = authority.client()
        tls = TLS(ca=authority.ca, certificate=mine.certificate, key=mine.key)
        assert "closed the connection without a word" in run(lambda: told(url, tls, patience="50ms"))


def test_a_server_that_ends_the_handshake_without_a_reason(authority: Authority) -> None:
    async def main() -> None:
        async with serving(authority.server(), verify_mode=ssl.CERT_REQUIRED) as server:
            sentence = await told(secure(server), TLS(ca=authority.ca), patience="50ms")
        assert sentence.endswith(
            "check host and port, whether it wants a certificate or another version of TLS, and its log"
        )

    run(main)


def test_a_broker_without_external(authority: Authority) -> None:
    async def main() -> None:
        mine = authority.client()
        async with serving(authority.server()) as server:
            tls = TLS(ca=authority.ca, certificate=mine.certificate, key=mine.key, external=True)
            sentence = await told(secure(server), tls)
        assert sentence.endswith(
            "offers no login by EXTERNAL: enable it there (auth_mechanisms), or log in another way (TLS(external=...))"
        )

    run(main)


# The value


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"key": "me.key"}, r"TLS\(key=\.\.\.\): it belongs to a certificate"),
        ({"external": True}, r"TLS\(external=True\): it belongs to a certificate"),
        ({"least": "1.1"}, "give '1.2' or '1.3'"),
    ],
)
def test_values_that_do_not_fit_are_refused(options: Any, reason: str) -> None:
    with pytest.raises(GraphError, match=reason):
        TLS(**options)


def test_files_that_cannot_be_used(authority: Authority, tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.pem"
    garbage.write_bytes(b"\x00\x01no certificate")
    one, other = authority.client("one"), authority.client("other")
    for tls in (
        TLS(ca=tmp_path / "missing.pem"),
        TLS(ca=garbage),
        TLS(certificate=garbage),
        TLS(certificate=one.certificate, key=tmp_path / "missing.key"),
        TLS(certificate=one.certificate, key=other.key),
    ):
        with pytest.raises(StorageError, match=r"TLS: the certificates in .* cannot be used: .*; give PEM files") as caught:
            tls.context()
        assert str(tmp_path) in str(caught.value) or str(authority.folder) in str(caught.value)
        sentence = run(lambda tls=tls: told("amqps://127.0.0.1:1", tls))  # type: ignore[misc]  # bound at once
        assert sentence.startswith("the broker at amqps://guest@127.0.0.1:1: TLS: the certificates in ")


def test_an_encrypted_key(authority: Authority, tmp_path: Path) -> None:
    one, key = authority.client("one"), tmp_path / "locked.key"
    command = ["openssl", "pkey", "-in", one.key, "-aes256", "-passout", "pass:open sesame", "-out", key]
    subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    TLS(certificate=one.certificate, key=key, password="open sesame").context()
    for password in (None, "wr0ng"):
        tls = TLS(certificate=one.certificate, key=key, password=password)
        with pytest.raises(StorageError, match="its password where it is encrypted"):
            tls.context()
        assert "wr0ng" not in repr(tls)


def test_a_certificate_and_its_key_in_one_file(authority: Authority, tmp_path: Path) -> None:
    one, both = authority.client("one"), tmp_path / "both.pem"
    both.write_bytes(one.key.read_bytes() + one.certificate.read_bytes())
    context = TLS(ca=authority.ca, certificate=both).context()
    assert context.verify_mode is ssl.CERT_REQUIRED and context.check_hostname
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert TLS(least="1.3").context().minimum_version is ssl.TLSVersion.TLSv1_3
