"""The two ends of a running pipeline: reading with credit, and writing with confirmation."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from reactivex.subject import Subject

from warren.core.chunk import Chunk, Failure, apply_each
from warren.core.codecs import decode_error, decoder
from warren.core.errors import PartialWriteError, PoisonError, StalledError, WarrenError, fingerprint
from warren.core.graph import Inlet, SinkConnection, SourceConnection
from warren.core.handles import Handles
from warren.core.message import Batch, Columns, Metadata, Outgoing
from warren.core.meter import metered
from warren.core.receipt import Delivery, Kind, Outcome, Token
from warren.core.stage import Feed, Stage
from warren.pipelines.letters import ROW, Content, Contents, reason
from warren.pipelines.tracing import following, traced
from warren.pipelines.turns import Turn

if TYPE_CHECKING:
    from warren.pipelines.runtime import Runtime

__all__ = ["DeadLetters", "Reader", "Writer"]

_LARGEST_CHUNK = 2048
_FIRST_CHUNK = 64
_CHUNK_BYTES = 1 << 20
_LETTERS = 1024


class Reader:
    """Reads one source as far as the credit allows, and tells it what was settled, many messages at a time."""

    def __init__(self, run: Runtime, inlet: Inlet[Any], connection: SourceConnection, turn: Turn | None = None) -> None:
        self.run = run
        self.inlet = inlet
        self.connection = connection
        self.turn = turn
        self.after: Sequence[Reader] = ()
        """Those that are read to their ends first."""
        self._behind: Feed | None = None
        self.chunks: Subject[Chunk] = Subject()
        self.accepted = 0
        self.ended = False
        self.paused = False
        self._decoders: dict[str, Callable[[bytes], Any]] = {}
        self.unacknowledged = 0
        self._settled: list[tuple[Delivery, Sequence[int], Outcome]] = []
        self._telling: asyncio.Task[None] | None = None
        self._parking: set[asyncio.Task[None]] = set()
        self._stage = Stage(run, "0", f"0:{inlet.name}")
        self._stage.connect(self.chunks.on_next)
        self._meter = self._stage.meter(1)
        self._follow = following(run, inlet.name)

    async def read(self) -> None:
        """Read until the source ends or the task is cancelled."""
        run, turn, limit = self.run, self.turn, _FIRST_CHUNK
        try:
            while True:
                while self._room() < 1 or (turn is not None and not turn.come()):
                    await self._credit()
                asked = min(limit, self._room())
                receiving = self._meter.reading(self.connection.receive(asked))
                batch = await (receiving if turn is None else turn.read(receiving))
                if batch is None:
                    self.ended = True
                    run.notify()
                    return
                if len(batch):
                    self.take(batch)
                    limit = _chunk_limit(batch.bodies[-1])
                if turn is not None:
                    turn.took(len(batch), asked)
                await asyncio.sleep(0)
        finally:
            if turn is not None:
                turn.rest()

    def _room(self) -> int:
        """How many messages may be read."""
        run, turn, behind = self.run, self.turn, self._behind
        if self.after:
            self.after = [each for each in self.after if not each.done]
        most = (run.credit + 1) // 2 if behind is not None and not behind.ended else run.credit
        room = 0 if self.after or self.paused else most - run.unacknowledged
        if room < 1 and run.unacknowledged < run.credit and turn is not None and turn.wants:
            # Others need not wait for one that waits for them.
            turn.rest()
        return room

    @property
    def behind(self) -> Feed | None:
        """The source that is read first while half of the credit is in use."""
        return self._behind

    @behind.setter
    def behind(self, feed: Feed | None) -> None:
        if feed is not self._behind:
            self._behind = feed
            self.run.notify()

    @property
    def done(self) -> bool:
        """Whether all it has is through, but for what steps hold until more comes."""
        unsettled = (delivery.source is self for delivery in self.run.ledger.deliveries)
        return self.ended and not (self.run.busy and any(unsettled))

    async def _credit(self) -> None:
        run = self.run
        changed = run.changed()
        if run.stalled:
            raise StalledError(
                f"pipeline {run.name!r}: all {run.credit} credits are held by steps that wait for more messages, and no "
                f"timer will let them go; raise Pipeline(credit=...) above what its windows and batches hold at once"
            )
        await self._meter.blocking(changed)

    def take(self, batch: Batch) -> None:
        """Take over what was read: decode it and push it through the pipeline."""
        run = self.run
        self.accepted += len(batch)
        self.unacknowledged += len(batch)
        run.depth = batch.depth
        delivery = run.ledger.accept(self, batch, run.clock())
        self._follow(delivery)
        self._stage.serve(self._decode(batch, delivery))(Chunk(list(batch.bodies), delivery.tokens))

    def _decode(self, batch: Batch, delivery: Delivery) -> Callable[[Chunk], Chunk]:
        def handle(chunk: Chunk) -> Chunk:
            results, errors = self._decoded(batch)
            if batch.deliveries is not None:
                results, errors = self._poisoned(batch, results, errors)
            if not errors:
                return Chunk(results, delivery.tokens)
            failures = [
                Failure(delivery.base + i, batch.bodies[i], error, self._stage.name) for i, error in sorted(errors.items())
            ]
            tokens = [token for i, token in enumerate(delivery.tokens) if i not in errors]
            return Chunk(results, tokens, failures)

        return handle

    def _decoded(self, batch: Batch) -> tuple[list[Any], dict[int, Exception]]:
        if self.inlet.type is None:
            return list(batch.bodies), {}
        types = batch.content_type
        if isinstance(types, str):
            results, errors = apply_each(self._decoder(types), batch.bodies)
        else:
            pairs = list(zip(types, batch.bodies, strict=True))
            results, errors = apply_each(lambda pair: self._decoder(pair[0])(pair[1]), pairs)
        for i, error in errors.items():
            errors[i] = decode_error(error, batch.bodies[i], f"{self.inlet.name}, message {batch.metadata(i).id}")
        return results, errors

    def _decoder(self, content_type: str) -> Callable[[bytes], Any]:
        """The decoder of a content type, made once."""
        if content_type not in self._decoders:
            self._decoders[content_type] = _decoder(self.inlet.type, content_type)
        return self._decoders[content_type]

    def _poisoned(
        self, batch: Batch, results: list[Any], errors: dict[int, Exception]
    ) -> tuple[list[Any], dict[int, Exception]]:
        limit, counts = getattr(self.inlet, "max_deliveries", None), batch.deliveries
        if limit is None or counts is None or max(counts) <= limit:
            return results, errors
        tried = batch.attempts
        values = iter(results)
        kept = []
        for i, count in enumerate(counts):
            value = None if i in errors else next(values)
            if tried is not None and not self.inlet.losses_are_attempts:
                # A delivery that ended with the message parked for another attempt did come to its end.
                count -= tried[i] - 1
            if count > limit:
                errors[i] = PoisonError(
                    f"{self.inlet.name}: message {batch.metadata(i).id} was handed out {count} times and never settled, "
                    f"more than max_deliveries={limit}; look at what its handler does to the worker, then replay it"
                )
            elif i not in errors:
                kept.append(value)
        return kept, errors

    def settled(self, delivery: Delivery, tokens: Sequence[int], outcome: Outcome) -> None:
        """Messages of this source reached their end: tell it, soon, or when their effect on the state is durable."""
        if self.run.keeper is None or outcome.kind >= Kind.PARKED:
            self.tell(delivery, tokens, outcome)
        else:
            self.run.keeper.wait(self, delivery, tokens, outcome)

    def tell(self, delivery: Delivery, tokens: Sequence[int], outcome: Outcome) -> None:
        """Have the source told."""
        self._settled.append((delivery, tokens, outcome))
        if self._telling is None:
            self._telling = asyncio.get_running_loop().create_task(self._tell())
            self._telling.add_done_callback(self.run.check)

    async def _tell(self) -> None:
        try:
            # What is settled in this turn of the loop is told together, so that most deliveries are whole.
            await asyncio.sleep(0)
            while self._settled:
                settled, self._settled = self._settled, []
                done: dict[Delivery, list[Sequence[int]]] = {}
                back: dict[tuple[float, int | None], list[Hashable]] = {}
                for delivery, tokens, outcome in settled:
                    if outcome.kind < Kind.PARKED:
                        done.setdefault(delivery, []).append(tokens)
                    elif outcome.kind is Kind.RELEASED:
                        back.setdefault((0.0, None), []).extend(Handles({delivery: [tokens]}))
                    else:
                        for token in tokens:
                            key = (outcome.delay, delivery.attempt(token) + 1)
                            back.setdefault(key, []).append(delivery.batch.handles[token - delivery.base])
                if done:
                    # One call for all: what was merged is then acknowledged in one transaction where the source has them.
                    await self.connection.acknowledge(Handles(done))
                for (delay, attempts), handles in back.items():
                    if delay > 0:
                        self._park(handles, delay, attempts)
                    else:
                        await self.connection.release(handles, delay, attempts)
                parked = sum(len(handles) for (delay, _), handles in back.items() if delay > 0)
                self.unacknowledged -= sum(len(tokens) for _, tokens, _ in settled) - parked
                self.run.notify()
        finally:
            self._telling = None

    def _park(self, handles: Sequence[Hashable], delay: float, attempts: int | None) -> None:
        """Have the source keep messages for a while; acknowledgements do not wait for that."""

        async def park() -> None:
            await self.connection.release(handles, delay, attempts)
            self.unacknowledged -= len(handles)
            self.run.notify()

        task = asyncio.get_running_loop().create_task(park())
        self._parking.add(task)
        task.add_done_callback(self._parking.discard)
        task.add_done_callback(self.run.check)

    async def told(self) -> None:
        """Wait until the source knows of everything settled so far."""
        # One that was cancelled before it began has never said that it is over.
        while waiting := {*self._parking, *((self._telling,) if self._telling and not self._telling.done() else ())}:
            await asyncio.wait(waiting)


def _chunk_limit(body: object) -> int:
    """How many messages such as this one make a chunk that stays in the processor's cache from step to step."""
    size = len(body) if isinstance(body, bytes) else 1
    return max(1, min(_LARGEST_CHUNK, _CHUNK_BYTES // max(size, 1)))


def _decoder(kind: Any, content_type: str) -> Callable[[bytes], Any]:
    """A decoder; where the content type is unknown or cannot be read as that type, one that says so of each message."""
    try:
        return decoder(kind, content_type)
    except WarrenError as error:
        reason = error

    def refuse(body: bytes) -> Any:
        raise reason

    return refuse


class Writer:
    """Writes what reaches one sink, everything that is ready in one go, and settles it when it is safe."""

    def __init__(self, run: Runtime, name: str, connection: SinkConnection) -> None:
        self.run = run
        self.name = name
        self.connection = traced(run, name, connection)
        self._pending: list[Chunk] = []
        self._writing = False
        self._outcome = Outcome(Kind.DELIVERED, name)
        self._meter = metered(run, name, 1)

    def take(self, chunk: Chunk) -> None:
        """Have a chunk written; its failures go to the pipeline's dead letters."""
        if chunk.failures:
            self.run.dead_letter(chunk.failures)
        if chunk.values:
            self._pending.append(chunk)
            self._meter.queue(len(chunk.values))
            if not self._writing:
                self._writing = True
                self.run.spawn(self._write())

    async def _write(self) -> None:
        while self._pending:
            chunks, self._pending = self._pending, []
            await self._write_all(chunks)
        self._writing = False

    async def _write_all(self, chunks: list[Chunk]) -> None:
        values = chunks[0].values if len(chunks) == 1 else list(chain.from_iterable(chunk.values for chunk in chunks))
        ledger = self.run.ledger
        listed: list[Token] = []

        def token(index: int) -> Token:
            # Listed when one is asked for: what is settled as a whole need not be.
            if not listed:
                listed.extend(chain.from_iterable(chunk.tokens for chunk in chunks))
            return listed[index]

        def columns() -> Columns:
            return Columns.joined([ledger.columns(chunk.tokens) for chunk in chunks], [len(chunk) for chunk in chunks])

        try:
            outgoing = Outgoing(values, lambda i: ledger.metadata(token(i)), columns, [chunk.tokens for chunk in chunks])
            await self._meter.calling(len(values), self.connection.write(outgoing))
        except PartialWriteError as error:
            refused = error.errors
            safe = [token(i) for i in range(len(values)) if i not in refused]
            self.run.ledger.settle(safe, self._outcome)
            self.run.dead_letter([Failure(token(i), values[i], e, self.name) for i, e in sorted(refused.items())])
            return
        for chunk in chunks:
            self.run.ledger.settle(chunk.tokens, self._outcome)


class DeadLetters:
    """Writes failed messages, as they came, to the dead-letter queues of one name: each source has its own."""

    def __init__(self, run: Runtime, queue: str) -> None:
        self.run = run
        self.queue = queue
        self._connections: dict[Reader, SinkConnection] = {}
        self._pending: list[Failure] = []
        self._writing = False
        self._contents = Contents(run.ledger)

    def take(self, failures: Iterable[Failure]) -> None:
        """Have failures written and settled."""
        self._pending.extend(failures)
        if self._pending and not self._writing:
            self._writing = True
            self.run.spawn(self._write())

    async def _write(self) -> None:
        while self._pending:
            failures, self._pending = self._pending[:_LETTERS], self._pending[_LETTERS:]
            letters: dict[Any, tuple[list[Any], list[Metadata], list[Token]]] = {}
            for failure in failures:
                for content in self._contents.of(failure.token):
                    bodies, metadata, tokens = letters.setdefault(content.delivery.source, ([], [], []))
                    bodies.append(content.body)
                    tokens.append(content.origin)
                    metadata.append(self._metadata(failure, content))
            self._contents.forget()
            for source, (bodies, metadata, tokens) in letters.items():
                if source not in self._connections:
                    opened = await self.run.open_dead_letters(source.inlet, self.queue)
                    self._connections[source] = traced(self.run, source.inlet.beside(self.queue), opened)
                await self._connections[source].write(Outgoing(bodies, metadata.__getitem__, tokens=(tokens,)))
            for failure in failures:
                self.run.ledger.settle((failure.token,), Outcome(Kind.DEAD_LETTERED, self.queue, failure))
        self._writing = False

    def _metadata(self, failure: Failure, content: Content) -> Metadata:
        delivery, origin = content.delivery, content.origin
        metadata = delivery.batch.metadata(origin - delivery.base)
        now = self.run.clock()
        given = {**metadata.headers, **delivery.batch.origin(origin - delivery.base)}
        headers = {
            **given,
            "warren-error": type(failure.error).__name__,
            "warren-reason": reason(failure.error),
            "warren-fingerprint": fingerprint(failure.error),
            "warren-stage": failure.stage,
            "warren-attempts": str(delivery.attempt(origin)),
            "warren-first-failed": given.get("warren-first-failed", f"{now:.6f}"),
            "warren-last-failed": f"{now:.6f}",
            "warren-pipeline": self.run.name,
            "warren-source": delivery.source.inlet.name,  # type: ignore[attr-defined]  # it is a Reader
        }
        if content.part is not None:
            headers[ROW] = content.row
            headers["warren-attempts"] = str(delivery.durable_attempt(origin) + failure.attempt - 1)
        return Metadata(
            id=metadata.id if content.part is None else f"{metadata.id}/{content.part}",
            headers=headers,
            timestamp=metadata.timestamp,
            key=metadata.key,
            content_type=content.content_type,
        )

    async def close(self) -> None:
        """Finish and close."""
        for connection in self._connections.values():
            await connection.close()
