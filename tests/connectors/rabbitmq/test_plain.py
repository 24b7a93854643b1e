"""The channel that leaves every frame to aiormq."""

from __future__ import annotations

import asyncio
from typing import Any

from warren.connectors.rabbitmq.plain import Plain


class _Channel:
    """A channel that waits before it writes, as aiormq does while its socket is full."""

    def __init__(self) -> None:
        self.closing = asyncio.get_running_loop().create_future()
        self.on_consumer_cancel_callbacks: set[Any] = set()
        self.written: list[int] = []

    async def basic_ack(self, tag: int, multiple: bool) -> None:
        # The first one of a run of them waits longest, so that those of others would overtake it.
        for _ in range(10 - tag):
            await asyncio.sleep(0)
        self.written.append(tag)


def test_acknowledgements_do_not_overtake_each_other() -> None:
    async def main() -> list[int]:
        channel = _Channel()
        port = Plain(channel)  # type: ignore[arg-type]  # it has what is used here
        await asyncio.gather(port.settle([(2, True), (7, False)]), port.settle([(8, True)]))
        return channel.written

    assert asyncio.run(main()) == [2, 7, 8]
