"""What steps remember between runs: values by key, and which messages are already counted in them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from itertools import chain
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol, TypeAlias

from warren.core.chunk import Chunk
from warren.core.errors import StateError, shorten
from warren.core.frozen import freeze, freeze_key
from warren.core.receipt import Ledger, Token

__all__ = ["Change", "Kept", "Rows", "StateStore", "Table"]

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
    """Where a pipeline keeps its state. A checkpoint is taken over whole or not at all."""

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
    effect it has are named by `count`; of those that come once more, after a restart or a lost connection, `counted` tells.
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
    ) -> None:
        super().__init__((key, value) for (key, part), value in rows.items() if part == 0)
        self.step = step
        self.version = version
        self.before: Callable[[], None] | None = None
        self.parts = {place: value for place, value in rows.items() if place[1]}
        self._ledger = ledger
        self._dirty: set[Hashable] = set()
        self._put: dict[tuple[Hashable, int], Any] = {}
        self.removed: set[Hashable] = set()
        """The keys that go with the next checkpoint."""
        self._fresh: list[str] = []
        self._generations = deque(counted)
        self._counted = set(chain.from_iterable(counted))

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
        """The ids of messages; empty where one has none."""
        return self._ledger.columns(tokens).ids or [""] * len(tokens)

    def counted(self, chunk: Chunk) -> list[bool] | None:
        """Which of these messages have had their effect before; ``None`` where none has, which is the usual case.

        Only of what is handed out once more, so that two messages to which their publisher gave one id both count.
        """
        repeated: Sequence[bool] | None = [True] * len(chunk) if chunk.attempt > 1 else None
        if repeated is None and chunk.values:
            repeated = self._ledger.repeated(chunk.tokens)
        if repeated is None:
            return None
        found = [again and id in self._counted for again, id in zip(repeated, self.ids(chunk.tokens), strict=True)]
        return found if any(found) else None

    def count(self, tokens: Sequence[Token]) -> None:
        """Say that these messages have had their effect."""
        if tokens:
            ids = [id for id in self.ids(tokens) if id]
            self._fresh += ids
            self._counted.update(ids)

    def change(self, keep: int) -> Change:
        """What the next checkpoint has to write; the ids of the last ``keep`` messages counted are kept.

        Raises `StateError` for a state that cannot be made bytes of.
        """
        if self.before is not None:
            self.before()
        put: Rows = {}
        for (key, part), value in chain((((key, 0), self[key]) for key in self._dirty), self._put.items()):
            try:
                put[freeze_key(key), part] = freeze(value)
            except Exception as error:
                raise StateError(
                    f"{self.step}: the state {shorten(value)} of key {shorten(key)} cannot be kept ({error}); let it be "
                    f"made of numbers, texts, lists, dicts and classes that are defined in a module"
                ) from error
        removed = list(map(freeze_key, self.removed))
        counted = self._fresh
        self._dirty, self._put, self.removed, self._fresh = set(), {}, set(), []
        forgotten = 0
        rest = len(counted) + sum(map(len, self._generations))
        while self._generations and rest - len(self._generations[0]) >= keep:
            oldest = self._generations.popleft()
            rest -= len(oldest)
            self._counted.difference_update(oldest)
            forgotten += 1
        if counted:
            self._generations.append(counted)
        return Change(self.step, self.version, removed, put, counted, forgotten)
