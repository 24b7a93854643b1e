"""The channel that leaves every frame to aiormq."""

from __future__ import annotations

import asyncio
from typing import Any

from warren.connectors.rabbitmq.frames import Properties, write_properties
from warren.connectors.rabbitmq.plain import Plain
from warren.connectors.rabbitmq.port import Parcel


class _Channel:
    """A channel that waits before it writes, as aiormq does while its socket is full."""

    def __init__(self) -> None:
        self.closing = asyncio.get_running_loop().create_future()
        self.on_consumer_cancel_callbacks: set[Any] = set()
        self.written: list[int] = []
        self.published: list[str] = []
        self.all_published = asyncio.Event()

    async def basic_ack(self, tag: int, multiple: bool) -> None:
        # The first one of a run of them waits longest, so that those of others would overtake it.
        for _ in range(10 - tag):
            await asyncio.sleep(0)
        self.written.append(tag)

    async def basic_publish(self, body: bytes, *, routing_key: str, **options: Any) -> None:
        """Confirmed at once, or never."""
        self.published.append(routing_key)
        if len(self.published) == 4:
            self.all_published.set()
        if routing_key == "never":
            await asyncio.get_running_loop().create_future()

    async def close(self) -> None:
        await asyncio.get_running_loop().create_future()


def test_acknowledgements_do_not_overtake_each_other() -> None:
    async def main() -> list[int]:
        channel = _Channel()
        port = Plain(channel)  # type: ignore[arg-type]  # it has what is used here
        await asyncio.gather(port.settle([(2, True), (7, False)]), port.settle([(8, True)]))
        return channel.written

    assert asyncio.run(main()) == [2, 7, 8]


def test_who_waits_for_a_confirm_hears_that_the_channel_is_gone_though_the_broker_never_answers() -> None:
    async def main() -> tuple[list[str], object]:
        channel = _Channel()
        port = Plain(channel)  # type: ignore[arg-type]  # it has what is used here
        properties = write_properties(Properties(delivery_mode=2))
        parcel = Parcel("", ["at once", "never", "at once", "never"], list("abcd"), [properties] * 4, [b""] * 4)
        publishing = asyncio.ensure_future(port.publish(parcel))
        await channel.all_published.wait()
        port.lose(ConnectionError("it took too long"))
        return channel.published, await asyncio.wait_for(publishing, 5)

    published, answer = asyncio.run(main())
    assert len(published) == 4
    assert answer == ([1, 3], {})
