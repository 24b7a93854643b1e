"""What went wrong with a broker, as a sentence with the remedy. No sentence shows a password."""

from __future__ import annotations

import re
import ssl

from warren.connectors.rabbitmq.broker import Server
from warren.core.errors import BrokerError, UnroutableError

__all__ = ["connect_error", "is_final", "unroutable"]


def unroutable(text: str, exchange: str, key: str) -> UnroutableError:
    """The reason of a message that the broker sent back."""
    where = f"the exchange {exchange!r} with the routing key {key!r}" if exchange else f"the queue {key!r}"
    remedy = "bind a queue to it" if exchange else "declare the queue, or check its name"
    return UnroutableError(f"{where} leads to no queue ({text}): {remedy}, then replay the message")


class Refusal(BrokerError):
    """A broker that will say no again: wrong password, wrong vhost, another protocol."""


def is_final(error: BaseException) -> bool:
    """Whether trying again at once is of no use."""
    return isinstance(error, Refusal)


def connect_error(error: BaseException, server: Server, fault: str | None = None) -> BrokerError:
    """What kept a connection from being made."""
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in causes:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    text = " ".join(str(each) for each in causes)
    where = f"the broker at {server}"
    if isinstance(error, BrokerError):
        return error
    if fault is not None or "AMQP protocol header" in text or "IncompatibleProtocol" in text:
        reason = fault or "it answered with another version of AMQP"
        return Refusal(f"{where}: {reason}; check host and port (RabbitMQ's are 5672, and 5671 with TLS)")
    if re.search(r"\bvhost\b.*not found|NOT_ALLOWED.*vhost|access to vhost", text, re.DOTALL):
        return Refusal(
            f"{where} has no vhost {server.vhost!r} for user {server.user!r}: create it (rabbitmqctl add_vhost), grant "
            f"permissions (rabbitmqctl set_permissions), or correct the end of the address"
        )
    if re.search(r"ACCESS_REFUSED|uthenticat", text):
        remote = "" if server.user != "guest" else " (guest may log in from the broker's own machine only)"
        return Refusal(f"{where} refused user {server.user!r}: check user and password{remote}")
    for each in causes:
        if isinstance(each, ssl.SSLError):
            return Refusal(
                f"{where}: no encrypted connection could be made: {each.reason or each}; check Broker(tls=TLS(...))"
            )
    if isinstance(error, TimeoutError):
        return BrokerError(f"{where} did not answer in time; check the address, the network and whether it is overloaded")
    detail = next((each.strerror for each in causes if isinstance(each, OSError) and each.strerror), "") or text
    return BrokerError(f"{where} cannot be reached: {detail or type(error).__name__}; start it, or correct the address")
