"""`for_each`: steps for every row of a message, and the rows put together again behind them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Any, TypeVar

from reactivex.subject import Subject

from warren.core.arrow import frame_of
from warren.core.chunk import Chunk, Failure, apply_each
from warren.core.errors import GraphError, HandlerError, shorten
from warren.core.graph import Operator, Step
from warren.core.receipt import FILTERED, Kind, Part, Token
from warren.core.stage import Handler, RxOperator, Stage, compile_steps, wired
from warren.operators.holding import together
from warren.operators.rows import Rows, numbered, read_rows

__all__ = ["for_each"]

U = TypeVar("U")


def for_each(steps: Operator[Any, U], type: Any = None) -> Operator[Any, list[U]]:
    """Put each row of a message through some steps, and what they give for all its rows together again, as a list.

    This is `explode` and its opposite (``implode`` in Polars, ``for_each`` in Redpanda Connect): one message comes out for
    each that goes in, with its id. The rows are those of a data frame, as dicts or as what ``type`` says, or the items of a
    list. What the steps give follows the order of the rows, whatever the order in which it came. Rows that a step filters
    out are left out; a message of which nothing is left is settled. To have a frame again, write ``map(polars.DataFrame)``
    behind it.

    Keeps the delivery guarantee: the list goes on when every row has come out, was filtered out, or is durable as a dead
    letter. A row fails, is retried and dead-lettered by itself, as after `explode`, and the others wait for it. A retry that
    is parked with the broker takes the whole message there, and nothing of it goes on before it comes again.

    What is neither a frame nor a list fails, and so does a value that the steps make of rows of several messages, as `batch`
    does. Raises `GraphError` where ``steps`` is no operator, or for a type that nothing can be read as.

    >>> from warren import Pipeline
    >>> from warren.connectors import memory
    >>> from warren.operators import map
    >>> flow = memory.items([]) | for_each(map(lambda n: 6 / n)) | memory.into([])
    >>> result = Pipeline("inverse", flow).test([[1, 0, 3], [2]])
    >>> result.values, [letter.value for letter in result.dead_letters["inverse.dead"]]
    ([[3.0], [6.0, 2.0]], [[0]])
    """
    if not isinstance(steps, Operator):
        raise GraphError(f"for_each({shorten(steps)}): give the steps for a row, as for_each(map(price) | filter(valid))")
    read_rows(type, "")
    return _ForEach(steps, type)


class _ForEach(Operator[Any, Any]):
    def __init__(self, inner: Operator[Any, Any], type: Any) -> None:
        self.inner = inner
        self.type = type

    @property
    def name(self) -> str:
        return "for_each" if self.type is None else f"for_each({getattr(self.type, '__name__', self.type)})"

    @property
    def guarantee(self) -> str:
        return "goes on with the last of its rows"

    def branches(self) -> Iterator[tuple[str, Step]]:
        yield "row", self.inner

    def attach(self, stage: Stage) -> Handler:
        """Not used: `compile` wires the steps inside."""
        raise NotImplementedError

    def compile(self, stage: Stage) -> RxOperator:
        inlet: Subject[Chunk] = Subject()
        gatherer = _Gatherer(self, stage, inlet)
        compile_steps(stage.run, stage.child(".row"), self.inner.steps)(inlet).subscribe(gatherer.leave, stage.run.crash)
        return wired(stage, stage.serve(gatherer.take))


class _Items:
    """Says of items of a list which of its message they are, as `Rows` does of a frame."""

    def __init__(self, items: Sequence[Any]) -> None:
        self.items = items

    def __call__(self, source: Any, parts: Sequence[int]) -> tuple[Any, str] | None:
        if not isinstance(source, list) or len(source) < 2 or any(source[part] != self.items[part] for part in parts):
            return None
        return [source[part] for part in parts], numbered(parts)


class _Message:
    """A message whose rows are under way: what came of them so far, and how many are not settled."""

    __slots__ = ("attempt", "gatherer", "left", "made", "rest", "token")

    def __init__(self, gatherer: _Gatherer, token: Token, attempt: int, rows: int, rest: Part) -> None:
        self.gatherer = gatherer
        self.token = token
        self.attempt = attempt
        self.left = rows
        self.rest = rest
        self.made: list[tuple[int, Any]] = []


class _Row(Part):
    """The token of a row; its message is told when it is settled, by whatever step."""

    __slots__ = ("_settled", "message")

    def __init__(self, message: _Message, index: int) -> None:
        self.message = message
        super().__init__(message.rest.split, index)

    @property
    def settled(self) -> bool:
        return self._settled

    @settled.setter
    def settled(self, value: bool) -> None:
        self._settled = value
        if value:
            self.message.left -= 1
            if not self.message.left:
                self.message.gatherer.ended(self.message)


class _Gatherer:
    """Takes messages apart, and puts together what comes out of the steps."""

    def __init__(self, operator: _ForEach, stage: Stage, inlet: Subject[Chunk]) -> None:
        self.stage = stage
        self.inlet = inlet
        self.read = read_rows(operator.type, stage)
        self.done: list[_Message] = []
        self.entered = False
        self.waiting = False

    def rows(self, value: Any) -> tuple[Sequence[Any], dict[int, Exception], Any]:
        """The rows of a message that can be read, why others cannot by position, and what tells pieces of it."""
        frame = frame_of(value)
        if frame is not None:
            return *self.read(frame), Rows(frame)
        if isinstance(value, list | tuple):
            return value, {}, _Items(value)
        raise HandlerError(
            f"{self.stage}: got {shorten(value)}, which is neither a data frame nor a list; map it to one of these first"
        )

    def take(self, chunk: Chunk) -> Chunk:
        found, errors = apply_each(self.rows, chunk.values)
        whole = self.stage.survivors(chunk, found, errors)
        failures = list(whole.failures)
        values: list[Any] = []
        tokens: list[Token] = []
        empty: list[Token] = []
        for token, (rows, wrong, piece) in zip(whole.tokens, found, strict=True):
            count = len(rows) + len(wrong)
            if not count:
                empty.append(token)
                continue
            # One part more than there are rows, so that the message is not settled with the last of them.
            rest = self.stage.ledger.split(token, count + 1, piece)[count]
            assert isinstance(rest, Part)
            message = _Message(self, token, chunk.attempt, count, rest)
            parts = [_Row(message, i) for i in range(count)]
            values += rows
            tokens += parts if not wrong else [part for i, part in enumerate(parts) if i not in wrong]
            # Trying them again would not make them fit.
            failures += [Failure(parts[i], None, error, self.stage.name, chunk.attempt) for i, error in wrong.items()]
        self.stage.settle(empty, FILTERED)
        if values:
            self.entered = True
            try:
                self.inlet.on_next(Chunk(values, tokens, (), chunk.attempt))
            finally:
                self.entered = False
            self.finish()
        return Chunk([], (), failures)

    def leave(self, chunk: Chunk) -> None:
        """Keep what comes out of the steps, and settle it there: with the last row its message goes on."""
        kept: list[Token] = []
        failures: list[Failure] = list(chunk.failures)
        for value, token in zip(chunk.values, chunk.tokens, strict=True):
            if type(token) is _Row and token.message.gatherer is self:
                token.message.made.append((token.index, value))
                kept.append(token)
                continue
            rows = list(self.rows_of(token))
            if all(row.message is rows[0].message for row in rows):
                rows[0].message.made.append((min(row.index for row in rows), value))
                kept.append(token)
            else:
                error = HandlerError(
                    f"{self.stage}: {shorten(value)} is made of rows of several messages, so it belongs to none of them; "
                    "put steps that collect values behind for_each"
                )
                failures.append(Failure(token, value, error, self.stage.name, chunk.attempt))
        was, self.entered = self.entered, True
        self.stage.settle(kept, FILTERED)
        self.entered = was
        if failures:
            self.stage.emit(Chunk([], (), failures))
        if not was:
            self.finish()

    def rows_of(self, token: Token) -> Iterator[_Row]:
        """The rows that a token descends from."""
        if isinstance(token, _Row) and token.message.gatherer is self:
            yield token
        elif isinstance(token, Part):
            yield from self.rows_of(token.split.parent)
        elif not isinstance(token, int):
            for segment in token.segments:
                for each in segment:
                    yield from self.rows_of(each)

    def ended(self, message: _Message) -> None:
        """The last row of a message is being settled."""
        self.done.append(message)
        if not self.entered and not self.waiting:
            # Soon, as whoever settles is amid something else.
            self.waiting = True
            self.stage.later(0.0, self.wake, busy=True)

    def wake(self) -> None:
        self.waiting = False
        self.finish()

    def finish(self) -> None:
        """Pass on the messages that are complete."""
        done, self.done = self.done, []
        out: list[Chunk] = []
        nothing: list[Token] = []
        for message in done:
            if message.made and message.rest.split.outcome.kind < Kind.PARKED:
                values = [value for _, value in sorted(message.made, key=itemgetter(0))]
                out.append(Chunk([values], (message.token,), (), message.attempt))
            else:
                nothing.append(message.rest)
        self.stage.settle(nothing, FILTERED)
        for chunk in together(out):
            self.stage.emit(chunk)
