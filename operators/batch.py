"""`batch`: collect values into lists."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from warren.core.chunk import Chunk
from warren.core.clock import Duration, seconds
from warren.core.errors import GraphError
from warren.core.graph import Operator
from warren.core.knobs import Setting
from warren.core.receipt import Token
from warren.core.stage import Handler, Stage
from warren.operators.keys import answers, check_function, keys_of
from warren.operators.turned import Turned

__all__ = ["Batching", "Collector", "batch"]

if TYPE_CHECKING:
    import typing_extensions

    # Where nothing says what comes in, as in batch(500) | sink, anything may.
    T = typing_extensions.TypeVar("T", default=Any)
else:
    T = TypeVar("T")


def batch(
    count: int | Setting | None = None,
    timeout: Duration | Setting | None = None,
    *,
    size: int | None = None,
    measure: Callable[[T], int] | None = None,
    by: Callable[[T], Hashable] | None = None,
) -> Operator[T, list[T]]:
    """Collect values into lists of ``count``, or what came within ``timeout`` of the first, or ``size`` as measured.

    Whichever limit is reached first closes a batch; at shutdown an incomplete one goes on. ``measure`` tells the size of
    a value (its length unless given); a batch closes before it would exceed ``size``, and a single larger value makes a
    batch of its own. ``by`` collects separately for each key. ``count`` and ``timeout`` (then in milliseconds) may be
    settings that change while it runs, such as a `Tuner`: it is told how long each batch takes, from its first value until
    everything made of its first message is safe. The credit is enough for the largest count.

    Keeps the delivery guarantee: the messages of a batch are acknowledged together, after everything made of it is safe.

    Raises `GraphError` where no limit is given or one is not positive; the pipeline is refused where ``count`` exceeds
    its credit, as the batch could never fill.

    >>> from warren import Pipeline
    >>> from warren.connectors import memory
    >>> Pipeline("pairs", memory.items([]) | batch(2) | memory.into([])).test([1, 2, 3]).values
    [[1, 2], [3]]
    """
    return Batching("batch", count, timeout, size, measure or len, by)


class Batching(Operator[Any, Any]):
    """Checks and keeps the limits of a step that collects values."""

    def __init__(
        self,
        step: str,
        count: int | Setting | None,
        timeout: Duration | Setting | None,
        size: int | None = None,
        measure: Callable[[Any], int] = len,
        by: Callable[[Any], Hashable] | None = None,
    ) -> None:
        if count is None and timeout is None and size is None:
            raise GraphError(f"{step}(): give a limit: a count, a timeout or a size")
        self.counts = count if isinstance(count, Setting) else None
        self.waits = timeout if isinstance(timeout, Setting) else None
        if isinstance(count, Setting):
            count = count.knob.high
        if isinstance(timeout, Setting):
            timeout = timeout.knob.high / 1000
        for limit, name in ((count, "count"), (size, "size")):
            if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 1):
                raise GraphError(f"{step}({name}={limit!r}): {name} must be a whole number of at least 1")
        wait = None if timeout is None else seconds(timeout)
        if wait == 0:
            raise GraphError(f"{step}(timeout=0): a timeout must be longer than 0")
        if by is not None:
            check_function(by, f"{step}(by=...)", "give a function of one value that gives its key")
        self.step = step
        self.count = count
        self.timeout = wait
        self.size = size
        self.measure = measure
        self.by = by

    def gives(self, type: Any) -> Any:
        """Lists of what comes."""
        return list[type]

    @property
    def name(self) -> str:
        """The step and its limits."""
        counts, waits = self.counts, self.waits
        limits = [f"{self.count}" if self.count else "", f"{self.timeout:g}s" if self.timeout else ""]
        if counts is not None:
            limits[0] = f"{counts.knob.low} to {counts.knob.high}"
        if waits is not None:
            limits[1] = f"{waits.knob.low / 1000:g} to {waits.knob.high / 1000:g}s"
        limits.append(f"{self.size} bytes" if self.size else "")
        return f"{self.step}({', '.join(filter(None, limits))})"

    @property
    def guarantee(self) -> str:
        """When a message is acknowledged."""
        return "acknowledged together"

    @property
    def holds(self) -> int | None:
        """The values of a batch."""
        return self.count

    @property
    def settings(self) -> tuple[Setting, ...]:
        """Those of the count and of the timeout."""
        return tuple(setting for setting in (self.counts, self.waits) if setting is not None)

    def attach(self, stage: Stage) -> Handler:
        """Start in one running pipeline."""
        return Collector(self, stage).take


class _Open:
    """A batch that is being filled."""

    __slots__ = ("began", "cancel", "segments", "size", "values")

    def __init__(self, began: float) -> None:
        self.began = began
        self.values: list[Any] = []
        self.segments: list[Sequence[Token]] = []
        self.size = 0
        self.cancel: Callable[[], None] | None = None


class Collector:
    """Collects values in one running pipeline; `finish` says what becomes of a batch."""

    def __init__(self, operator: Batching, stage: Stage) -> None:
        self.operator = operator
        self.stage = stage
        self.open: dict[Hashable, _Open] = {}
        self.turned = Turned(stage, operator.counts, operator.waits) if operator.settings else None
        stage.run.on_flush(self.flush)

    def take(self, chunk: Chunk) -> Chunk:
        """Add a chunk; give the batches it completes."""
        full = Chunk([], [])
        operator = self.operator
        if operator.by is None and operator.size is None:
            self.fill(None, chunk.values, chunk.tokens, full)
            return full
        keys: Sequence[Hashable] = [None] * len(chunk.values)
        if operator.by is not None:
            keys, chunk, full.failures = keys_of(self.stage, operator.by, chunk)
        sizes: Sequence[int] = [0] * len(chunk.values)
        if operator.size is not None:
            # Adding shows here that it is a number, where it is still one message's failure.
            sizes, kept, failures = answers(self.stage, lambda value: 0 + operator.measure(value), chunk)
            if failures:
                alive = set(kept.tokens)
                keys = [key for key, token in zip(keys, chunk.tokens, strict=True) if token in alive]
                full.failures = [*full.failures, *failures]
            chunk = kept
        for key, value, token, size in zip(keys, chunk.values, chunk.tokens, sizes, strict=True):
            current = self.open.get(key)
            if operator.size is not None and current is not None and current.size + size > operator.size:
                self.close(key, full)
            self.fill(key, [value], (token,), full)
            if operator.size is not None and (current := self.open.get(key)) is not None:
                current.size += size
                if current.size >= operator.size:
                    self.close(key, full)
        return full

    def fill(self, key: Hashable, values: list[Any], tokens: Sequence[Token], full: Chunk) -> None:
        """Add values to the open batch of a key, and close it when it is full."""
        operator, turned, start = self.operator, self.turned, 0
        count = len(values) + 1 if operator.count is None else operator.count
        if operator.counts is not None:
            count = operator.counts.value
        while start < len(values):
            current = self.open.get(key)
            if current is None:
                current = self.open[key] = _Open(0.0 if turned is None else turned.now())
                if operator.timeout is not None:
                    timeout = operator.timeout if operator.waits is None else operator.waits.value / 1000
                    current.cancel = self.stage.later(timeout, lambda: self.expire(key))
            # None where the count has fallen meanwhile.
            room = max(count - len(current.values), 0) if operator.count else len(values)
            current.values.extend(values[start : start + room])
            current.segments.append(tokens[start : start + room])
            start += room
            if operator.count and len(current.values) >= count:
                self.close(key, full)

    def close(self, key: Hashable, into: Chunk, *, full: bool = True) -> None:
        """Close the batch of a key, as it is ``full`` or as nothing more is waited for."""
        current = self.open.pop(key)
        if current.cancel is not None:
            current.cancel()
        if self.turned is not None:
            self.turned.sent(current.segments[0][0], current.began, len(current.values), full)
        self.finish(current.values, current.segments, into)

    def finish(self, values: list[Any], segments: list[Sequence[Token]], into: Chunk) -> None:
        """Add a complete batch to what goes on."""
        into.values.append(values)
        into.tokens.append(self.stage.ledger.merge(segments))  # type: ignore[attr-defined]  # a list, made here

    def expire(self, key: Hashable) -> None:
        """The time of a batch is up."""
        full = Chunk([], [])
        self.close(key, full, full=False)
        self.stage.emit(full)

    def flush(self) -> None:
        """Let go of everything."""
        full = Chunk([], [])
        for key in list(self.open):
            self.close(key, full, full=False)
        if full.values or full.failures:
            self.stage.emit(full)
