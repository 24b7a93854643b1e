"""How what a pipeline writes is told to those who follow messages by their headers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from warren.core.errors import PartialWriteError
from warren.core.graph import SinkConnection
from warren.core.hooks import Sending, TraceObserver
from warren.core.message import Outgoing
from warren.core.receipt import Delivery

if TYPE_CHECKING:
    from warren.pipelines.runtime import Runtime

__all__ = ["following", "traced"]


def following(run: Runtime, source: str) -> Callable[[Delivery], None]:
    """What is to be told of all that a source hands over."""
    observers = [observer for observer in run.observers if isinstance(observer, TraceObserver)]

    def follow(delivery: Delivery) -> None:
        for observer in observers:
            observer.read(source, delivery)

    return follow


def traced(run: Runtime, name: str, connection: SinkConnection) -> SinkConnection:
    """A connection whose messages have the headers of those who follow them; the same one where nobody does."""
    observers = [observer for observer in run.observers if isinstance(observer, TraceObserver)]
    return _Traced(name, connection, observers) if observers else connection


class _Traced:
    def __init__(self, name: str, connection: SinkConnection, observers: Sequence[TraceObserver]) -> None:
        self.name = name
        self.connection = connection
        self.observers = observers

    async def write(self, messages: Outgoing) -> None:
        sendings: list[Sending] = []
        for observer in self.observers:
            if (sending := observer.sending(self.name, messages)) is not None:
                sendings.append(sending)
                messages = messages.labelled(sending.headers)
        errors: dict[int, BaseException] = {}
        try:
            await self.connection.write(messages)
        except PartialWriteError as error:
            errors.update(error.errors)
            raise
        except BaseException as error:
            errors.update(dict.fromkeys(range(len(messages)), error))
            raise
        finally:
            for sending in sendings:
                sending.ended(errors)

    async def close(self) -> None:
        await self.connection.close()
