"""`distinct_until_changed`: only the values that differ from the one before."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from operator import ne
from typing import Any, TypeVar

from warren.core.chunk import Chunk, apply_each
from warren.core.graph import Operator, name_of
from warren.core.receipt import FILTERED, Kind, Outcome
from warren.core.stage import Handler, Stage
from warren.operators.filter import part
from warren.operators.keys import answers, check_function, keys_of

__all__ = ["distinct_until_changed"]

T = TypeVar("T")


def distinct_until_changed(
    of: Callable[[T], Any] | None = None, *, by: Callable[[T], Hashable] | None = None
) -> Operator[T, T]:
    """Let a value pass if it differs from the one before it; the others are settled at once.

    ``of`` gives what is compared (by ``==``) in place of the value. With ``by`` each key has its own one before. This is the
    consecutive form: of 1, 1, 2, 1 it lets 1, 2, 1 pass. To drop what was seen at any time before, see `deduplicate`.

    Keeps the delivery guarantee: a message is dropped, and acknowledged, only where one that says the same was let through
    before it. If that one then fails for good or goes back to its source, it counts as not seen: the next value passes, and
    so does the message itself when it comes again. What came before lives in memory, one value for each key that ever came;
    after a restart the first value passes. Steps behind must not change a value in place where ``of`` gives part of it.

    A message fails where ``of``, ``by`` or the comparison raises; it is not compared with. Raises `GraphError` where ``of``
    or ``by`` is no function, or is ``async``.

    >>> from warren import Pipeline
    >>> from warren.connectors import memory
    >>> changes = distinct_until_changed()
    >>> Pipeline("changes", memory.items([]) | changes | memory.into([])).test([1, 1, 2, 1]).values
    [1, 2, 1]
    """
    if of is not None:
        check_function(of, "distinct_until_changed(of=...)", "give a function of one value that gives what is compared")
    if by is not None:
        check_function(by, "distinct_until_changed(by=...)", "give a function of one value that gives its key")
    return _Changes(of, by)


class _Changes(Operator[Any, Any]):
    passes = True

    def __init__(self, of: Callable[[Any], Any] | None, by: Callable[[Any], Hashable] | None) -> None:
        self.of = of
        self.by = by

    @property
    def name(self) -> str:
        of = "" if self.of is None else name_of(self.of)
        by = "" if self.by is None else f"by {name_of(self.by)}"
        return f"distinct_until_changed({' '.join(filter(None, (of, by)))})"

    @property
    def guarantee(self) -> str:
        return "the first value after a restart passes"

    def attach(self, stage: Stage) -> Handler:
        return _Last(self, stage).take


class _Last:
    """What was let through last for each key, and by which message while that is in flight."""

    def __init__(self, operator: _Changes, stage: Stage) -> None:
        self.operator = operator
        self.stage = stage
        self.last: dict[Hashable, Any] = {}
        self.owner: dict[Hashable, int] = {}
        # The keys that each message in flight has set; most have set one.
        self.owned: dict[int, Hashable] = {}
        self.more_owned: dict[int, list[Hashable]] = {}
        stage.ledger.watch(self.settled)

    def take(self, chunk: Chunk) -> Chunk:
        of, by = self.operator.of, self.operator.by
        if by is None:
            compared: Sequence[Any] = chunk.values
            if of is not None:
                compared, chunk, chunk.failures = answers(self.stage, of, chunk)
            mask = self.compare(compared) if chunk.attempt == 1 else None
            if mask is not None:
                self.own(None, compared, chunk, mask)
                return self.kept(chunk, mask)
            keys: Sequence[Hashable] = [None] * len(compared)
        else:
            keys, chunk, failures = keys_of(self.stage, by, chunk)
            compared = chunk.values
            if of is not None:
                known = dict(zip(chunk.tokens, keys, strict=True))
                compared, chunk, more = answers(self.stage, of, chunk)
                keys = [known[token] for token in chunk.tokens]
                failures += more
            chunk.failures = failures
        return self.each(chunk, keys, compared)

    def compare(self, values: Sequence[Any]) -> list[bool] | None:
        """Which values differ from the one before, all at once; ``None`` where a comparison does not answer so."""
        if not values:
            return []
        known = None in self.last
        try:
            mask = [not known or self.last[None] != values[0], *map(ne, values[1:], values)]
        except Exception:
            return None
        return mask if set(map(type, mask)) == {bool} else None

    def own(self, key: Hashable, values: Sequence[Any], chunk: Chunk, mask: Sequence[bool]) -> None:
        """Remember the last change of a chunk."""
        for i in range(len(mask) - 1, -1, -1):
            if mask[i]:
                self.set(key, values[i], chunk.tokens[i])
                return

    def set(self, key: Hashable, value: Any, token: Any) -> None:
        origin = token if type(token) is int else next(self.stage.ledger.origins(token))
        self.last[key] = value
        self.owner[key] = origin
        if origin not in self.owned:
            self.owned[origin] = key
        elif self.owned[origin] != key:
            self.more_owned.setdefault(origin, []).append(key)

    def each(self, chunk: Chunk, keys: Sequence[Hashable], compared: Sequence[Any]) -> Chunk:
        last = self.last
        again: set[Hashable] | None = set() if chunk.attempt > 1 else None

        def changed(place: tuple[Hashable, Any, Any]) -> bool:
            key, value, token = place
            # A step around this one, such as timeout, may put the message that set it through once more.
            mine = again is not None and key not in again and self.owner.get(key) == next(self.stage.ledger.origins(token))
            if not mine and key in last and last[key] == value:
                return False
            self.set(key, value, token)
            if again is not None:
                again.add(key)
            return True

        places = list(zip(keys, compared, chunk.tokens, strict=True))
        mask, errors = apply_each(changed, places)
        if errors:
            passed, chunk = chunk.failures, self.stage.without(chunk, errors)
            chunk.failures = [*passed, *chunk.failures]
        return self.kept(chunk, mask)

    def kept(self, chunk: Chunk, mask: Sequence[bool]) -> Chunk:
        kept, dropped = part(chunk, mask)
        self.stage.settle(dropped, FILTERED)
        return kept

    def settled(self, tokens: Sequence[int], outcome: Outcome) -> None:
        """Forget values that did not get through."""
        owned, more = self.owned, self.more_owned
        mine: Iterable[int] = tokens
        if len(owned) < len(tokens) and type(tokens) is range:
            mine = [origin for origin in owned if origin in tokens]
        for token in mine:
            if token not in owned:
                continue
            key = owned.pop(token)
            for each in (key, *more.pop(token)) if token in more else (key,):
                # A later message may have set it meanwhile.
                if self.owner.get(each) == token:
                    del self.owner[each]
                    if outcome.kind >= Kind.DEAD_LETTERED:
                        del self.last[each]
