"""An event loop in virtual time whose network is a model: connections lead to model brokers."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from tests.brokers.model.broker import ModelBroker
from tests.brokers.model.pipes import ModelTransport
from tests.brokers.model.schedule import Schedule
from warren.pipelines.virtual import VirtualLoop

__all__ = ["ModelLoop", "play"]

T = TypeVar("T")


class ModelLoop(VirtualLoop):
    """A loop on which unmodified clients find model brokers. TLS is taken as said and done: bytes go as they are."""

    def __init__(self) -> None:
        super().__init__()
        self.brokers: dict[tuple[str, int], ModelBroker] = {}
        self.count = 0

    async def create_connection(  # type: ignore[override]  # asyncio's many overloads say no more than this
        self,
        protocol_factory: Callable[[], Any],
        host: str | None = None,
        port: int | None = None,
        **options: Any,
    ) -> tuple[ModelTransport, Any]:
        """Connect to the broker that listens there."""
        broker = self.brokers.get((host or "", port or 0))
        pause = broker.schedule.latency() if broker is not None else 0.0
        if pause:
            await asyncio.sleep(pause)
        if broker is None or not broker.up:
            raise ConnectionRefusedError(111, f"Connect call failed ('{host}', {port})")
        protocol = protocol_factory()
        self.count += 1
        transport = ModelTransport(self, protocol, (broker.host, broker.port), self.count)
        broker.accept(transport)
        protocol.connection_made(transport)
        return transport, protocol


def play(
    main: Callable[[ModelBroker], Coroutine[Any, Any, T]], schedule: Schedule | None = None, *, limit: float = 3600.0
) -> T:
    """Run ``main(broker)`` against a new broker, in virtual time and for at most ``limit`` virtual seconds.

    What asyncio reports as forgotten is an error, and so is a promise that the model itself did not keep. The schedule is
    added to the text of whatever goes wrong.
    """
    loop = ModelLoop()
    broker = ModelBroker(loop, schedule)
    random.seed(broker.schedule.seed)
    reported: list[str] = []
    loop.set_exception_handler(lambda _, context: reported.append(f"{context['message']} {context.get('exception')!r}"))

    async def watched() -> T:
        async with asyncio.timeout(limit):
            return await main(broker)

    try:
        result = loop.run_until_complete(watched())
        _finish(loop)
        broker.ledger.check()
        assert not reported, f"errors that nobody saw: {reported}"
        return result
    except BaseException as error:
        error.add_note("\n".join([f"at {loop.time():.4f} s of {broker.schedule}", *reported]))
        raise
    finally:
        _finish(loop)
        loop.close()


def _finish(loop: ModelLoop) -> None:
    # What a client has left running ends before the loop does.
    while tasks := asyncio.all_tasks(loop):
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
