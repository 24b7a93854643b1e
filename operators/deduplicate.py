"""`deduplicate`: drop what was seen within a time."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Sequence
from itertools import groupby
from math import inf
from typing import Any, TypeVar

from warren.core.chunk import Chunk
from warren.core.clock import Duration, seconds
from warren.core.errors import GraphError
from warren.core.graph import Operator, name_of
from warren.core.receipt import FILTERED, Kind, Merge, Outcome, Part, Token
from warren.core.stage import Handler, Stage
from warren.operators.keys import check_function, keys_of

__all__ = ["deduplicate"]

T = TypeVar("T")

# Virtual schedulers round to microseconds, so a timer may fire that much too early.
_TICK = 1e-6


def deduplicate(
    by: Callable[[T], Hashable] | None = None,
    within: Duration | None = "1h",
    *,
    limit: int | None = 1_000_000,
    patience: Duration = "1m",
) -> Operator[T, T]:
    """Drop a message that has come before: one with an id that was seen ``within`` that time, or a key that ``by`` gives.

    Without ``by`` the id is the one in the message's metadata; messages without an id all pass. A key counts as seen from
    the time its message is safe; with ``within=None`` it does so for ever. At most ``limit`` keys are remembered, some 300
    bytes each, the oldest are forgotten first; ``None`` remembers all that came within the time.

    Keeps the delivery guarantee, and makes it effectively once for what comes again while this run lasts. A key is seen only
    when the first message that has it is delivered, or filtered out further on. One that comes while the first is still in
    flight waits for that, and holds its credit: it is dropped when the first is safe, and goes on in its place when the
    first is dead-lettered or parked. So nothing is dropped on the strength of a message that failed, and a dead letter that
    is sent again passes. After ``patience`` it goes on without waiting any longer, so that the pipeline never stands still:
    then both may be delivered. In a branch, and where a message has become rows, this is so of each value; of rows of one
    message with the same key, the first stands for all. Without ``Pipeline(state=...)`` what was seen is kept in memory, so
    a message that comes again after a restart passes.

    A message whose key cannot be computed fails. Raises `GraphError` where ``by`` is no function or is ``async``, ``limit``
    is not a whole number from 1, or a time is not above zero.

    >>> from warren import Pipeline
    >>> from warren.connectors import memory
    >>> once = deduplicate(lambda order: order["id"], within="10m")
    >>> Pipeline("once", memory.items([]) | once | memory.into([])).test([{"id": 1}, {"id": 2}, {"id": 1}]).values
    [{'id': 1}, {'id': 2}]
    """
    if by is not None:
        check_function(by, "deduplicate(by=...)", "give a function of one value that gives its key")
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 1):
        raise GraphError(f"deduplicate(limit={limit!r}): limit must be a whole number of at least 1, or None")
    for time, name in ((within, "within"), (patience, "patience")):
        if time is not None and seconds(time) == 0:
            raise GraphError(f"deduplicate({name}={time!r}): {name} must be longer than 0")
    return _Deduplicate(by, inf if within is None else seconds(within), limit, seconds(patience))


class _Deduplicate(Operator[Any, Any]):
    passes = True

    def __init__(self, by: Callable[[Any], Hashable] | None, within: float, limit: int | None, patience: float) -> None:
        self.by = by
        self.within = within
        self.limit = limit
        self.patience = patience

    @property
    def name(self) -> str:
        key = "id" if self.by is None else name_of(self.by)
        return f"deduplicate({key}{'' if self.within == inf else f' within {self.within:g}s'})"

    @property
    def guarantee(self) -> str:
        return "drops what was safely delivered before"

    @property
    def holds(self) -> int | None:
        return None

    def attach(self, stage: Stage) -> Handler:
        return _Memory(self, stage).take


class _Waiter:
    """A duplicate, while the first with its key is in flight."""

    __slots__ = ("attempt", "deadline", "key", "token", "value")

    def __init__(self, key: Hashable, value: Any, token: Token, attempt: int, deadline: float) -> None:
        self.key = key
        self.value = value
        self.token = token
        self.attempt = attempt
        self.deadline = deadline


class _Memory:
    """Which keys were seen, which are in flight and with which message, and who waits for them."""

    def __init__(self, operator: _Deduplicate, stage: Stage) -> None:
        self.operator = operator
        self.stage = stage
        self.clock = stage.run.clock
        self.table = stage.table("deduplicate")
        kept: dict[Hashable, float] = {} if self.table is None else self.table
        self.seen: OrderedDict[Hashable, float] = OrderedDict(sorted(kept.items(), key=lambda item: item[1]))
        kept.clear()
        # The newest message in flight for each key, and all keys of each message in flight; most messages have one.
        self.flying: dict[Hashable, int] = {}
        self.claims: dict[int, Hashable] = {}
        self.more_claims: dict[int, list[Hashable]] = {}
        self.waiting: dict[Hashable, OrderedDict[_Waiter, None]] = {}
        self.queue: OrderedDict[_Waiter, None] = OrderedDict()
        self.going: deque[_Waiter] = deque()
        self.cancel: Callable[[], None] | None = None
        stage.ledger.watch(self.settled)

    def take(self, chunk: Chunk) -> Chunk:
        keys: Sequence[Hashable]
        if self.operator.by is None:
            keys = self.ids(chunk.tokens)
        else:
            keys, chunk, chunk.failures = keys_of(self.stage, self.operator.by, chunk)
        self.expire(self.clock())
        tokens = chunk.tokens
        if (
            self.seen.keys().isdisjoint(keys)
            and self.flying.keys().isdisjoint(keys)
            and set(map(type, tokens)) == {int}
            and len(distinct := dict(zip(keys, tokens, strict=True))) == len(keys)
            and "" not in distinct
        ):
            # Nothing in this chunk has come before, which is the usual case.
            self.flying.update(distinct)  # type: ignore[arg-type]  # all are int
            self.claims.update(zip(tokens, keys, strict=True))  # type: ignore[arg-type]
            return chunk
        return self.each(chunk, keys)

    def ids(self, tokens: Sequence[Token]) -> Sequence[str]:
        ids = self.stage.ledger.columns(tokens).ids
        if ids is None:
            return [""] * len(tokens)
        if type(tokens) is range:
            return ids
        # The id of a part is derived from its message's, and that may have none.
        return [
            "" if type(token) is not int and name.startswith(("/", "+")) else name
            for token, name in zip(tokens, ids, strict=True)
        ]

    def each(self, chunk: Chunk, keys: Sequence[Hashable]) -> Chunk:
        kept: list[bool] = []
        dropped: list[Token] = []
        by_id = self.operator.by is None
        again: set[tuple[Hashable, int]] | None = set() if chunk.attempt > 1 else None
        for key, value, token in zip(keys, chunk.values, chunk.tokens, strict=True):
            passes = by_id and key == ""
            if not passes:
                origin = next(self.stage.ledger.origins(token))
                mine = self.flying.get(key) == origin
                if key in self.seen or (mine and (again is None or (key, origin) in again)):
                    dropped.append(token)
                elif key in self.flying and not mine:
                    self.hold(_Waiter(key, value, token, chunk.attempt, self.clock() + self.operator.patience))
                else:
                    # A step around this one, such as timeout, may put a message through it once more.
                    if not mine:
                        self.claim(key, origin, token)
                    if again is not None:
                        again.add((key, origin))
                    passes = True
            kept.append(passes)
        rest = chunk.select(kept)
        rest.failures = chunk.failures
        self.stage.settle(dropped, FILTERED)
        return rest

    def claim(self, key: Hashable, origin: int, token: Token) -> None:
        self.flying[key] = origin
        while isinstance(token, Merge) and len(token.segments) == len(token.segments[0]) == 1:
            # Such as what `timeout` puts around a value.
            token = token.segments[0][0]
        if isinstance(token, Part):
            # Its message may have other parts that wait for the very message that waits here.
            self.stage.ledger.follow(token, lambda outcome: self.end([(key, origin)], outcome))
        if origin in self.claims:
            self.more_claims.setdefault(origin, []).append(key)
        else:
            self.claims[origin] = key

    def expire(self, now: float) -> None:
        seen, limit = self.seen, self.operator.limit
        oldest = now - self.operator.within
        gone: list[Hashable] = []
        while seen and (next(iter(seen.values())) <= oldest or (limit is not None and len(seen) > limit)):
            gone.append(seen.popitem(last=False)[0])
        if gone and self.table is not None:
            self.table.remove(gone)

    def settled(self, tokens: Sequence[int], outcome: Outcome) -> None:
        """Messages have reached their end."""
        claims, more = self.claims, self.more_claims
        if not claims:
            return
        missing = object()
        ended: list[tuple[Hashable, int]] = []
        for token in tokens:
            key = claims.pop(token, missing)
            if key is not missing:
                ended.append((key, token))
                if token in more:
                    ended += [(each, token) for each in more.pop(token)]
        self.end(ended, outcome)

    def end(self, ended: Sequence[tuple[Hashable, int]], outcome: Outcome) -> None:
        """Keys have reached their end with their messages: those that wait can be dropped, or go in their place."""
        if outcome.kind is Kind.RELEASED:
            # The run ends, and what waits goes back as well.
            return
        now = self.clock()
        dropped: list[Token] = []
        for key, origin in ended:
            newest = self.flying.get(key) == origin
            if newest:
                del self.flying[key]
            if outcome.kind < Kind.DEAD_LETTERED:
                self.seen[key] = now
                self.seen.move_to_end(key)
                if self.table is not None:
                    self.table.put(key, 0, now)
                for waiter in list(self.waiting.get(key, ())):
                    self.unhold(waiter)
                    dropped.append(waiter.token)
            elif newest and key in self.waiting:
                self.go(next(iter(self.waiting[key])))
        self.stage.settle(dropped, FILTERED)

    def hold(self, waiter: _Waiter) -> None:
        self.waiting.setdefault(waiter.key, OrderedDict())[waiter] = None
        self.queue[waiter] = None
        if self.cancel is None:
            self.cancel = self.stage.later(self.operator.patience, self.tire)

    def unhold(self, waiter: _Waiter) -> None:
        same = self.waiting[waiter.key]
        del same[waiter], self.queue[waiter]
        if not same:
            del self.waiting[waiter.key]
        if not self.queue and self.cancel is not None:
            self.cancel()
            self.cancel = None

    def go(self, waiter: _Waiter) -> None:
        """Let a waiter go on as the first with its key; soon, as whoever settles is amid something else."""
        self.unhold(waiter)
        self.claim(waiter.key, next(self.stage.ledger.origins(waiter.token)), waiter.token)
        self.going.append(waiter)
        if len(self.going) == 1:
            self.stage.later(0.0, self.emit, busy=True)

    def tire(self) -> None:
        """The patience of the oldest has come to its end."""
        self.cancel = None
        now = self.clock()
        while self.queue and (oldest := next(iter(self.queue))).deadline <= now + _TICK:
            self.go(oldest)
        if self.queue:
            self.cancel = self.stage.later(next(iter(self.queue)).deadline - now, self.tire)

    def emit(self) -> None:
        going = list(self.going)
        self.going.clear()
        for attempt, group in groupby(going, lambda waiter: waiter.attempt):
            waiters = list(group)
            self.stage.emit(Chunk([w.value for w in waiters], [w.token for w in waiters], (), attempt))
