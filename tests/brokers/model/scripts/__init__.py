"""Conversations with a broker, noted frame by frame: the model and a real node must answer each of them alike."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

from tests.brokers.model.talker import Seen, Talker

__all__ = ["SCRIPTS", "Scene", "Script", "Seen", "perform", "script"]

# What no two brokers say alike.
DIFFERING = ("time", "server_properties", "mechanisms")
INVENTED = re.compile(r"amq\.(gen|ctag)-[\w-]{22}")


class Scene:
    """Where a script plays: a broker's address, and what was noted there."""

    def __init__(self, host: str, port: int, vhost: str) -> None:
        self.host = host
        self.port = port
        self.vhost = vhost
        self.notes: list[Seen] = []
        self.talkers: list[Talker] = []

    async def connect(self) -> Talker:
        """A connection on which nothing was said yet."""
        talker = await Talker.connect(self.host, self.port, self.notes)
        self.talkers.append(talker)
        return talker

    async def talker(self, *channels: int, confirm: bool = False) -> Talker:
        """A connection that is open, with these channels."""
        talker = await self.connect()
        await talker.shake_hands(self.vhost)
        for channel in channels:
            await talker.open(channel, confirm)
        return talker

    def plain(self, value: Any) -> Any:
        """A note without what differs from run to run: names that the broker invents, times, the vhost's name."""
        if isinstance(value, dict):
            return {name: "…" if name in DIFFERING else self.plain(each) for name, each in value.items()}
        if isinstance(value, list):
            return [self.plain(each) for each in value]
        if isinstance(value, str):
            return INVENTED.sub(r"amq.\1", value).replace(f"'{self.vhost}'", "'/'")
        return value


Script = Callable[[Scene], Awaitable[None]]
SCRIPTS: dict[str, Script] = {}


def script(function: Script) -> Script:
    """Enter a script into the list."""
    SCRIPTS[function.__name__] = function
    return function


async def perform(act: Script, host: str, port: int, vhost: str = "/") -> list[Seen]:
    """Play one script on a broker and return the notes."""
    scene = Scene(host, port, vhost)
    try:
        await act(scene)
    except Exception as error:
        error.add_note("\n".join(["so far:", *(str(scene.plain(note)) for note in scene.notes)]))
        raise
    finally:
        for talker in scene.talkers:
            await talker.close()
    return [scene.plain(note) for note in scene.notes]
