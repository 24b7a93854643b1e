"""What steps remember between runs: values by key, and which messages are already counted in them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence, Set
from itertools import chain
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol, TypeAlias

from warren.core.chunk import Chunk
from warren.core.counted import Counted
from warren.core.errors import StateError, shorten
from warren.core.frozen import Keys, freeze
from warren.core.receipt import Ledger, Token

__all__ = ["TIMED", "Change", "Kept", "Rows", "StateStore", "Table"]

TIMED = -1
"""The part under which a value is kept together with the time of its last change."""

Rows: TypeAlias = dict[tuple[bytes, int], bytes]
"""What a step keeps: a value for each key and part, as `warren.core.frozen` has them. Most steps have one part, 0, each."""


_EMPTY: Mapping[Any, Any] = MappingProxyType({})


class Kept(NamedTuple):
    """What a store has of one step: its rows, and the ids of the messages that are counted in them, oldest first."""

    rows: Rows
    counted: list[list[str]]


class Change(NamedTuple):
    """What a checkpoint changes of one step.

    ``removed`` are keys that go with all their parts, before ``put`` is written. ``counted`` are the ids of messages that
    are counted in it since the last checkpoint; of the older lists of them the first ``forgotten`` are needed no more.
    """

    step: str
    version: int
    removed: Sequence[bytes]
    put: Rows
    counted: Sequence[str]
    forgotten: int


class StateStore(Protocol):
    """Where a pipeline keeps its state. A checkpoint is taken over whole or not at all.

    It is called in a thread of its own, unless it has a ``waits`` that is false: then nothing in it ever waits.
    """

    def open(self, pipeline: str) -> Mapping[str, tuple[int, Kept]]:
        """What is there by step, each with the version its shape has; nobody else may write until `close`."""
        ...

    def commit(self, changes: Sequence[Change]) -> None:
        """Make a checkpoint durable. Raises `StorageError` where that cannot be, and then nothing has changed."""
        ...

    def close(self) -> None:
        """Let go of it. Closing twice does nothing."""
        ...


class Table(dict[Hashable, Any]):
    """The state of one step by key, in memory; it notes what the next checkpoint has to write.

    Change it by `update`, `put` and `remove` alone. ``before`` is called before a checkpoint looks at it. Messages whose
    effect it has are named by `count`; of those that come once more, after a restart or a lost connection, `parted` tells.
    ``rows`` are those of a file, thawed: what they have under other parts than 0 is in ``parts``, for the step to take over.

    >>> table = Table("1:scan", Ledger(lambda delivery, tokens, outcome: None), {("a", 0): 5})
    >>> table.update({"a": 6, "b": 1})
    >>> len(table.change(keep=10).put)
    2
    """

    def __init__(
        self,
        step: str,
        ledger: Ledger,
        rows: Mapping[tuple[Hashable, int], Any] = _EMPTY,
        counted: Sequence[list[str]] = (),
        version: int = 1,
        keys: Keys | None = None,
    ) -> None:
        super().__init__((key, value) for (key, part), value in rows.items() if part == 0)
        self._times: dict[Hashable, float] = {key: value[1] for (key, part), value in rows.items() if part == TIMED}
        self._keeps_times = False
        self.step = step
        self.version = version
        self.before: Callable[[], None] | None = None
        self.due: Callable[[], None] = _nothing
        self.apart: Callable[[Chunk], None] = _nothing
        self.renew: Callable[[Hashable, Any], Any] | None = None
        """Makes of what a key had a new value; only where the file has an older version."""
        self.parts = {place: value for place, value in rows.items() if place[1] > 0}
        self._ledger = ledger
        self._keys = keys if keys is not None else Keys()
        self._dirty: set[Hashable] = set()
        self._put: dict[tuple[Hashable, int], Any] = {}
        self.removed: set[Hashable] = set()
        """The keys that go with the next checkpoint."""
        self._counted = Counted(ledger, counted)
        # Ids of which a copy that came again was counted, and its delivery: any other copy is of the same message.
        self._again: dict[str, int] = {}
        self._repeated: set[str] = set()
        super().update((key, value[0]) for (key, part), value in rows.items() if part == TIMED)

    def timed(self, now: float) -> dict[Hashable, float]:
        """Keep the time of each value's last change with it: these by key, for the step to go on with.

        Values that were kept without one count as changed now.
        """
        plain = self.keys() - self._times.keys()
        self._rewrite(plain)
        self._times.update(dict.fromkeys(plain, now))
        self._keeps_times = True
        return self._times

    def _rewrite(self, keys: Set[Hashable]) -> None:
        """Have the rows of some keys go, and what belongs to the keys written anew."""
        self.removed.update(keys)
        self._dirty.update(self.keys() & keys)

    def update(self, changes: Mapping[Hashable, Any], /) -> None:  # type: ignore[override]  # one form of it is enough
        """Take over new values of some keys."""
        super().update(changes)
        self._dirty.update(changes)

    def put(self, key: Hashable, part: int, value: Any) -> None:
        """Note one part of what belongs to a key, which the step has in memory itself; parts but 0 amid ``before`` alone."""
        self._put[key, part] = value

    def remove(self, keys: Iterable[Hashable]) -> None:
        """Forget keys with all their parts."""
        for key in keys:
            self.pop(key, None)
            self._dirty.discard(key)
            self._put.pop((key, 0), None)
            self.removed.add(key)

    def ids(self, tokens: Sequence[Token]) -> Sequence[str]:
        """The ids of messages, told apart by their sources; empty where one has none."""
        ledger = self._ledger
        ids = ledger.columns(tokens).ids or [""] * len(tokens)
        if not ledger.scopes:
            return ids
        return [id and ledger.scope(token) + id for id, token in zip(ids, tokens, strict=True)]

    def parted(self, chunk: Chunk) -> tuple[Chunk | None, Chunk]:
        """The messages of a chunk that have had their effect before (usually ``None``), and the others.

        Only what is handed out once more can have had it, so two messages to which their publisher gave one id both count,
        unless one of them was handed out again. Of copies of one message in one chunk the first is taken; it may fail
        yet, so the others are handed to ``apart``.
        """
        if not chunk.values:
            return None, chunk
        repeated: Sequence[bool] | None = [True] * len(chunk) if chunk.attempt > 1 else None
        if repeated is None:
            repeated = self._ledger.repeated(chunk.tokens)
        if repeated is None and not self._again:
            return None, chunk
        ids = self._counted.ids
        pairs = list(zip(repeated or [False] * len(chunk), self.ids(chunk.tokens), strict=True))
        counted = [id in self._again or (again and id in ids) for again, id in pairs]
        self._repeated = {id for again, id in pairs if again and id}
        first: set[str] = set()
        copies: list[bool] = []
        for (_, id), old in zip(pairs, counted, strict=True):
            copies.append(not old and id in first)
            if id in self._repeated:
                first.add(id)
        fresh = chunk.select([not old and not copy for old, copy in zip(counted, copies, strict=True)])
        if any(copies):
            self.apart(chunk.select(copies))
        if not any(counted):
            return None, fresh
        known = chunk.select(counted)
        # It is not settled, so it may come once more after another crash.
        self.count(known.tokens)
        return known, fresh

    def knows(self, id: str) -> bool:
        """Whether a message of that id has had its effect, and may come again."""
        return id in self._counted.ids

    def count(self, tokens: Sequence[Token]) -> Sequence[str]:
        """Say that these messages have had their effect; returns their ids, empty where one has none."""
        if not tokens:
            return ()
        ids = self.ids(tokens)
        self._counted.add(ids, tokens)
        if again := self._repeated.intersection(ids):
            self._again.update(dict.fromkeys(again, max(self._ledger.numbers(tokens))))
        return ids

    def _changed(self) -> Iterable[tuple[tuple[Hashable, int], Any]]:
        if self._keeps_times:
            return (((key, TIMED), (self[key], self._times[key])) for key in self._dirty)
        return (((key, 0), self[key]) for key in self._dirty)

    def change(self, keep: int, waiting: frozenset[int] = frozenset()) -> Change:
        """What the next checkpoint has to write.

        The ids of the last ``keep`` messages counted are kept, of those that are unsettled, and of the deliveries
        ``waiting``, which are settled and will be acknowledged when it is written.

        Raises `StateError` for a state that cannot be made bytes of.
        """
        if self.before is not None:
            self.before()
        if self._times and not self._keeps_times:
            # The step kept times before and does so no more.
            self._rewrite(self._times.keys())
            self._times.clear()
        put: Rows = {}
        for (key, part), value in chain(self._changed(), self._put.items()):
            try:
                put[self._keys.freeze(key), part] = freeze(value)
            except Exception as error:
                raise StateError(
                    f"{self.step}: the state {shorten(value)} of key {shorten(key)} cannot be kept ({error}); let it be "
                    f"made of numbers, texts, lists, dicts and classes that are defined in a module"
                ) from error
        removed = list(map(self._keys.freeze, self.removed))
        for key in self.removed:
            if key not in self:
                self._keys.forget(key)
        self._dirty, self._put, self.removed = set(), {}, set()
        counted, forgotten = self._counted.turn(keep, waiting)
        if forgotten and self._again:
            # Other copies may still be on their way, behind which others have come.
            oldest, known = self._ledger.oldest, self._counted.ids
            self._again = {id: number for id, number in self._again.items() if number > oldest or id in known}
        return Change(self.step, self.version, removed, put, counted, forgotten)


def _nothing(*_: object) -> None:
    pass
