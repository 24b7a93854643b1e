"""`enrich`: look something up for each value, many at a time, and remember the answers."""

from __future__ import annotations

import dataclasses
import inspect
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from warren.core.chunk import Chunk, Failure, apply_each
from warren.core.clock import Clock, Duration, seconds
from warren.core.errors import GraphError, HandlerError, shorten
from warren.core.graph import Operator, name_of
from warren.core.hints import returned
from warren.core.stage import Handler, Stage
from warren.operators.keys import answers, check_function, is_async, keys_of
from warren.operators.slots import Slot, Slots, bounded

__all__ = ["enrich"]

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)

_MISSING: Any = object()


def enrich(
    lookup: Callable[[list[K]], Awaitable[Mapping[K, Any] | Sequence[Any]]],
    *,
    key: Callable[[T], K],
    into: str | Callable[[T, Any], Any],
    batch: int = 100,
    within: Duration = 0,
    concurrency: int = 4,
    cache: int = 10_000,
    ttl: Duration = "5m",
    timeout: Duration | None = None,
    default: Any = _MISSING,
) -> Operator[T, Any]:
    """Look up what belongs to the key of each value, and put it ``into`` the value.

    ``lookup`` is an ``async`` function of up to ``batch`` different keys in a list. It answers with a mapping by key, or
    with a list in the order of the keys, where ``None`` stands for nothing known. ``into`` names the field of a dict, a
    struct or a dataclass, of which a copy goes on; or it is a function of the value and what was found, and its answer is
    what goes on.

    Up to ``concurrency`` lookups run at once. Keys are asked for as soon as one is free, so that more are asked for together
    the busier it is; with ``within``, an incomplete list waits that long for more keys. A key on its way is not asked for
    again. Up to ``cache`` answers are remembered for ``ttl``, the least recently used are forgotten first; ``cache=0``
    remembers none. A key of which nothing is known fails its message with `LookupError`, unless there is a ``default`` to
    put in its place, which is remembered like an answer.

    Keeps the delivery guarantee and the order. A lookup that raises, or takes longer than ``timeout``, fails the messages
    whose keys it was asked for, and no others; a retry asks again.

    Raises `GraphError` where ``lookup`` is not ``async`` or ``key`` is, or a number or time is out of range.

    >>> from warren import Pipeline
    >>> from warren.connectors import memory
    >>> async def names(ids: list[int]) -> dict[int, str]:
    ...     return {1: "Ada", 2: "Grace"}
    >>> named = enrich(names, key=lambda row: row["id"], into="name", default=None)
    >>> Pipeline("named", memory.items([]) | named | memory.into([])).test([{"id": 2}, {"id": 7}]).values
    [{'id': 2, 'name': 'Grace'}, {'id': 7, 'name': None}]
    """
    title = f"enrich({name_of(lookup) if callable(lookup) else repr(lookup)}"
    if not callable(lookup) or not is_async(lookup):
        raise GraphError(f"{title}): give an async function of a list of keys that answers with a mapping or a list")
    check_function(key, f"{title}, key=...)", "give a function of one value that gives the key to look up")
    if not (isinstance(into, str) and into):
        remedy = "give the name of a field, or a function of the value and what was found"
        check_function(into, f"{title}, into=...)", remedy)
    for number, name, least in ((batch, "batch", 1), (concurrency, "concurrency", 1), (cache, "cache", 0)):
        if not isinstance(number, int) or isinstance(number, bool) or number < least:
            raise GraphError(f"{title}, {name}={number!r}): {name} must be a whole number of at least {least}")
    for time, name in ((ttl, "ttl"), (timeout, "timeout")):
        if time is not None and seconds(time) == 0:
            raise GraphError(f"{title}, {name}={time!r}): {name} must be longer than 0")
    put = _field(into) if isinstance(into, str) else into
    limit = None if timeout is None else seconds(timeout)
    return _Enrich(lookup, key, put, batch, seconds(within), concurrency, cache, seconds(ttl), limit, default)


