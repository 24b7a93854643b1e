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


def test_it_advances_to_a_time_and_stops_there() -> None:
    loop = VirtualLoop()
    seen: list[float] = []
    for due in (1, 2, 2, 3):
        loop.call_at(due, seen.append, due)
    loop.advance(1.5)
    assert (seen, loop.time()) == ([1], 1.5)
    loop.advance(2)
    assert (seen, loop.time()) == ([1, 2, 2], 2)
    loop.advance(10)
    assert (seen, loop.time()) == ([1, 2, 2, 3], 10)
    loop.close()


def test_what_follows_at_the_same_instant_is_done_before_it_stops() -> None:
    loop = VirtualLoop()
    seen: list[str] = []

    async def chain() -> None:
        await asyncio.sleep(1)
        for _ in range(50):
            await asyncio.sleep(0)
        seen.append("done")

    task = loop.create_task(chain())
    loop.advance(1)
    assert seen == ["done"]
    loop.run_until_complete(task)
    loop.close()


def test_time_goes_on_by_itself_after_it_was_advanced() -> None:
    loop = VirtualLoop()
    loop.advance(5)
    loop.run_until_complete(asyncio.sleep(10))
    assert loop.time() == 15
    loop.close()
