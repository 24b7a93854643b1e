"""A pipeline: an immutable value that can be explained, tested and run."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from warren.core import clock
from warren.core.clock import Clock, Duration, seconds
from warren.core.errors import GraphError
from warren.core.graph import Flow
from warren.core.health import PATIENCE, Health
from warren.core.hooks import FlowObserver
from warren.core.knobs import Setting
from warren.core.state import StateStore
from warren.core.wakeful import on_signals
from warren.pipelines.checkpoints import INTERVAL, State
from warren.pipelines.explain import Explanation
from warren.pipelines.given import Script, arrivals_of
from warren.pipelines.plan import check_flow, check_settings, derive_credit
from warren.pipelines.runtime import Runtime
from warren.pipelines.trial import Ends, Trial, try_out

__all__ = ["Pipeline", "Running", "blocking"]

_YOUNG = 50_000


class Pipeline:
    """A named flow from source to sink, with its credit and deadlines. Immutable: it can be run any number of times.

    Delivery: at least once. A message is acknowledged to its source only when everything made of it was confirmed by its
    sink, was filtered out, or is durable in a dead-letter queue.

    - ``credit``: how many messages may be unsettled at once; derived from the graph unless given. It may be a setting that
      changes while it runs, such as a ``Tuner``, which is told how long messages take from being read to their end; a
      broker then sends as many ahead as the highest value
    - ``dead_letters``: the queue for failures that no step takes; ``NAME.dead`` unless given
    - ``shutdown``: how long a stop may take to see messages in flight to their end
    - ``state``: the file where steps such as `window` and `scan` keep what they remember, or a ``StateStore``; without
      it they start anew when the pipeline is started again. A message is then acknowledged when a checkpoint has its effect
    - ``checkpoint``: how long at most lies between two checkpoints; under load they are taken sooner
    - ``observers``: see every flow, such as ``warren.analytics.Recorder``

    Raises `GraphError` where the graph cannot work: no sink, no source, a batch larger than the credit.

    >>> from warren.connectors import memory
    >>> from warren.operators import filter, map
    >>> out = []
    >>> Pipeline("squares", memory.items(range(6)) | filter(lambda x: x % 2) | map(lambda x: x * x) | memory.into(out)).run()
    >>> out
    [1, 9, 25]
    """

    __slots__ = ("_credit_is_derived", "credit", "dead_letters", "flow", "name", "observers", "setting", "shutdown", "state")

    name: str
    flow: Flow
    credit: int
    setting: Setting | None
    dead_letters: str
    shutdown: float
    state: State | None
    observers: tuple[FlowObserver, ...]

    def __init__(
        self,
        name: str,
        flow: Flow,
        *,
        credit: int | Setting | None = None,
        dead_letters: str | None = None,
        shutdown: Duration = "30s",
        state: str | os.PathLike[str] | StateStore | None = None,
        checkpoint: Duration = "1s",
        observers: Sequence[FlowObserver] = (),
    ) -> None:
        if not isinstance(name, str) or not name:
            raise GraphError(f"Pipeline({name!r}): give the pipeline a name, such as Pipeline('orders', ...)")
        flow = check_flow(name, flow)
        setting = credit if isinstance(credit, Setting) else None
        check_settings(name, flow, setting)
        values = {
            "name": name,
            "flow": flow,
            "credit": derive_credit(name, flow, credit, keeps=state is not None),
            "_credit_is_derived": credit is None,
            "setting": setting,
            "dead_letters": dead_letters or f"{name}.dead",
            "shutdown": seconds(shutdown),
            "state": None if state is None else State(_store(name, state), seconds(checkpoint)),
            "observers": tuple(observers),
        }
        for key, value in values.items():
            object.__setattr__(self, key, value)

    def __setattr__(self, key: str, value: object) -> None:
        """A pipeline cannot be changed, so this always raises `AttributeError`."""
        raise AttributeError(f"pipeline {self.name!r} is immutable; build another one")

    def __repr__(self) -> str:
        """Its name and steps."""
        return f"Pipeline({self.name!r}, {self.flow.name})"

    @property
    def credit_is_derived(self) -> bool:
        """Whether the credit was derived from the graph."""
        return bool(self._credit_is_derived)  # type: ignore[attr-defined]  # set in __init__ past the frozen setattr

    @property
    def most(self) -> int:
        """How many messages may ever be unsettled at once: the credit, or the highest that a setting may say."""
        return self.credit if self.setting is None else self.setting.knob.high

    def observed(self, *observers: FlowObserver) -> Pipeline:
        """The same pipeline with more observers."""
        return Pipeline(
            self.name,
            self.flow,
            credit=None if self.credit_is_derived else self.setting or self.credit,
            dead_letters=self.dead_letters,
            shutdown=self.shutdown,
            state=None if self.state is None else self.state.store,
            checkpoint=INTERVAL if self.state is None else self.state.interval,
            observers=(*self.observers, *observers),
        )

    def explain(self) -> Explanation:
        """The topology, the credit and the guarantee on each step, as text; a notebook shows it as a drawing."""
        return Explanation(self)

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        return {"text/plain": repr(self), "image/svg+xml": self.explain().svg}

    def test(
        self, values: Iterable[Any], *, at: Iterable[Duration] | None = None, start: float = 0.0, faults: Ends | None = None
    ) -> Trial:
        """Run on these values in virtual time, with no broker and no waiting; see what came out.

        Each source is replaced by the values (``bytes`` are decoded as the source would), each sink and dead-letter queue
        by a list. Time starts at ``start`` seconds since 1970. Works inside a running event loop too.

        - ``values``: or messages with times, ids and headers, `Arrival`, such as ``recorded(file).arrivals``
        - ``at``: when each value comes, from the start; all come at once unless given
        - ``faults``: what goes wrong meanwhile, such as ``warren.testing.Faults``
        """
        script = Script(arrivals_of(values, at, f"pipeline {self.name!r}, test(at=...)"))
        return try_out(self, lambda source: script, start, () if faults is None else (faults,))

    def start(self, *, until_empty: bool = False, clock: Clock = clock.system) -> Running:
        """Start on the running event loop, in a notebook or a service; ``await`` what it returns to wait for the end."""
        return Running(Runtime(self, clock=clock, observers=self.observers, until_empty=until_empty))

    def run(self, *, until_empty: bool = False) -> None:
        """Run until the source ends, or until interrupted; with ``until_empty`` until nothing waits there.

        The first SIGINT or SIGTERM stops reading, drains and closes; a second one, or a step that blocks the process past
        the shutdown deadline, interrupts what is running. Unsettled messages go back to their source.

        Raises `RuntimeError` inside a running event loop: use ``await pipeline.start()`` there.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            blocking(self.shutdown, lambda: self.start(until_empty=until_empty))
        else:
            raise RuntimeError(f"pipeline {self.name!r}: an event loop is running here; use await pipeline.start()")