def _field(name: str) -> Callable[[Any, Any], Any]:
    def put(value: Any, found: Any) -> Any:
        if isinstance(value, Mapping):
            return {**value, name: found}
        try:
            if isinstance(value, msgspec.Struct):
                return msgspec.structs.replace(value, **{name: found})
            if dataclasses.is_dataclass(value) and not isinstance(value, type):
                return dataclasses.replace(value, **{name: found})
        except TypeError as error:
            raise HandlerError(f"{shorten(value)} has no field {name!r} to put what was found into: {error}") from error
        raise HandlerError(
            f"{shorten(value)} is no dict, struct or dataclass with a field {name!r}; give enrich(into=...) a function of "
            "the value and what was found"
        )

    return put


@dataclasses.dataclass(eq=False, repr=False)
class _Enrich(Operator[Any, Any]):
    lookup: Callable[[list[Any]], Awaitable[Any]]
    key: Callable[[Any], Hashable]
    into: Callable[[Any, Any], Any]
    batch: int
    within: float
    concurrency: int
    cache: int
    ttl: float
    timeout: float | None
    default: Any

    def gives(self, type: Any) -> Any:
        return returned(self.into)

    @property
    def name(self) -> str:
        return f"enrich({name_of(self.lookup)})"

    @property
    def guarantee(self) -> str:
        return f"{self.concurrency} lookups at once, order kept"

    @property
    def holds(self) -> int | None:
        return None if self.within else 0

    def attach(self, stage: Stage) -> Handler:
        return _Lookups(self, stage).take


class _Cache:
    """The answers used last, each for as long as it holds."""

    def __init__(self, limit: int, ttl: float, clock: Clock) -> None:
        self.limit = limit
        self.ttl = ttl
        self.clock = clock
        self.entries: OrderedDict[Hashable, tuple[Any, float]] = OrderedDict()

    def get(self, keys: Sequence[Hashable]) -> list[Any]:
        """What is known of each key."""
        entries, now = self.entries, self.clock()
        found = []
        for key in keys:
            entry = entries.get(key)
            if entry is None or entry[1] <= now:
                found.append(_MISSING)
            else:
                entries.move_to_end(key)
                found.append(entry[0])
        return found

    def put(self, key: Hashable, answer: Any) -> None:
        self.entries[key] = answer, self.clock() + self.ttl
        self.entries.move_to_end(key)
        if len(self.entries) > self.limit:
            self.entries.popitem(last=False)


