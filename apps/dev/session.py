"""One sitting: the pipeline runs, and anew after each save, until somebody ends it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence

from warren.apps.dev.bench import Bench, Make, Tell
from warren.apps.dev.project import Project
from warren.apps.dev.samples import Sample, made, read, shared
from warren.core.errors import WarrenError
from warren.core.wakeful import on_signals
from warren.core.words import plural
from warren.pipelines import Pipeline
from warren.pipelines.pipeline import Running

__all__ = ["Session"]

POLL = 0.2
"""Seconds between two looks at the files; what was saved is loaded once two looks agree."""


class Session:
    """Runs a pipeline on the embedded broker; ``say`` hears sentences, ``tell`` where values went."""

    def __init__(
        self,
        project: Project,
        pipeline: Pipeline,
        make: Make,
        *,
        files: Sequence[str],
        records: bool,
        limit: int,
        tell: Tell,
        say: Callable[[str], None],
    ) -> None:
        self.project = project
        self.make = make
        self.files = files
        self.records = records
        self.limit = limit
        self.tell = tell
        self.say = say
        self._pipeline = pipeline
        self._samples = self._sampled(pipeline)
        self._ended = asyncio.Event()

    def _sampled(self, pipeline: Pipeline) -> dict[str, list[Sample]]:
        """The samples of each source. Raises `AddressError` where there can be none."""
        inlets = {inlet.name: inlet for inlet in pipeline.flow.source.inlets()}
        files = shared([*inlets], self.files)
        samples = {name: read(file, self.records)[: self.limit] for name, file in files.items()}
        for name, inlet in inlets.items():
            if name not in samples and not inlet.bounded:
                samples[name] = made(inlet.type, self.limit)
                if inlet.type is None:
                    self.say(f'{name} says no type, so its samples are {{"n": 1}} and so on; give some with --samples FILE.')
        return samples

    def end(self) -> None:
        """End it gracefully."""
        self._ended.set()

    async def run(self) -> None:
        """Run until it is ended."""
        with _interrupts(self.end):
            self.project.changed()
            while not self._ended.is_set():
                await self._once()
                if not self._ended.is_set():
                    self.say("Saved; it runs anew.")

    async def _once(self) -> None:
        """Run one version, until there is another one."""
        bench = Bench(self._pipeline, self.make, self._samples, self.limit, self.tell)
        running = Running(bench)
        feeding = asyncio.ensure_future(self._feed(bench))
        over = asyncio.ensure_future(self._over(running, bench))
        try:
            while not self._ended.is_set():
                if await self._saved() and self._loaded():
                    break
        finally:
            feeding.cancel()
            running.stop()
            await asyncio.wait((feeding, over))

    async def _feed(self, bench: Bench) -> None:
        """Send the samples once the pipeline is open, and say what became of them once all are settled."""
        settled = asyncio.Event()
        bench.on_settled = settled.set
        await bench.ready.wait()
        sent = await bench.feed()
        while sent and bench.outcomes.total() < sent:
            settled.clear()
            await settled.wait()
        if sent:
            self._sum_up(bench)

    async def _over(self, running: Running, bench: Bench) -> None:
        """What ended it by itself is said; the next save runs it again."""
        try:
            await running
        except Exception as error:
            text = str(error) if isinstance(error, WarrenError) else f"{type(error).__name__}: {error}"
            self.say(f"It has stopped: {' '.join(text.split())}; save to run it again.")
        else:
            if not bench.stopping:
                self._sum_up(bench)

    def _sum_up(self, bench: Bench) -> None:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(bench.outcomes.items()))
        self.say(
            f"{plural(bench.outcomes.total(), 'message')}: {kinds or 'none came'}. Save to run it again, Ctrl-C to end."
        )

    async def _saved(self) -> bool:
        """Whether something was saved, once no more of it comes."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ended.wait(), POLL)
        saved = False
        while not self._ended.is_set() and self.project.changed():
            saved = True
            await asyncio.sleep(POLL)
        return saved

    def _loaded(self) -> bool:
        try:
            pipeline = self.project.load()
            self._samples, self._pipeline = self._sampled(pipeline), pipeline
        except WarrenError as error:
            self.say(f"{' '.join(str(error).split())}; the version before it goes on.")
            return False
        return True


@contextlib.contextmanager
def _interrupts(end: Callable[[], None]) -> Iterator[None]:
    """The first Ctrl-C ends it gracefully, the second one at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    first = True

    def handle(number: int, frame: object) -> None:
        nonlocal first
        if not first:
            raise KeyboardInterrupt
        first = False
        loop.call_soon_threadsafe(end)

    with on_signals(handle):
        yield
