"""A plugin for warren: the operator `shout`, the content type ``text/x-rot13``, ``crowd:`` addresses, the detector `Din`."""

from __future__ import annotations

import codecs
import struct
from collections.abc import Callable, Mapping
from typing import Any

from warren.analytics import Detector
from warren.analytics.detectors import number
from warren.analytics.moments import At
from warren.connectors import memory
from warren.connectors.address import Address
from warren.core.chunk import Chunk, apply_each
from warren.core.errors import AddressError, GraphError
from warren.core.graph import Operator, Outlet
from warren.core.stage import Handler, Stage

__all__ = ["Crowd", "Din", "Rot13", "heard", "shout"]


def shout(mark: str = "!") -> Operator[str, str]:
    """Make each text loud.

    Keeps the delivery guarantee: what is no text fails, and nothing is held back.

    >>> from warren import Pipeline
    >>> Pipeline("loud", memory.items([]) | shout() | memory.into([])).test(["hear me"]).values
    ['HEAR ME!']
    """
    if not isinstance(mark, str):
        raise GraphError(f"shout({mark!r}): give a text, such as shout('!')")
    return _Shout(mark)


class _Shout(Operator[str, str]):
    def __init__(self, mark: str) -> None:
        self.mark = mark

    @property
    def name(self) -> str:
        return f"shout({self.mark})"

    def attach(self, stage: Stage) -> Handler:
        def loud(value: str) -> str:
            return value.upper() + self.mark

        def handle(chunk: Chunk) -> Chunk:
            # What raises is one message's failure; the others go on.
            results, errors = apply_each(loud, chunk.values)
            return stage.survivors(chunk, results, errors)

        return handle


class Rot13:
    """Reads and writes text that nobody shall read by accident."""

    content_types = ("text/x-rot13",)

    def decoder(self, type: Any) -> Callable[[bytes], Any]:
        """From bytes to text; there is no other type."""
        if type not in (str, Any):
            raise TypeError("it is read as str")
        return lambda body: codecs.decode(body.decode(), "rot13")

    def encoder(self) -> Callable[[Any], bytes]:
        """From a value to bytes."""
        return lambda value: codecs.encode(str(value), "rot13").encode()


heard: dict[str, list[Any]] = {}
"""What was written to each crowd."""


class Crowd:
    """``crowd:NAME``: a source of three voices, and a sink that keeps what it is told in `heard`."""

    @staticmethod
    def source(address: Address, type: Any = None) -> Voices:
        """The voices of a crowd."""
        address.only()
        if type is not None:
            raise AddressError(f"{address.text}: a crowd gives texts as they are; leave the type out")
        return Voices(address.path)

    @staticmethod
    def sink(address: Address) -> Outlet[Any]:
        """The ears of a crowd."""
        address.only()
        return memory.into(heard.setdefault(address.path, []))


class Voices(memory.Items[str]):
    """Three texts, as a source that ends. What a source of a system outside must do: `warren.core.graph.SourceConnection`.

    Delivery: what is released comes again, until it is acknowledged; nothing outlives the process.
    """

    def __init__(self, crowd: str) -> None:
        super().__init__([f"{crowd} {number}" for number in (1, 2, 3)])
        self.crowd = crowd

    @property
    def name(self) -> str:
        """The address."""
        return f"crowd:{self.crowd}"


class Din(Detector):
    """Finds what is far louder than all before: how many times the loudest one.

    ``warren.analytics.check_detector`` says whether a detector keeps its contract. Raises `GraphError` for a threshold
    that is not above 0.

    >>> din = Din()
    >>> din.learn_many([3, 5, 4])
    >>> din.score_one(20)
    4.0
    """

    def __init__(self, *, threshold: float = 2.0) -> None:
        if not threshold > 0:
            raise GraphError(f"Din(threshold={threshold}): a threshold is above 0")
        self.threshold = threshold
        self.loudest = 0.0

    def score_one(self, value: Any, at: At = None) -> float:
        """How many times the loudest one; 0 for what is missing, and while nothing was heard."""
        self.check(value, at)
        loud = number(value)
        return 0.0 if loud is None or not self.loudest else min(abs(loud) / self.loudest, 1000.0)

    def learn_one(self, value: Any, at: At = None) -> None:
        """Remember how loud it was."""
        self.check(value, at)
        loud = number(value)
        if loud is not None:
            self.loudest = max(self.loudest, abs(loud))
            self._learned(struct.pack("<d", loud))

    def state(self) -> dict[str, Any]:
        """The loudest one."""
        return {"loudest": self.loudest}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` gave."""
        self.loudest = state["loudest"]
