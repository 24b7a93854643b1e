from __future__ import annotations

import asyncio
import os
import signal
import threading

import pytest

from warren.core.wakeful import run, wakeful

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals")


def signalled() -> bool:
    """Whether a signal that another thread takes is heard while the loop waits."""
    heard = asyncio.Event()
    before = signal.signal(signal.SIGUSR1, lambda number, frame: heard.set())
    waits = threading.Event()

    def send() -> None:
        waits.wait()
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)

    async def main() -> bool:
        loop = asyncio.get_running_loop()
        # At the end of the wait it would be heard in any case.
        ended = loop.call_later(20, heard.set)
        loop.call_soon(waits.set)
        await heard.wait()
        return ended.when() - loop.time() > 10

    thread = threading.Thread(target=send)
    thread.start()
    try:
        return run(main())
    finally:
        thread.join()
        signal.signal(signal.SIGUSR1, before)


def test_a_signal_is_heard_while_the_loop_waits() -> None:
    assert all(signalled() for _ in range(20))
    assert signal.set_wakeup_fd(-1) == -1


def test_who_has_seen_to_it_already_is_left_alone() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, lambda: None)
        ours = signal.set_wakeup_fd(-1)
        signal.set_wakeup_fd(ours)
        with wakeful():
            assert signal.set_wakeup_fd(ours) == ours
        assert signal.set_wakeup_fd(ours) == ours
        loop.remove_signal_handler(signal.SIGUSR1)

    asyncio.run(main())


def test_another_thread_runs_as_ever() -> None:
    done: list[str] = []
    thread = threading.Thread(target=lambda: done.append(run(asyncio.sleep(0, "done"))))
    thread.start()
    thread.join()
    assert done == ["done"]
