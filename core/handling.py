"""Which message a handler is called with, for what runs inside of it: log lines, spans."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from itertools import islice
from operator import length_hint
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

if TYPE_CHECKING:
    from warren.core.message import Metadata

__all__ = ["Around", "Handling", "Told", "beginnings", "followed", "handled", "here"]

T = TypeVar("T")
Around: TypeAlias = "Mapping[int, Callable[[], AbstractContextManager[object]]]"
"""What is entered around the calls with some messages, by their places."""

beginnings: list[Callable[[], object]] = []
"""What the processes of a pool call before anything else; each can be pickled."""

here: ContextVar[Handling | None] = ContextVar("warren-handling", default=None)


class Told(NamedTuple):
    """What there is to say of a call: by which pipeline, in which stage, with which message, where it is one."""

    pipeline: str
    stage: str
    metadata: Metadata | None


class Handling:
    """So many messages that a step handles. Which one a handler is called with, is found out when somebody asks.

    ``told`` gives what there is to say of one, by its place, or of none where that is -1. ``rest`` iterates over those that
    are still to come.

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
        """What there is to say of the message that is handled now."""
        return self.told(self.place)

    def entered(self) -> AbstractContextManager[object]:
        """What is to be entered around a call with the message that is handled now."""
        around = self.around.get(self.place)
        return nullcontext() if around is None else around()

    def beginning(self, rest: Iterator[Any], count: int) -> Around | None:
        """Say that a function is called with values that are to come; gives what is to be entered, the first time."""
        if count != self.count or length_hint(rest, -1) != count:
            return None
        self.rest = rest
        around, self.around = self.around, {}
        return around

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


def followed(function: Callable[[Any], T], rest: Iterator[Any], count: int, around: Around, results: list[T]) -> None:
    """Add the answers of a function for the rest of so many values; only around some calls, by place, something is entered.

    It ends early where the function raises `StopIteration`, which looks like the end of the values.
    """
    for place in sorted(around):
        before = place - (count - length_hint(rest))
        if before < 0:
            continue
        had = len(results)
        results.extend(map(function, islice(rest, before)))
        if len(results) < had + before:
            return
        try:
            with around[place]():
                answer = function(next(rest))
        except StopIteration:
            return
        results.append(answer)
    results.extend(map(function, rest))