def blocking(shutdown: float, start: Callable[[], Running]) -> None:
    """Start a pipeline on an event loop of its own, and wait for its end; signals end it as `Pipeline.run` says."""

    async def main() -> None:
        running = start()
        with _signals(running.stop, shutdown):
            await running

    with asyncio.Runner(loop_factory=_loop_factory()) as runner, _patient_collector():
        runner.run(main())


class Running:
    """A started pipeline. Await it to wait for its end; `stop` ends it gracefully."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._task = asyncio.get_running_loop().create_task(runtime.execute())

    def __await__(self) -> Generator[Any, None, None]:
        """Wait for the end; raises what stopped the pipeline. Cancelling the wait stops the pipeline."""
        return self._wait().__await__()

    async def _wait(self) -> None:
        try:
            await asyncio.shield(self._task)
        except asyncio.CancelledError:
            self.stop()
            await asyncio.wait((self._task,))
            raise

    @property
    def in_flight(self) -> int:
        """How many messages are unsettled now."""
        return self._runtime.ledger.outstanding

    async def health(self, patience: Duration = PATIENCE) -> Health:
        """How it fares: live and ready where every end is that can tell, with the reasons and the queues' numbers.

        ``patience``: how long nothing may move although messages wait, or the credit may be used up, before that counts.
        Rates are known from the second call on. It costs the messages nothing, and the broker a question for each end.
        """
        return await self._runtime.health(seconds(patience))

    def stop(self) -> None:
        """Stop reading, drain and end. Calling it again does nothing."""
        self._runtime.stop()


def _store(name: str, state: Any) -> StateStore:
    if isinstance(state, str | os.PathLike):
        from warren.connectors.sqlite.state import StateFile

        return StateFile(state)
    if not hasattr(state, "commit"):
        raise GraphError(f"pipeline {name!r}: state={state!r} is no path and no state store; give state='{name}.state'")
    return state  # type: ignore[no-any-return]  # it has what a store has


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


@contextmanager
def _patient_collector() -> Iterator[None]:
    """Let the garbage collector wait longer: a chunk makes thousands of objects that are gone with the next."""
    thresholds = gc.get_threshold()
    gc.set_threshold(max(thresholds[0], _YOUNG) if thresholds[0] else 0, *thresholds[1:])
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)


@contextmanager
def _signals(stop: Callable[[], None], shutdown: float) -> Iterator[None]:
    """Stop on the first signal, interrupt on the second, or when a step blocks the loop past the deadline."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    main = threading.get_ident()
    timer: threading.Timer | None = None

    def interrupt() -> None:
        # A real signal also ends a blocking system call, which an exception set from another thread would not.
        signal.pthread_kill(main, signal.SIGINT)

    def handle(number: int, frame: object) -> None:
        nonlocal timer
        if timer is not None:
            raise KeyboardInterrupt
        if sys.platform != "win32":
            timer = threading.Timer(shutdown + 2, interrupt)
            timer.daemon = True
            timer.start()
        loop.call_soon_threadsafe(stop)

    try:
        with on_signals(handle):
            yield
    finally:
        if timer is not None:
            timer.cancel()
