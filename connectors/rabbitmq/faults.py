"""What went wrong with a broker, as a sentence with the remedy. No sentence shows a password."""

from __future__ import annotations

import re
import ssl
from typing import Protocol

from warren.connectors.rabbitmq.broker import Server
from warren.connectors.rabbitmq.tls import TLS
from warren.core.errors import BrokerError, UnroutableError, WarrenError

__all__ = ["Refusal", "connect_error", "foreign", "is_final", "unroutable"]


class Heard(Protocol):
    """What the socket's protocol noticed: foreign bytes or silence, and the broker's own reason to close."""

    fault: str | None
    farewell: str | None


class Refusal(BrokerError):
    """A broker that will say no again: wrong password, wrong vhost, another protocol."""


def is_final(error: BaseException) -> bool:
    """Whether trying again at once is of no use."""
    return isinstance(error, Refusal)


def unroutable(text: str, exchange: str, key: str) -> UnroutableError:
    """The reason of a message that the broker sent back."""
    where = f"the exchange {exchange!r} with the routing key {key!r}" if exchange else f"the queue {key!r}"
    remedy = "bind a queue to it" if exchange else "declare the queue, or check its name"
    return UnroutableError(f"{where} leads to no queue ({text}): {remedy}, then replay the message")


def foreign(data: bytes) -> str:
    """What bytes are that begin no frame of AMQP 0-9-1.

    >>> foreign(b"HTTP/1.1 400 Bad Request")
    "an answer in HTTP ('HTTP/1.1 400 Bad Request')"
    """
    start = data[:24].split(b"\r\n")[0]
    if data.startswith(b"HTTP/"):
        return f"an answer in HTTP ({start.decode(errors='replace')!r})"
    if data.startswith(b"AMQP") and len(data) >= 8:
        return "the header of AMQP " + ("1.0" if data[5] == 1 else ".".join(map(str, data[5:8])))
    if len(data) > 1 and data[0] in (21, 22) and data[1] == 3:
        return "a record of TLS"
    return f"bytes that begin no frame ({start!r})"


def connect_error(error: BaseException, server: Server, tls: TLS | None = None, heard: Heard | None = None) -> BrokerError:
    """What kept a connection from being made."""
    if isinstance(error, BrokerError):
        return error
    where = f"the broker at {server}"
    if isinstance(error, WarrenError):
        return Refusal(f"{where}: {error}")
    causes = list(_causes(error))
    farewell = (heard.farewell if heard is not None else None) or ""
    texts = [each for each in (farewell, *map(str, causes)) if each]
    return (
        _misled(where, heard.fault if heard is not None else None)
        or _unwelcome(where, texts, server, causes, tls)
        or _insecure(where, causes, tls)
        or _unreachable(where, error, causes, farewell, server.secure)
    )


def _causes(error: BaseException | None, known: tuple[BaseException, ...] = ()) -> tuple[BaseException, ...]:
    if error is None or error in known:
        return known
    return _causes(error.__context__, _causes(error.__cause__, (*known, error)))


def _misled(where: str, fault: str | None) -> BrokerError | None:
    """Something else listens there."""
    if fault is None:
        return None
    remedy = "it does not speak AMQP 0-9-1, or something on the way changes bytes: check host and port"
    if "TLS" in fault:
        remedy = "it expects an encrypted connection: write amqps://"
    elif "HTTP" in fault:
        remedy = "that is the port of a web server: RabbitMQ's own are 5672, and 5671 with TLS"
    elif "AMQP 1" in fault:
        remedy = "warren speaks AMQP 0-9-1, so it must be a RabbitMQ: check host and port"
    return Refusal(f"{where}: {fault}; {remedy}")


