"""Tuning on a live broker: messages go round through a queue and a step that calls a service behind a proxy."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from benchmarks.tuning_model.plant import Call, Run
from benchmarks.tuning_model.scoring import SETTLED, Case, Fixed, Tried, part, shares, subjects, summary
from benchmarks.tuning_model.service import Client, Load, Now, served
from tests.brokers.proxy import Proxy
from warren import Pipeline
from warren.connectors import memory, rabbitmq
from warren.core.clock import Clock
from warren.core.errors import ShutdownError
from warren.core.knobs import Knob, Setting
from warren.operators import map

__all__ = ["CASES", "QUICK", "WHOLE", "Spans", "measure"]

REGIMES = (
    Load("usual", work=0.08, workers=16, coherency=0.0002),
    Load("slow service", work=0.25, workers=48, coherency=0.0001),
    Load("high variance", work=0.1, spread=2.5, workers=24, coherency=0.0003),
    Load("contended", work=0.03, workers=64, contention=0.02, coherency=0.004),
    Load("far away", work=0.03, workers=6, delay=0.15, coherency=0.0002),
    Load("large messages", work=0.04, workers=8, spread=0.5, contention=0.01, coherency=0.002, size=10_000),
    Load("near and quick", work=0.02, workers=4, spread=0.5, coherency=0.001),
)
KNOB = Knob("concurrency", 1, 128, 16)
CASES = {
    "live": Case("live: concurrency, as much throughput as there is", REGIMES, KNOB),
    "live-bounded": Case("live: concurrency, p95 within 0.8 s", REGIMES, KNOB, 0.8),
}
VALUES = (1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20, 25, 32, 40, 50, 64, 90, 128)
CREDIT = 256

Found: TypeAlias = tuple[Case, list[list[Tried]], dict[str, dict[str, Any]]]


@dataclass(frozen=True)
class Spans:
    """How long each part lasts, in seconds, which values and how many regimes there are, and how many go side by side."""

    values: Sequence[int] = VALUES
    regimes: int = len(REGIMES)
    begins: float = 2.0
    tries: float = 8.0
    again: float = 16.0
    lasts: float = 60.0
    settled: float = SETTLED
    beside: int = 6


WHOLE = Spans()
QUICK = Spans((4, 16, 64), 2, 0.5, 1.0, 1.0, 4.0, 2.0, 3)


class _Watched:
    """A setting whose calls and values are written down."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.knob = setting.knob
        self.began = time.time()
        self.run = Run([], [(0.0, setting.value)])

    @property
    def value(self) -> int:
        return self.setting.value

    def open(self, clock: Clock) -> None:
        self.setting.open(clock)

    def ended(self, seconds: float, success: bool, *, in_flight: float = 0.0, count: int = 1) -> None:
        now = time.time() - self.began
        self.setting.ended(seconds, success, in_flight=in_flight, count=count)
        self.run.calls.append(Call(now, seconds, count))
        if self.value != self.run.values[-1][1]:
            self.run.values.append((now, self.value))


class _Site:
    """The service, the proxy before it, and queues through which messages go round."""

    def __init__(self, url: str, now: Now, proxy: Proxy) -> None:
        self.broker = rabbitmq.Broker(url)
        self.now = now
        self.proxy = proxy

    def queue(self, place: int) -> Any:
        return rabbitmq.queue(f"tuning-{place}", broker=self.broker, kind="classic", persistent=False, max_deliveries=None)

    async def change(self, load: Any) -> None:
        self.now.load = load
        await asyncio.to_thread(self.proxy.delay, load.delay / 2)

    async def fill(self, count: int) -> None:
        """Let each queue have what keeps a pipeline busy."""
        for place in range(count):
            await Pipeline("fill", memory.items([bytes(200)] * (2 * CREDIT)) | self.queue(place)).start()

    @asynccontextmanager
    async def round(self, place: int, setting: Setting) -> AsyncIterator[None]:
        """Let messages go from a queue through the step to the same queue, until this is left."""
        loop = asyncio.get_running_loop()
        transport, client = await loop.create_connection(lambda: Client(self.now), "127.0.0.1", self.proxy.port)
        queue = self.queue(place)
        flow = queue | map(client.__call__, concurrency=setting, ordered=False) | self.queue(place)
        running = Pipeline(f"tuning-{place}", flow, credit=CREDIT, shutdown="1s").start()
        try:
            yield
        finally:
            running.stop()
            try:
                await running
            except ShutdownError:
                # What was in flight is back in its queue.
                pass
            transport.close()