class _Lookups:
    """Who waits for which key: keys that are still to be asked for, and keys on their way."""

    def __init__(self, operator: _Enrich, stage: Stage) -> None:
        self.operator = operator
        self.stage = stage
        self.cache = _Cache(operator.cache, operator.ttl, stage.run.clock)
        self.slots = Slots(stage)
        self.wanted: dict[Hashable, list[Slot]] = {}
        self.asked: dict[Hashable, list[Slot]] = {}
        self.active = self.starting = 0
        self.meter = stage.meter(operator.concurrency)
        self.due = not operator.within
        self.cancel: Callable[[], None] | None = None
        stage.run.on_flush(self.hurry)

    def take(self, chunk: Chunk) -> Chunk | None:
        keys, chunk, failures = keys_of(self.stage, self.operator.key, chunk, "key")
        found = self.cache.get(keys)
        if not self.slots and not any(answer is _MISSING for answer in found):
            return self.all_known(chunk, found, failures)
        for key, slot, answer in zip(keys, self.slots.add(chunk), found, strict=True):
            if answer is not _MISSING:
                self.give([slot], answer)
            elif key in self.asked:
                self.asked[key].append(slot)
            else:
                self.wanted.setdefault(key, []).append(slot)
                self.meter.queue(1)
        # What is tried again has waited, and a drain has to come to an end.
        self.due = self.due or (chunk.attempt > 1 and bool(self.wanted))
        self.ask()
        self.slots.ready()
        return Chunk([], (), failures) if failures else None

    def all_known(self, chunk: Chunk, found: list[Any], failures: list[Failure]) -> Chunk:
        into, rest = self.operator.into, iter(found)
        results, kept, more = answers(self.stage, lambda value: into(value, next(rest)), chunk)
        return Chunk(results, kept.tokens, [*failures, *more], chunk.attempt)

    def ask(self) -> None:
        """Start as many lookups as may run; wait for more keys where that is wanted."""
        operator = self.operator
        ready = len(self.wanted) if self.due else len(self.wanted) // operator.batch * operator.batch
        while self.active < operator.concurrency and ready > self.starting * operator.batch:
            self.active += 1
            self.starting += 1
            self.stage.run.spawn(self.work())
        if self.wanted and not self.due and self.cancel is None:
            self.cancel = self.stage.later(operator.within, self.hurry)

    def hurry(self) -> None:
        """Ask for what there is."""
        if self.cancel is not None:
            self.cancel()
            self.cancel = None
        if self.wanted:
            self.due = True
            self.ask()

    def next_keys(self) -> list[Hashable]:
        """The keys of the lookup that starts now: all that came in the same turn of the loop can be among them."""
        wanted = self.wanted
        self.starting -= 1
        keys = list(wanted)[: self.operator.batch]
        self.asked.update((key, wanted.pop(key)) for key in keys)
        if self.operator.within and not wanted:
            self.due = False
            if self.cancel is not None:
                self.cancel()
                self.cancel = None
        return keys

    async def work(self) -> None:
        keys = self.next_keys()
        count = sum(len(self.asked[key]) for key in keys)
        began = self.meter.begin(count)
        try:
            tokens = [slot.token for key in keys for slot in self.asked[key]] if self.stage.knows else ()
            asking = self.stage.calling(self.operator.lookup, list(keys), tokens)
            answer = await bounded(self.stage, asking, self.operator.timeout)
            found = self.read(keys, answer)
        except Exception as error:
            for key in keys:
                for slot in self.asked.pop(key):
                    slot.fail(self.stage, error)
        else:
            for key, each in zip(keys, found, strict=True):
                self.learn(key, each)
        finally:
            self.active -= 1
        self.meter.end(began, count)
        self.ask()
        self.slots.ready()

    def read(self, keys: list[Hashable], answer: Any) -> list[Any]:
        """The answer for each key."""
        if isinstance(answer, Mapping):
            return [answer.get(key, _MISSING) for key in keys]
        if not isinstance(answer, Sequence) or isinstance(answer, str | bytes):
            raise HandlerError(
                f"{self.stage}: the lookup answered {shorten(answer)}; it must answer with a mapping by key, or a list with "
                "one item for each key"
            )
        if len(answer) != len(keys):
            raise HandlerError(
                f"{self.stage}: the lookup answered {len(answer)} items for {len(keys)} keys; a list must have one for "
                "each, None where nothing is known"
            )
        return [_MISSING if each is None else each for each in answer]

    def learn(self, key: Hashable, found: Any) -> None:
        slots = self.asked.pop(key)
        if found is _MISSING:
            found = self.operator.default
        if found is _MISSING:
            error = LookupError(
                f"{self.stage}: the lookup knows nothing of {shorten(key)}; give default=... to let such values go on"
            )
            for slot in slots:
                slot.fail(self.stage, error)
            return
        if self.operator.cache:
            self.cache.put(key, found)
        self.give(slots, found)

    def give(self, slots: Sequence[Slot], found: Any) -> None:
        results, errors = apply_each(lambda slot: self.put(slot.value, found), slots)
        good = iter(results)
        for i, slot in enumerate(slots):
            if i in errors:
                slot.fail(self.stage, errors[i])
            else:
                slot.succeed(next(good))

    def put(self, value: Any, found: Any) -> Any:
        result = self.operator.into(value, found)
        if inspect.iscoroutine(result):
            result.close()
            raise HandlerError(f"{self.stage}: into= answered for {shorten(value)} with a coroutine; it must answer at once")
        return result
