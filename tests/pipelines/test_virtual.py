from __future__ import annotations

import asyncio
import time

from warren.pipelines.virtual import VirtualLoop


def test_time_jumps_to_what_is_next_and_order_is_kept() -> None:
    loop = VirtualLoop()
    seen: list[tuple[str, float]] = []

    async def nap(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        seen.append((name, loop.time()))

    async def main() -> None:
        await asyncio.gather(nap("year", 365 * 86400), nap("hour", 3600), nap("now", 0))

    began = time.monotonic()
    loop.run_until_complete(main())
    loop.close()
    assert [name for name, _ in seen] == ["now", "hour", "year"]
    assert [round(at) for _, at in seen] == [0, 3600, 365 * 86400]
    assert time.monotonic() - began < 5


def test_timeouts_are_in_virtual_time() -> None:
    loop = VirtualLoop()

    async def main() -> bool:
        try:
            async with asyncio.timeout(3600):
                await asyncio.sleep(7200)
        except TimeoutError:
            return True
        return False

    assert loop.run_until_complete(main())
    loop.close()


def test_what_a_thread_answers_is_waited_for() -> None:
    loop = VirtualLoop()
    assert loop.run_until_complete(asyncio.wait_for(_in_thread(), None)) == 42
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


async def _in_thread() -> int:
    return await asyncio.to_thread(lambda: 42)
