"""`circuit_breaker`: make no calls for a while where calls fail."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from warren.core.breaker import Breaker, State, Switch
from warren.core.clock import Duration
from warren.core.errors import CircuitOpenError, GraphError, exception_types, shorten
from warren.core.graph import Operator
from warren.core.hooks import BreakerObserver
from warren.core.stage import Handler, Stage
from warren.operators.holding import period
from warren.operators.map import Calling

__all__ = ["circuit_breaker"]

T = TypeVar("T")
U = TypeVar("U")


def circuit_breaker(
    step: Operator[T, U],
    *,
    failures: int = 5,
    window: Duration = "30s",
    cooldown: Duration = "10s",
    on: type[Exception] | tuple[type[Exception], ...] = Exception,
    switch: Switch | None = None,
) -> Operator[T, U]:
    """Around a `map`: where so many of its calls failed in a row within ``window``, make none for ``cooldown``.

    Meanwhile the circuit is open, and messages fail at once with `CircuitOpenError`, which `retry` takes as any other
    exception; that is one of its attempts, so let its policy outlast the cooldown. After the cooldown one call is let
    through: if it fails the circuit stays open for another cooldown, otherwise it closes.

    A call fails where it raises one of ``on``, or where the map's timeout cuts it off and `TimeoutError` is one of these;
    every other answer counts as a success. Calls that were under way when the circuit opened decide nothing.

    ``switch`` (`warren.core.breaker.Switch`) opens the circuit by hand, and lets it be what it was again.

    Keeps the delivery guarantee: a message that is not tried is a failure like any other. Each running pipeline counts by
    itself.

    Raises `GraphError` where ``step`` is not a single `map`, ``failures`` is no whole number from 1, or a duration is not
    above zero. From Nygard, "Release It!", 2007.

    >>> from warren import Pipeline
    >>> from warren.connectors import memory
    >>> from warren.operators import map
    >>> guarded = circuit_breaker(map(lambda x: 1 / x), failures=2)
    >>> result = Pipeline("guarded", memory.items([]) | guarded | memory.into([])).test([1, 0, 0, 1])
    >>> result.values, [letter.error for letter in result.dead_letters["guarded.dead"]]
    ([1.0], ['ZeroDivisionError', 'ZeroDivisionError', 'CircuitOpenError'])
    """
    if not isinstance(step, Calling):
        shown = step.name if isinstance(step, Operator) else shorten(step)
        raise GraphError(
            f"circuit_breaker({shown}): give the one map that makes the calls, without executor, such as "
            "circuit_breaker(map(ask))"
        )
    if not isinstance(failures, int) or isinstance(failures, bool) or failures < 1:
        raise GraphError(f"circuit_breaker(failures={failures!r}): failures must be a whole number of at least 1")
    kinds = exception_types(on, "circuit_breaker")
    lengths = period(window, "circuit_breaker(window=...)"), period(cooldown, "circuit_breaker(cooldown=...)")
    return _CircuitBreaker(step, failures, *lengths, kinds, switch or Switch())


class _CircuitBreaker(Operator[Any, Any]):
    def __init__(
        self,
        step: Calling,
        failures: int,
        window: float,
        cooldown: float,
        kinds: tuple[type[Exception], ...],
        switch: Switch,
    ) -> None:
        self.step = step
        self.failures = failures
        self.window = window
        self.cooldown = cooldown
        self.kinds = kinds
        self.switch = switch

    def gives(self, type: Any) -> Any:
        return self.step.gives(type)

    @property
    def name(self) -> str:
        return f"circuit_breaker({self.step.name})"

    @property
    def guarantee(self) -> str:
        return ", ".join(filter(None, ("fails at once while calls fail", self.step.guarantee)))

    def attach(self, stage: Stage) -> Handler:
        circuit = _Circuit(self, stage)
        function = self.step.function
        guarded = circuit.around_async(function) if self.step.is_async else circuit.around(function)
        return self.step.calling(guarded).attach(stage)


class _Circuit:
    """Lets calls through or not, in one running pipeline."""

    def __init__(self, operator: _CircuitBreaker, stage: Stage) -> None:
        self.stage = stage
        self.kinds = operator.kinds
        self.switch = operator.switch
        self.breaker = Breaker(operator.failures, operator.cooldown, stage.run.clock, self._tell, operator.window)
        self._tell("closed")
        stage.run.on_close(self.switch.watch(lambda: self._tell(self.breaker.state)))
        # Only calls that began since the last change decide: those before it were under way when the circuit opened.
        self.era = 0
        self.probing = False
        self.last: BaseException | None = None

    def _tell(self, state: State) -> None:
        state = "open" if self.switch.open else state
        for observer in self.stage.run.observers:
            if isinstance(observer, BreakerObserver):
                observer.switched(self.stage.name, state)

    def enter(self) -> int:
        """A call is about to be made: say since which change, or raise where it must not be."""
        if self.switch.open:
            raise CircuitOpenError(f"{self.stage}: the circuit was opened by hand; a retry behind this step tries again")
        if self.breaker.state != "closed":
            if self.probing or self.breaker.wait:
                raise CircuitOpenError(self.reason()) from self.last
            self.probing = True
            self.era += 1
            self.breaker.attempt()
        return self.era

    def reason(self) -> str:
        until = (
            f"none is made for another {self.breaker.wait:.3g} s" if self.breaker.wait else "one is on its way to find out"
        )
        return (
            f"{self.stage}: the circuit is open: calls failed, the last one with {shorten(self.last)}; {until}; "
            "a retry behind this step tries such messages again"
        )

    def leave(self, era: int, error: BaseException | None = None) -> None:
        """A call is over."""
        if era != self.era:
            return
        self.probing = False
        if isinstance(error, self.kinds):
            self.last = error
            self.breaker.failed()
            if self.breaker.state != "closed":
                self.era += 1
        else:
            self.breaker.succeeded()

    def around(self, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """A function that makes its calls through the circuit."""
        through = _Call(self)  # one for all calls, as they follow each other

        def call(value: Any) -> Any:
            with through:
                return function(value)

        return call

    def around_async(self, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """The same for an ``async`` function."""

        async def call(value: Any) -> Any:
            with _Call(self):
                return await function(value)

        return call


class _Call:
    """One call: not made where the circuit does not let it through, and counted by how it ends."""

    __slots__ = ("circuit", "era")

    def __init__(self, circuit: _Circuit) -> None:
        self.circuit = circuit

    def __enter__(self) -> None:
        self.era = self.circuit.enter()

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, asyncio.CancelledError):
            # The map's timeout cuts a call off by cancelling it.
            error = TimeoutError("no answer in time")
        if error is None or isinstance(error, Exception):
            self.circuit.leave(self.era, error)
