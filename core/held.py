"""Which values are held back for a retry."""

from __future__ import annotations

from collections.abc import KeysView, Sequence
from typing import TypeAlias

from warren.core.shares import Share
from warren.core.tokens import Merge, Part, Parts, Token, origins

__all__ = ["Early", "Held"]

Early: TypeAlias = "dict[Token, None]"
"""What a step held back and another one let go, so that the first has yet to hear of it."""


class Held:
    """The tokens of values that are held back for a retry; what comes of a chunk is found at the cost of what is held.

    >>> held, mine = Held(), {}
    >>> held.wait(5, mine); held.wait(7, mine)
    >>> held.resume([4, 5, 6], mine), held.resume([7]), list(mine)
    ([5], [], [7])
    >>> held.resume([7, 8], mine)
    [7]
    """

    def __init__(self) -> None:
        self._tokens: dict[Token, Early | None] = {}
        self._origins: dict[int, int] = {}
        self.plain = True
        """Whether no value was ever split or put together, so that each has the token of its message."""

    @property
    def messages(self) -> KeysView[int]:
        """The source tokens that they descend from."""
        return self._origins.keys()

    def wait(self, token: Token, early: Early | None) -> None:
        """Hold a value back. Should it be resumed with another ``early``, it is put into this one."""
        if token not in self._tokens:
            origin = next(origins(token))
            self._origins[origin] = self._origins.get(origin, 0) + 1
        self._tokens[token] = early

    def resume(self, tokens: Sequence[Token], early: Early | None = None) -> Sequence[Token]:
        """Hold values back no more, nor what they were made of; returns what was held back with this ``early``."""
        mine: list[Token] = []
        if self._tokens:
            for token in dict.fromkeys(self._among(self._tokens.keys(), tokens)):
                theirs = self._let_go(token)
                if theirs is early:
                    mine.append(token)
                elif theirs is not None:
                    theirs[token] = None
        if early:
            mine += dict.fromkeys(self._among(early.keys(), tokens))
        return mine

    def ended(self, tokens: Sequence[int]) -> None:
        """Messages have reached their end, so none of their values is held back."""
        if self._origins and _meet(self._origins.keys(), tokens):
            ended = set(tokens)
            for token in [token for token in self._tokens if next(origins(token)) in ended]:
                self._let_go(token)

    def _let_go(self, token: Token) -> Early | None:
        origin = next(origins(token))
        self._origins[origin] -= 1
        if not self._origins[origin]:
            del self._origins[origin]
        return self._tokens.pop(token)

    def _among(self, some: KeysView[Token], tokens: Sequence[Token]) -> list[Token]:
        """Those of some tokens that are among others, or that these were made of."""
        while type(tokens) is Parts and tokens.whole:
            tokens = tokens.parents
        found = list(filter(some.__contains__, tokens)) if _meet(some, tokens) else []
        if not self.plain and type(tokens) not in (range, Share):
            if parents := dict.fromkeys(token.split.parent for token in tokens if isinstance(token, Part)):
                found += self._among(some, list(parents))
            for token in tokens:
                if isinstance(token, Merge):
                    for segment in token.segments:
                        found += self._among(some, segment)
        return found


def _meet(some: KeysView[Token] | KeysView[int], tokens: Sequence[Token]) -> bool:
    """Whether any of some tokens is among others; runs are not gone through for that."""
    run = tokens.run if type(tokens) is Share else tokens
    if type(run) is range and len(some) < len(run) and not any(type(each) is int and each in run for each in some):
        return False
    return not some.isdisjoint(tokens)
