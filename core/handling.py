"""Which message a handler is called with, for what runs inside of it: log lines, spans."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from operator import length_hint
from typing import Any, TypeAlias, TypeVar

__all__ = ["Around", "Handling", "beginnings", "handled", "here"]

T = TypeVar("T")
Around: TypeAlias = "Mapping[int, Callable[[], AbstractContextManager[object]]]"
"""What is entered around the calls with some messages, by their places."""

beginnings: list[Callable[[], object]] = []
"""What the processes of a pool call before anything else; each can be pickled."""

here: ContextVar[Handling | None] = ContextVar("warren-handling", default=None)


class Handling:
    """So many messages that a step handles. Which one a handler is called with, is found out when somebody asks.

    ``told`` gives what there is to say of one, by its place. ``rest`` iterates over those that are still to come.

    >>> handling = Handling(2, ["a", "b"].__getitem__)
    >>> with handled(handling):
    ...     handling.rest = iter(["first", "second"])
    ...     [handling.asked() for value in handling.rest]
    ['a', 'b']
    """

    __slots__ = ("around", "count", "rest", "told")

    def __init__(self, count: int, told: Callable[[int], Any], around: Around | None = None) -> None:
        self.count = count
        self.told = told
        self.around: Around = around or {}
        self.rest: Iterator[Any] | None = None

    @property
    def place(self) -> int:
        """The place of the message that is handled now; -1 where several are at once."""
        if self.count == 1:
            return 0
        return -1 if self.rest is None else self.count - length_hint(self.rest) - 1

    def asked(self) -> Any:
        """What there is to say of the message that is handled now; ``None`` where several are at once."""
        place = self.place
        return None if place < 0 else self.told(place)

    def entered(self) -> AbstractContextManager[object]:
        """What is to be entered around a call with the message that is handled now."""
        around = self.around.get(self.place)
        return nullcontext() if around is None else around()

    def calling(self, function: Callable[[Any], T], rest: Iterator[Any]) -> Callable[[Any], T]:
        """The function to call with each of the values that are to come, in their order."""
        self.rest = rest
        around, self.around = self.around, {}
        if not around:
            return function

        def call(value: Any) -> T:
            enter = around.get(self.place)
            if enter is None:
                return function(value)
            with enter():
                return function(value)

        return call

    async def answer(self, function: Callable[[Any], Awaitable[T]], value: Any) -> T:
        """What an ``async`` function answers that is called with them."""
        with handled(self), self.entered():
            return await function(value)

    def within(self, function: Callable[..., T], *given: Any) -> T:
        """What a function answers that handles them in another thread."""
        with handled(self):
            return function(*given)


@contextmanager
def handled(handling: Handling | None) -> Iterator[None]:
    """While it lasts, what runs here knows what it handles."""
    mark = here.set(handling)
    try:
        yield
    finally:
        here.reset(mark)
