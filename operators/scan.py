"""`scan`: a running accumulation, of which every intermediate result goes on."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Mapping, Sequence
from copy import deepcopy
from itertools import accumulate, chain, islice
from types import CoroutineType
from typing import Any, Protocol, TypeVar

from warren.core.chunk import Chunk, stopped
from warren.core.clock import Duration, seconds
from warren.core.errors import GraphError, HandlerError
from warren.core.expiry import Expiring
from warren.core.graph import Operator, name_of
from warren.core.hints import returned
from warren.core.stage import Handler, Stage
from warren.operators.keys import check_function, keys_of

__all__ = ["States", "scan"]

S = TypeVar("S")
T = TypeVar("T")


class States(Protocol):
    """Where the state of every key is kept; a ``dict`` is one."""

    def get(self, key: Hashable, default: Any, /) -> Any:
        """The state of a key, or ``default`` where it has none yet."""

    def update(self, changes: Mapping[Hashable, Any], /) -> None:
        """Take over the states that one chunk has changed, all at once."""


def scan(
    function: Callable[[S, T], S],
    initial: S,
    *,
    by: Callable[[T], Hashable] | None = None,
    version: int = 1,
    migrate: Callable[[Hashable, Any], S] | None = None,
    ttl: Duration | None = None,
) -> Operator[T, S]:
    """Call ``function(state, value)`` for each value; its answer is the next state, and goes on with the message.

    The first state is ``initial``. With ``by`` each key has a state of its own. The function answers with a new state and
    must not change the one it is given, which may be on its way to a sink.

    Keeps the delivery guarantee: one result for each message, acknowledged with it. A message whose function raises fails,
    and leaves the state as it was. Without ``Pipeline(state=...)`` the states live in memory: they start anew when the
    pipeline is started again, and a message that is delivered again is counted again. With it they go on where they were,
    and a message with an id is counted once; one that is delivered again gives the state of its key as it is by then. There
    is one state for each key that ever came. With ``ttl`` the state of a key that got no value for that long by the
    pipeline's clock is forgotten, in memory and in the file, and starts from ``initial`` when the key comes again.

    Raise ``version`` when the state changes its shape, and give ``migrate(key, state)``, which makes a new state of an old.

    Raises `GraphError` where ``function`` or ``by`` is no function, or is ``async``, or ``ttl`` is not above zero.

    >>> from warren import Pipeline
    >>> from warren.connectors import memory
    >>> balance = scan(lambda total, amount: total + amount, 0)
    >>> Pipeline("balance", memory.items([]) | balance | memory.into([])).test([5, -2, 10]).values
    [5, 3, 13]
    """
    check_function(function, "scan", "give a function of the state so far and a value")
    if by is not None:
        check_function(by, f"scan({name_of(function)}, by=...)", "give a function of one value that gives its key")
    if ttl is not None and seconds(ttl) == 0:
        raise GraphError(f"scan({name_of(function)}, ttl={ttl!r}): ttl must be longer than 0")
    return _Scan(function, initial, by, version, migrate, None if ttl is None else seconds(ttl))


class _Scan(Operator[Any, Any]):
    def __init__(
        self,
        function: Callable[[Any, Any], Any],
        initial: Any,
        by: Callable[[Any], Hashable] | None = None,
        version: int = 1,
        migrate: Callable[[Hashable, Any], Any] | None = None,
        ttl: float | None = None,
    ) -> None:
        self.function = function
        self.initial = initial
        self.by = by
        self.version = version
        self.migrate = migrate
        self.ttl = ttl

    def gives(self, type: Any) -> Any:
        return returned(self.function)

    @property
    def name(self) -> str:
        return f"scan({name_of(self.function)}" + (f" by {name_of(self.by)})" if self.by is not None else ")")

    @property
    def guarantee(self) -> str:
        return "states go on after a restart where the pipeline keeps state"

    def attach(self, stage: Stage) -> Handler:
        table = stage.table("scan", version=self.version, migrate=self.migrate)
        expiring = Expiring(stage, table, self.ttl) if self.ttl is not None else None
        states: States = expiring if expiring is not None else {} if table is None else table
        by = self.by

        def count(chunk: Chunk) -> Chunk:
            if by is None:
                if expiring is not None:
                    expiring.look((None,))
                return self.run_on(stage, states, chunk)
            keys, rest, failures = keys_of(stage, by, chunk)
            if expiring is not None:
                expiring.look(keys)
            out = self.each(stage, states, keys, rest)
            out.failures = [*failures, *out.failures]
            return out

        def handle(chunk: Chunk) -> Chunk:
            assert table is not None
            old, fresh = table.parted(chunk)
            out = count(fresh)
            table.count(out.tokens)
            if old is None:
                return out
            # Their results may not have been safe, so they are given once more, as the states are now.
            keys: Sequence[Hashable] = [None] * len(old.values)
            if by is not None:
                keys, old, _ = keys_of(stage, by, old)
            values = [table.get(key, self.initial) for key in keys]
            return Chunk([*values, *out.values], [*old.tokens, *out.tokens], out.failures, chunk.attempt)

        return count if table is None else handle

    def run_on(self, stage: Stage, states: States, chunk: Chunk) -> Chunk:
        """One state for all values."""
        results, errors, state = _accumulated(self.function, self.get_or_copy(states)(None, self.initial), chunk.values)
        if CoroutineType in set(map(type, results)):
            # What follows a coroutine was made of one, so none of it is a state.
            first = next(i for i, result in enumerate(results) if inspect.iscoroutine(result))
            for result in filter(inspect.iscoroutine, results[first:]):
                result.close()
            places = [i for i in range(len(chunk.values)) if i not in errors]
            errors = dict(sorted((errors | dict.fromkeys(places[first:], _unawaited(stage))).items()))
            results = results[:first]
            state = results[-1] if results else states.get(None, self.initial)
        states.update({None: state})
        return stage.survivors(chunk, results, errors)

    def get_or_copy(self, states: States) -> Callable[[Hashable, Any], Any]:
        """What gives the state of a key, and to each new key an initial one that it need not share with others."""
        missing = object()

        def get(key: Hashable, default: Any) -> Any:
            state = states.get(key, missing)
            return deepcopy(default) if state is missing else state

        return get

    def each(self, stage: Stage, states: States, keys: Sequence[Hashable], chunk: Chunk) -> Chunk:
        """A state for each key."""
        function, initial = self.function, self.initial
        changes = _Changes(states.get if isinstance(initial, Hashable) else self.get_or_copy(states), initial)
        results: list[Any] = []
        errors: dict[int, Exception] = {}
        pairs = zip(keys, chunk.values, strict=True)
        while len(results) + len(errors) < len(keys):
            try:
                for key, value in pairs:
                    state = function(changes[key], value)
                    if type(state) is CoroutineType:
                        state.close()
                        raise _unawaited(stage)
                    changes[key] = state
                    results.append(state)
            except Exception as error:
                errors[len(results) + len(errors)] = stopped() if isinstance(error, StopIteration) else error
        states.update(changes)
        return stage.survivors(chunk, results, errors)


class _Changes(dict[Hashable, Any]):
    """The new states of keys, each of which begins as it was."""

    def __init__(self, get: Callable[[Hashable, Any], Any], initial: Any) -> None:
        super().__init__()
        self._get = get
        self._initial = initial

    def __missing__(self, key: Hashable) -> Any:
        return self._get(key, self._initial)


def _unawaited(stage: Stage) -> HandlerError:
    return HandlerError(f"{stage}: the function answered with a coroutine; it must answer with the next state")


def _accumulated(
    function: Callable[[Any, Any], Any], state: Any, values: Sequence[Any]
) -> tuple[list[Any], dict[int, Exception], Any]:
    """Every state in order, the exceptions by position, and the last state."""
    results: list[Any] = []
    errors: dict[int, Exception] = {}
    rest = iter(values)
    while True:
        before = len(results)
        try:
            # extend keeps what came before the exception, so no value is counted twice.
            results.extend(islice(accumulate(chain((state,), rest), function), 1, None))
        except Exception as error:
            errors[len(results) + len(errors)] = error
        else:
            done = len(results) + len(errors)
            if done < len(values):
                # A StopIteration out of the function looks like the end of the values.
                errors[done] = stopped()
        if len(results) > before:
            state = results[-1]
        if len(results) + len(errors) == len(values):
            return results, errors, state
