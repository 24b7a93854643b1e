"""Running a pipeline in virtual time, step by step, to look at it in between."""

from __future__ import annotations

import asyncio
import math
from functools import partial
from types import TracebackType
from typing import Any

from warren.core.clock import Duration, seconds
from warren.core.errors import EncodeError, GraphError
from warren.pipelines.given import Arrival, Given, Script
from warren.pipelines.pipeline import Pipeline
from warren.pipelines.trial import Ends, Letter, Trial, TrialRuntime, alone
from warren.pipelines.virtual import VirtualLoop

__all__ = ["Virtual", "virtual"]


class Virtual:
    """A pipeline that runs in virtual time and stands still while the test looks at it. `virtual` makes one.

    Its sources give what `send` is told and end with `finish`; its sinks are lists. An error that stops the pipeline is
    raised by whichever call is under way.
    """

    def __init__(self, pipeline: Pipeline, start: float = 0.0, faults: Ends | None = None) -> None:
        self.pipeline = pipeline
        self._start = start
        self._ends = () if faults is None else (faults,)
        self._runner: asyncio.Runner | None = None
        self._loop: VirtualLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._runtime: TrialRuntime | None = None

    def start(self) -> Virtual:
        """Start the pipeline; ``with`` does so too."""
        if self._runner is not None:
            raise GraphError(f"pipeline {self.pipeline.name!r} was started before; call virtual(...) again for another run")
        self._runner = asyncio.Runner(loop_factory=VirtualLoop)
        alone(self._open)
        try:
            return self.advance(0)
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        assert self._runner is not None
        loop = self._runner.get_loop()
        assert isinstance(loop, VirtualLoop)
        self._loop = loop
        self._task = loop.create_task(self._main())

    async def _main(self) -> None:
        script = Script((), math.inf)
        self._runtime = TrialRuntime(self.pipeline, lambda source: script, self._start, self._ends)
        await self._runtime.execute()

    def __enter__(self) -> Virtual:
        return self.start() if self._runner is None else self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if error is None and self._task is not None and not self._task.done():
                self.finish()
        finally:
            self.close()

    @property
    def trial(self) -> Trial:
        """What has come of it so far."""
        assert self._runtime is not None, "it is not started; use it as: with virtual(pipeline) as run"
        return self._runtime.trial

    @property
    def now(self) -> float:
        """How many virtual seconds have passed since the start."""
        return 0.0 if self._loop is None else self._loop.time()

    @property
    def values(self) -> list[Any]:
        """All the values that have reached a sink so far."""
        return self.trial.values

    @property
    def dead_letters(self) -> list[Letter]:
        """All the dead letters so far, queue by queue."""
        return [letter for letters in self.trial.dead_letters.values() for letter in letters]

    @property
    def outcomes(self) -> dict[str, int]:
        """How messages have ended so far."""
        return self.trial.outcomes

    @property
    def in_flight(self) -> int:
        """How many messages are unsettled now."""
        assert self._runtime is not None, "it is not started; use it as: with virtual(pipeline) as run"
        return self._runtime.ledger.outstanding

    def send(self, *values: Any, to: str | None = None, **metadata: Any) -> Virtual:
        """Have values come now, to the source of that name or to all, and do whatever follows without time passing.

        ``id``, ``key`` and ``headers`` are those of the messages. Raises `GraphError` where the source is not there, or
        where the pipeline has ended.
        """
        self._check()
        for given in self._sources(to):
            for value in values:
                try:
                    given.send(Arrival(value, self.now, **metadata))
                except EncodeError as error:
                    raise EncodeError(f"pipeline {self.pipeline.name!r}: a test value cannot be sent: {error}") from error
        return self.advance(0)

    def _sources(self, name: str | None) -> list[Given]:
        assert self._runtime is not None
        given = self._runtime.given
        chosen = [each for inlet, each in given if name in (None, inlet.name)]
        if not chosen:
            known = ", ".join(repr(inlet.name) for inlet, _ in given)
            raise GraphError(f"pipeline {self.pipeline.name!r} has no source {name!r} to send to; it has {known}")
        return chosen

    def advance(self, by: Duration) -> Virtual:
        """Let time pass, and everything happen that is due by then."""
        self._check()
        assert self._loop is not None
        alone(partial(self._loop.advance, self._loop.time() + seconds(by)))
        self._raise()
        return self

    def finish(self) -> Trial:
        """Have the sources end, see everything through, and say what came of it; again, where it was called before."""
        if self._task is None or not self._task.done():
            self._check()
            assert self._runtime is not None and self._task is not None and self._loop is not None
            for given in self._sources(None):
                given.finish()
            alone(partial(self._loop.run_until_complete, self._task))
        self._raise()
        return self.trial

    def _check(self) -> None:
        name = self.pipeline.name
        if self._runner is None:
            raise GraphError(f"pipeline {name!r} is not started; use it as: with virtual(pipeline) as run")
        if self._loop is None or self._task is None or self._task.done():
            raise GraphError(f"pipeline {name!r} has ended after {self.now:g} s; nothing more can come or happen")

    def _raise(self) -> None:
        assert self._task is not None
        if self._task.done():
            self._task.result()

    def close(self) -> None:
        """End at once, whatever is in flight. Calling it again does nothing."""
        if self._runner is not None and self._loop is not None and not self._loop.is_closed():
            alone(self._runner.close)


def virtual(pipeline: Pipeline, *, start: float = 0.0, faults: Ends | None = None) -> Virtual:
    """Run a pipeline in virtual time, step by step; leaving the ``with`` has the sources end and sees everything through.

    ``start`` and ``faults`` are as for `Pipeline.test`; faults that change what comes, such as delays, do not befall what is
    sent. Works inside a running event loop too.

    >>> from warren.connectors import memory
    >>> from warren.operators import debounce
    >>> calm = Pipeline("calm", memory.items([]) | debounce("1m") | memory.into([]))
    >>> with virtual(calm) as run:
    ...     early = run.send("a").advance("50s").values.copy()
    ...     late = run.send("b").advance("1m").values
    >>> early, late, run.now
    ([], ['b'], 110.0)
    """
    return Virtual(pipeline, start, faults)