@asynccontextmanager
async def _site(url: str, load: Load) -> AsyncIterator[_Site]:
    now = Now(load)
    server = await served(now)
    async with server:
        with Proxy(server.sockets[0].getsockname()[1]) as proxy:
            yield _Site(url, now, proxy)


async def _grids(site: _Site, case: Case, spans: Spans) -> list[list[Tried]]:
    """Of each regime, what each value does; the three best are tried again, as the best of many is so by luck too."""
    fixed = [Fixed(case.knob, case.knob.start) for _ in range(spans.beside)]
    watched = [_Watched(setting) for setting in fixed]
    grids = []

    async def tried(values: Sequence[int], lasts: float) -> list[Tried]:
        for setting, value in zip(fixed, values, strict=False):
            setting.value = value
        await asyncio.sleep(spans.begins)
        starts = [time.time() - each.began for each in watched]
        await asyncio.sleep(lasts)
        pairs = zip(values, watched, starts, strict=False)
        return [Tried(value, *part(each.run.calls, start, start + lasts)) for value, each, start in pairs]

    async with AsyncExitStack() as stack:
        for place, each in enumerate(watched):
            await stack.enter_async_context(site.round(place, each))
        for load in case.regimes:
            await site.change(load)
            rows: dict[int, Tried] = {}
            for i in range(0, len(spans.values), spans.beside):
                for row in await tried(spans.values[i : i + spans.beside], spans.tries):
                    rows[row.value] = row
            first = sorted(rows.values(), key=lambda row: -row.rate if row.tail <= case.latency else row.value)
            found: dict[int, list[Tried]] = {}
            for row in await tried([row.value for row in first[:3]] * (spans.beside // 3), spans.again):
                found.setdefault(row.value, []).append(row)
            for value, again in found.items():
                many = len(again)
                rows[value] = Tried(value, sum(row.rate for row in again) / many, sum(row.tail for row in again) / many)
            # Of the others each is what it was once; none of them counts as better than the best that was tried again.
            most = max(rows[value].rate for value in found)
            grids.append([row._replace(rate=min(row.rate, most)) for row in rows.values()])
    return grids


async def _runs(site: _Site, case: Case, grids: list[list[Tried]], spans: Spans) -> dict[str, Run]:
    """All subjects side by side through all regimes, so that what else the machine does befalls all of them."""
    watched = {}
    async with AsyncExitStack() as stack:
        await site.change(case.regimes[0])
        for place, (name, make) in enumerate(subjects(case, grids).items()):
            watched[name] = _Watched(make())
            await stack.enter_async_context(site.round(place, watched[name]))
        began = time.time()
        for each in watched.values():
            each.began = began
            each.run.calls.clear()
        for k, load in enumerate(case.regimes):
            await site.change(load)
            await asyncio.sleep(began + (k + 1) * spans.lasts - time.time())
    return {name: each.run for name, each in watched.items()}


async def _measured(case: Case, url: str, spans: Spans) -> Found:
    regimes = case.regimes[: spans.regimes]
    case = Case(case.title, regimes, case.knob, case.latency)
    load = regimes[0]
    assert isinstance(load, Load)
    async with _site(url, load) as site:
        await site.fill(max(spans.beside, len(subjects(case, []))))
        grids = await _grids(site, case, spans)
        runs = await _runs(site, case, grids, spans)
    results = {}
    for name, run in runs.items():
        rows = [(each.name, shares(case, run, k, spans.lasts, grids[k], spans.settled)) for k, each in enumerate(regimes)]
        results[name] = summary(case, rows)
    return case, grids, results


def measure(case: Case, url: str, spans: Spans = WHOLE) -> Found:
    """The truth by a grid search, and what came of each subject, on the broker at an address."""
    try:
        import uvloop
    except ImportError:
        loop = asyncio.new_event_loop
    else:
        loop = uvloop.new_event_loop
    # The loop that `Pipeline.run` would take: what the loop itself needs is time that calls seem to take.
    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(_measured(case, url, spans))