def _unwelcome(
    where: str, texts: list[str], server: Server, causes: list[BaseException], tls: TLS | None
) -> BrokerError | None:
    """The broker took the connection and said no."""
    text, told = " ".join(texts), next(iter(texts), "").split(" - ", 1)[-1]
    if re.search(r"limit\b.*\breached|vhost .* is down", text):
        return BrokerError(f"{where} takes no connection now: {told}; raise the limit, or let others go first")
    if re.search(r"vhost\b.*\bnot found|access to vhost|got <Connection\.Close", text, re.DOTALL):
        return Refusal(
            f"{where} has no vhost {server.vhost!r} for user {server.user!r}: create it (rabbitmqctl add_vhost), grant "
            f"permissions (rabbitmqctl set_permissions), or correct the end of the address"
        )
    if any(type(each).__name__ == "AuthenticationError" for each in causes):
        wanted = "EXTERNAL" if tls is not None and tls.external else "PLAIN"
        return Refusal(
            f"{where} offers no login by {wanted}: enable it there (auth_mechanisms), or log in another way "
            f"(TLS(external=...))"
        )
    if "ACCESS_REFUSED" in text and tls is not None and tls.external:
        return Refusal(
            f"{where} refused the user that the certificate {tls.certificate} names: create that user (rabbitmqctl "
            f"add_user), or check ssl_cert_login_from there"
        )
    if "ACCESS_REFUSED" in text:
        remote = "" if server.user != "guest" else " (guest may log in from the broker's own machine only)"
        return Refusal(f"{where} refused user {server.user!r}: check user and password{remote}")
    return None


def _insecure(where: str, causes: list[BaseException], tls: TLS | None) -> BrokerError | None:
    """No encrypted connection came about."""
    error = next((each for each in causes if isinstance(each, ssl.SSLError)), None)
    if error is None:
        return None
    reason = error.reason or str(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        told = error.verify_message.rstrip(".")
        remedy = "give the authority that issued it, TLS(ca=...)"
        if "expired" in told or "not yet valid" in told:
            remedy = "renew it, or set the clock right"
        elif "mismatch" in told:
            remedy = "use a host name that stands in it, or have it issued for this one"
        return Refusal(f"{where}: its certificate is not accepted: {told}; {remedy}")
    if re.search(r"PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL|NO_PROTOCOLS", reason):
        least = tls.least if tls is not None else "1.2"
        return Refusal(
            f"{where}: it does not speak TLS {least} or newer ({reason}); enable that there, or lower TLS(least=...)"
        )
    if re.search(r"WRONG_VERSION_NUMBER|HTTP_REQUEST|RECORD_LAYER", reason):
        return Refusal(f"{where}: it speaks no TLS ({reason}); write amqp://, or the port for TLS (RabbitMQ's is 5671)")
    if "ALERT" in reason or "HANDSHAKE" in reason:
        ours = "gave none" if tls is None or tls.certificate is None else f"gave {tls.certificate}"
        return Refusal(
            f"{where}: it refused our certificate ({reason}), and we {ours}; give one by an authority that it trusts, "
            f"TLS(certificate=..., key=...)"
        )
    return Refusal(f"{where}: no encrypted connection could be made: {reason}; check Broker(tls=TLS(...))")


def _unreachable(where: str, error: BaseException, causes: list[BaseException], farewell: str, secure: bool) -> BrokerError:
    """Nobody was there, or went away."""
    if farewell:
        return BrokerError(f"{where} closed the connection: {farewell}; look into its log")
    if isinstance(error, TimeoutError):
        return BrokerError(f"{where} did not answer in time; check the address, the network and whether it is overloaded")
    if any("unexpectedly closed" in str(each) or (secure and isinstance(each, ConnectionResetError)) for each in causes):
        perhaps = ", whether it wants a certificate or another version of TLS" if secure else ""
        return BrokerError(f"{where} closed the connection without a word; check host and port{perhaps}, and its log")
    detail = next((each.strerror for each in causes if isinstance(each, OSError) and each.strerror), "")
    detail = detail or str(error) or type(error).__name__
    return BrokerError(f"{where} cannot be reached: {detail}; start it, or correct the address")
