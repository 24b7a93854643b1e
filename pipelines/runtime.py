"""A pipeline while it runs: opens the ends, keeps the credit, drains, settles, closes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, TypeVar

from warren.core.chunk import Chunk, Failure
from warren.core.clock import Clock
from warren.core.errors import ShutdownError, StalledError, WarrenError
from warren.core.graph import Inlet, Outlet, SinkConnection, SourceConnection, Step
from warren.core.health import HasHealth, Health
from warren.core.hooks import FlowObserver, RunObserver
from warren.core.receipt import Delivery, Ledger, Outcome
from warren.core.stage import Feed, compile_steps
from warren.pipelines.checkpoints import Keeper
from warren.pipelines.closing import GRACE, close_all
from warren.pipelines.controls import steer
from warren.pipelines.credit import TunedCredit
from warren.pipelines.depths import watched
from warren.pipelines.endpoints import DeadLetters, Reader, Writer
from warren.pipelines.plan import outlets
from warren.pipelines.scheduler import Scheduler
from warren.pipelines.sources import opened
from warren.pipelines.turns import Turns

if TYPE_CHECKING:
    from warren.pipelines.pipeline import Pipeline

__all__ = ["Runtime"]

E = TypeVar("E")


class Runtime:
    """Runs one pipeline once, on the running event loop.

    Reads while there is credit; ends when the sources do, when `stop` is called, or with the first error that is not one
    message's. Then it stops reading, drains what is in flight, flushes what is held, tells the sources, and closes; what is
    still unsettled at the deadline goes back to its source.
    """

    def __init__(
        self, pipeline: Pipeline, *, clock: Clock, observers: Sequence[FlowObserver] = (), until_empty: bool = False
    ) -> None:
        self.pipeline = pipeline
        self.name = pipeline.name
        self.credit = pipeline.credit
        self._tuned: TunedCredit | None = None
        self.clock = clock
        self.observers = observers
        self.until_empty = until_empty
        self.ledger = Ledger(self._settled)
        self.scheduler = Scheduler(asyncio.get_running_loop())
        self.depth: int | None = None
        self._busy = self._timers = 0
        self._context = copy_context()  # tasks start in it, as what is handled meanwhile is not theirs
        self._tasks: set[asyncio.Task[None]] = set()
        self._flushes: list[Callable[[], None]] = []
        self._closes: list[Callable[[], None]] = []
        self._waiters: list[asyncio.Future[None]] = []
        self._stopping = False
        # Done once the pipeline is stopped or has failed: what waits for the end need not wake at every change.
        self._halted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._error: BaseException | None = None
        self._readers: list[Reader] = []
        self.sources: Sequence[Feed] = ()
        self._turns = Turns(self.notify)
        self._sinks: dict[int, SinkConnection] = {}
        self._writers: dict[int, Writer] = {}
        self._dead: dict[str, DeadLetters] = {}
        self._ends: list[HasHealth] = []
        self._opened = False
        self.keeper: Keeper | None = None

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine beside the stream; the pipeline counts as busy until it ends, and stops if it raises."""
        if self.scheduler.closed:
            work.close()
            return
        self._busy += 1
        task = asyncio.get_running_loop().create_task(work, context=self._context.copy())
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled() and not self.scheduler.closed:
            self.crash(WarrenError(f"pipeline {self.name!r}: a task of it was cancelled by a handler or a connector"))
        self.check(task)
        self.end()

    def check(self, task: asyncio.Task[None]) -> None:
        """Stop the pipeline if a task of it has failed."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self.crash(error)

    def crash(self, error: BaseException) -> None:
        """Stop with an error; what is unsettled goes back to its source."""
        if self._error is None:
            self._error = error
        self._halt()

    def _halt(self) -> None:
        if not self._halted.done():
            self._halted.set_result(None)
        self.notify()

    def begin(self) -> None:
        """Say that something is under way that will go on by itself."""
        self._busy += 1

    def end(self) -> None:
        """Say that it is over."""
        self._busy -= 1
        if not self._busy:
            self.notify()

    def timers(self, change: int) -> None:
        """Say how many more timers will let held messages go."""
        self._timers += change
        if not self._timers:
            self.notify()

    def on_flush(self, flush: Callable[[], None]) -> None:
        """Have ``flush`` called when no more messages come."""
        self._flushes.append(flush)

    def on_close(self, close: Callable[[], None]) -> None:
        """Have ``close`` called when the run has ended."""
        self._closes.append(close)

    def on_depth(self, branch: Step, every: float, tell: Callable[[int, float], None]) -> None:
        """Have ``tell`` called with how many messages wait where a branch writes to."""
        self.on_close(watched(self._sinks, branch, self.clock, every, tell))

    def notify(self) -> None:
        """Wake whoever waits for a change."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def changed(self) -> asyncio.Future[None]:
        """Done at the next change of credit, work in progress, or state."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        return waiter

    @property
    def unacknowledged(self) -> int:
        """How many messages the sources have handed out and not yet been told the end of."""
        return sum(reader.unacknowledged for reader in self._readers)

    @property
    def checkpointed(self) -> float | None:
        """When the last checkpoint was durable; ``None`` where nothing is kept."""
        return None if self.keeper is None else self.keeper.checkpointed

    @property
    def busy(self) -> bool:
        """Whether something is under way that will go on by itself."""
        return self._busy > 0

    @property
    def stalled(self) -> bool:
        """Whether nothing will happen unless more messages come."""
        return not self._busy and not self._timers and self.ledger.outstanding >= self.credit

    def _settled(self, delivery: Delivery, tokens: Sequence[int], outcome: Outcome) -> None:
        reader: Reader = delivery.source  # type: ignore[assignment]  # readers are the only ones that accept
        reader.settled(delivery, tokens, outcome)
        if self._tuned is not None:
            self._tuned.settled(delivery, tokens, outcome)
        if self.observers:
            now = self.clock()
            for observer in self.observers:
                observer.settled(delivery, tokens, outcome, now)

    @property
    def exhausted(self) -> bool:
        """Whether the sources have ended for good."""
        return not self._halted.done() and all(reader.inlet.bounded for reader in self._readers)

    @property
    def stopping(self) -> bool:
        """Whether it ends before its sources do."""
        return self._halted.done()

    def terminal(self, outlet: Outlet[Any], path: str) -> Callable[[Chunk], None]:
        """Where a branch ends."""
        # One writer for each sink, however many branches lead there: a connection is never written to twice at a time.
        if id(outlet) not in self._writers:
            self._writers[id(outlet)] = Writer(self, outlet.name, self._sinks[id(outlet)])
        return self._writers[id(outlet)].take

    def dead_letter(self, failures: Sequence[Failure], queue: str | None = None) -> None:
        """Write failed messages durably to a dead-letter queue of their source, then settle them."""
        name = queue or self.pipeline.dead_letters
        if name not in self._dead:
            self._dead[name] = DeadLetters(self, name)
        self._dead[name].take(failures)

    async def open_dead_letters(self, inlet: Inlet[Any], queue: str) -> SinkConnection:
        """Connect to a dead-letter queue."""
        sink = inlet.dead_letters(queue)
        assert isinstance(sink, Outlet)
        return self._observe(await sink.open())

    async def open_source(self, inlet: Inlet[Any]) -> SourceConnection:
        """Connect to a source."""
        return self._observe(await inlet.open_ahead(self.pipeline.most, until_empty=self.until_empty))

    async def open_state(self) -> None:
        """Read what steps remember."""
        if self.pipeline.state is not None:
            self.keeper = Keeper(self, self.pipeline.state)
            await self.keeper.open()

    async def open_sink(self, outlet: Outlet[Any]) -> SinkConnection:
        """Connect to a sink."""
        return self._observe(await outlet.open())

    def _observe(self, connection: E) -> E:
        if isinstance(connection, HasHealth):
            self._ends.append(connection)
        return connection

    async def health(self, patience: float) -> Health:
        """How it fares, with all of its ends that can tell."""
        if self._error is not None or self.scheduler.closed:
            reason = f"it has ended: {self._error}" if self._error is not None else "it has ended"
            return Health(name=self.name, live=False, ready=False, reasons=(reason,))
        opened = self._opened
        told = await asyncio.gather(*(end.health(patience) for end in self._ends))
        if not opened or self._halted.done():
            reason = "it is stopping" if opened else "it is still connecting"
            told.append(Health(name=self.name, ready=False, reasons=(reason,)))
        return Health.joined(self.name, told)

    def stop(self) -> None:
        """Stop reading, drain and end. Calling it again does nothing."""
        self._stopping = True
        self._halt()

    async def execute(self) -> None:
        """Run to the end."""
        try:
            for observer in self.observers:
                if isinstance(observer, RunObserver):
                    observer.started(self)
            await self._open_unless_stopped()
            while self._opened:
                accepted = sum(reader.accepted for reader in self._readers)
                await self._read()
                await self._drain()
                if self._stopping or accepted == sum(reader.accepted for reader in self._readers):
                    break
        finally:
            await self._closed()
        if self._error is not None:
            raise self._error

    async def _open_unless_stopped(self) -> None:
        """Open everything, unless somebody stops the pipeline meanwhile: an end may wait for a server that is away."""
        opening = asyncio.ensure_future(self._open())
        try:
            await asyncio.wait((opening, self._halted), return_when=asyncio.FIRST_COMPLETED)
        finally:
            opening.cancel()
            await asyncio.wait((opening,))
        if not opening.cancelled():
            opening.result()

    async def _open(self) -> None:
        flow = self.pipeline.flow
        await self.open_state()
        for outlet in outlets(flow):
            if id(outlet) not in self._sinks:
                self._sinks[id(outlet)] = await self.open_sink(outlet)
        source = await opened(self, flow.source, self._readers, self._turns)
        for observer in self.observers:
            observer.open(self.name)
        if self.pipeline.setting is not None:
            self._tuned = TunedCredit(self, self.pipeline.setting)
        self.sources = self._readers
        end = flow.sink.compile(self, "")
        compile_steps(self, "", flow.steps)(source).subscribe(end, self.crash)
        if self.keeper is not None:
            self.keeper.check()
        steer(self, self._readers)
        self._opened = True

    async def _read(self) -> None:
        """Read until the sources end, or until stopped or failed."""
        reading = {asyncio.ensure_future(reader.read()) for reader in self._readers}
        for task in reading:
            task.add_done_callback(self.check)
        try:
            while not self._halted.done() and (left := [task for task in reading if not task.done()]):
                await asyncio.wait((*left, self._halted), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in reading:
                task.cancel()
            await asyncio.wait(reading)
        self._raise()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    async def _quiet(self) -> None:
        while self._busy:
            self._raise()
            await self.changed()
        self._raise()

    async def _drain(self) -> None:
        """See everything in flight to its end; with a deadline once stopping."""
        draining = asyncio.ensure_future(self._flush())
        try:
            await asyncio.wait((draining, self._halted), return_when=asyncio.FIRST_COMPLETED)
            async with asyncio.timeout(self.pipeline.shutdown if self._halted.done() else None):
                await draining
        except TimeoutError:
            if draining.done() and not draining.cancelled():
                raise
            raise ShutdownError(
                f"pipeline {self.name!r}: {self.ledger.outstanding} message(s) were still in flight after "
                f"{self.pipeline.shutdown:g} s and went back to their source; raise Pipeline(shutdown=...) or give the slow "
                f"step a timeout"
            ) from None
        finally:
            if not draining.done():
                draining.cancel()

    async def _flush(self) -> None:
        await self._quiet()
        while True:
            before = self.ledger.outstanding
            # Once even if nothing is unsettled: a step may have a last value to give, or a complaint.
            for flush in self._flushes:
                flush()
                await self._quiet()
            if not self.ledger.outstanding:
                break
            if self.ledger.outstanding == before:
                raise StalledError(
                    f"pipeline {self.name!r}: {before} message(s) are held by a step that does not let them go at a flush; "
                    f"they went back to their source. Look at operators of your own: each value must be emitted or settled"
                )
        if self.keeper is not None:
            await self.keeper.finish()
        for reader in self._readers:
            await reader.told()
        self._raise()

    async def _closed(self) -> None:
        """Close everything; a cancellation that comes meanwhile must not leave messages with a connection nobody closes."""
        closing = asyncio.ensure_future(self._close())
        try:
            await asyncio.shield(closing)
        except asyncio.CancelledError:
            await asyncio.wait((closing,))
            raise

    async def _close(self) -> None:
        self.scheduler.closed = True
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            # A handler may refuse to be cancelled; its message goes back all the same.
            await asyncio.wait(self._tasks, timeout=GRACE)
        self.ledger.release_all()
        for end in self._closes:
            try:
                end()
            except Exception as error:
                self.crash(error)
        closing: list[Callable[[], Coroutine[Any, Any, None]]] = [reader.told for reader in self._readers]
        closing += [letters.close for letters in self._dead.values()]
        closing += [sink.close for sink in self._sinks.values()]
        closing += [reader.connection.close for reader in self._readers]
        closing += [self.keeper.close] if self.keeper is not None else []
        await close_all(self.name, closing, self.crash)
        for observer in self.observers:
            try:
                observer.close()
            except Exception as error:
                self.crash(error)
