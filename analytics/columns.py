"""Recorded flows as Arrow columns: what was noted for each segment becomes one row for each message, in bulk.

A segment is messages of one delivery that ended together. What is the same for all of a segment, or of a delivery, is
worked out once and repeated by numpy and Arrow; only what differs by message is read message by message, in one C loop.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import chain, repeat
from typing import Any, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute

from warren.analytics.schema import DECISIONS, STAGES, TRIPS, WORKERS
from warren.core.errors import fingerprint
from warren.core.hooks import Work
from warren.core.message import TENANT, TRACE
from warren.core.policies import Decision
from warren.core.receipt import Delivery, Outcome, Share

__all__ = ["Arrival", "Decided", "Handling", "Segment", "Working", "decisions", "key_hash", "stages", "trips", "workers"]

_SMALL = 64
_SHARED = 131_072
_LATEST = 2.5e11  # seconds: the year 9892, about where timestamps end for most readers
_TIME = TRIPS.field("settled").type
_WORD = TRIPS.field("route").type
_INT = pa.int64()

Ints: TypeAlias = "npt.NDArray[np.int64]"


class Arrival:
    """What is kept of a delivery until its rows are made: all but the bodies, of which only the sizes are noted."""

    __slots__ = ("attempts", "base", "count", "enqueued", "headers", "keys", "received", "retries", "sizes", "source")

    def __init__(self, delivery: Delivery) -> None:
        batch = delivery.batch
        self.base = delivery.base
        self.count = len(batch.bodies)
        self.received = delivery.received
        self.retries = delivery.retries
        self.source = delivery.source
        self.enqueued = batch.enqueued
        self.attempts = batch.attempts
        self.keys = batch.keys
        self.headers = batch.headers
        self.sizes = _sizes(batch.bodies)


Segment: TypeAlias = tuple[Arrival, Sequence[int], Outcome, float]
"""What arrived, the tokens that ended, how they ended, and when."""

Handling: TypeAlias = tuple[str, int, int, int, float, float, int, "int | None"]
"""One chunk in one stage, as `FlowObserver.handled` is told of it."""

Working: TypeAlias = tuple[str, Work, float, float]
"""What the workers of a stage did, as `WorkObserver.worked` is told of it."""

Decided: TypeAlias = tuple[str, Decision]
"""A decision of a stage's model that is over."""


def _sizes(bodies: Sequence[Any]) -> Sequence[int] | Ints | None:
    """The length of each body in bytes, -1 for what is not bytes; nothing where none is.

    Read at once, while the bodies are still in the processor's cache: later it costs thrice, and they could not be let go.
    """
    count = len(bodies)
    kinds = set(map(type, bodies))
    if kinds == {bytes}:
        return list(map(len, bodies)) if count < _SMALL else np.fromiter(map(len, bodies), np.int64, count)
    if not any(issubclass(kind, bytes) for kind in kinds):
        return None
    return [len(body) if isinstance(body, bytes) else -1 for body in bodies]


def trips(segments: Sequence[Segment]) -> pa.RecordBatch:
    """One row for each message of these segments, in their order."""
    seen, tokens, outcomes, times = zip(*segments, strict=True)
    counts = np.fromiter(map(len, tokens), np.int64, len(segments))
    total = int(counts.sum())
    arrivals, arrival_of = _unique(seen)
    ends, end_of = _unique(outcomes)

    def by_end(words: Sequence[str | None]) -> pa.Array:
        return _spread(words, end_of, counts)

    failures = [end.failure for end in ends]
    # A failure keeps its traceback, so the name of an error is worked out once for each way it was reached.
    known: dict[object, str] = {}
    received = np.fromiter((arrival.received for arrival in arrivals), np.float64, len(arrivals))
    columns: dict[str, pa.Array] = {
        "source": _spread([_name(arrival.source) for arrival in arrivals], arrival_of, counts),
        "received": _array(_TIME, np.repeat(_micros(received)[arrival_of], counts)),
        "settled": _array(_TIME, np.repeat(_micros(np.array(times, np.float64)), counts)),
        "route": by_end([end.route or None for end in ends]),
        "outcome": by_end([end.kind.name.lower() for end in ends]),
        "error": by_end([None if failure is None else type(failure.error).__name__ for failure in failures]),
        "fingerprint": by_end([None if failure is None else _fingerprint(failure.error, known) for failure in failures]),
        "stage": by_end([None if failure is None else failure.stage for failure in failures]),
    }
    pool = _pool(arrivals)
    if pool:
        places = _places(arrivals, arrival_of, tokens, counts)
        columns |= pool if places is None else {name: column.take(places) for name, column in pool.items()}
    if "attempts" not in columns:
        columns["attempts"] = _array(pa.int32(), _same(1, total))
    return _batch(TRIPS, columns, total)


def stages(handlings: Sequence[Handling]) -> pa.RecordBatch:
    """One row for each of these."""
    stage, taken, given, failed, start, end, credit, depth = zip(*handlings, strict=True)
    columns = {
        "stage": _words(stage),
        "taken": _array(_INT, _ints(taken)),
        "given": _array(_INT, _ints(given)),
        "failed": _array(_INT, _ints(failed)),
        "start": _instants(start),
        "end": _instants(end),
        "credit": _array(_INT, _ints(credit)),
        "depth": _array(_INT, _ints(-1 if each is None else each for each in depth), _nulls(each is None for each in depth)),
    }
    return _batch(STAGES, columns, len(handlings))


def workers(workings: Sequence[Working]) -> pa.RecordBatch:
    """One row for each of these."""
    stage, work, start, end = zip(*workings, strict=True)
    counts = ("workers", "waiting", "served")
    times = ("busy", "stayed", "service", "blocked")
    columns = {
        "stage": _words(stage),
        "start": _instants(start),
        "end": _instants(end),
        **{name: _array(_INT, _ints(getattr(each, name) for each in work)) for name in counts},
        **{name: _floats([getattr(each, name) for each in work]) for name in times},
    }
    return _batch(WORKERS, columns, len(workings))


def decisions(decided: Sequence[Decided]) -> pa.RecordBatch:
    """One row for each of these."""
    made = [decision for _, decision in decided]
    choices = {name: [getattr(each, name) for each in made] for name in ("choice", "static", "done")}
    columns = {
        "stage": _words([stage for stage, _ in decided]),
        "number": _array(_INT, _ints(each.number for each in made)),
        "at": _instants([each.at for each in made]),
        "propensity": _floats([each.propensity for each in made]),
        **{name: _words([getattr(each, name) for each in made]) for name in ("policy", "mode", "reason")},
        **{name: _words([None if each is None else str(each) for each in column]) for name, column in choices.items()},
        "inputs": _strings([msgspec.json.encode(each.inputs, enc_hook=str).decode() for each in made]),
        "seconds": _floats([each.seconds for each in made]),
        "success": _bools([each.success for each in made]),
        "messages": _array(_INT, _ints(each.messages for each in made)),
    }
    return _batch(DECISIONS, columns, len(made))


def _batch(schema: pa.Schema, columns: Mapping[str, pa.Array], total: int) -> pa.RecordBatch:
    arrays = [columns[field.name] if field.name in columns else _missing(field.type, total) for field in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _unique(values: Sequence[Any]) -> tuple[list[Any], Ints]:
    """The distinct values in order, and for each value which of them it is."""
    numbers = dict.fromkeys(values)
    distinct = list(numbers)
    numbers = dict(zip(distinct, range(len(distinct)), strict=True))
    return distinct, np.fromiter(map(numbers.__getitem__, values), np.int64, len(values))


def _pool(arrivals: Sequence[Arrival]) -> dict[str, pa.Array]:
    """What differs by message, for every message of every arrival; a column nobody has anything to say about is left out."""
    counts = [arrival.count for arrival in arrivals]
    total = sum(counts)
    pool: dict[str, pa.Array] = {}
    if any(arrival.sizes is not None for arrival in arrivals):
        pool["size"] = _pooled_sizes([arrival.sizes for arrival in arrivals], counts)
    if any(arrival.enqueued is not None for arrival in arrivals):
        pool["enqueued"] = _enqueued(arrivals, counts, total)
    if any(arrival.attempts is not None or arrival.retries for arrival in arrivals):
        pool["attempts"] = _attempts(arrivals, counts, total)
    if any(arrival.keys is not None for arrival in arrivals):
        pool["key_hash"] = _key_hashes(list(_chained([arrival.keys for arrival in arrivals], counts, None)))
    if any(arrival.headers is not None and any(arrival.headers) for arrival in arrivals):
        headers = [each or None for each in _chained([arrival.headers for arrival in arrivals], counts, None)]
        pool["tenant"] = _words([each and each.get(TENANT) for each in headers])
        traces = [each and each.get(TRACE) for each in headers]
        # A traceparent is version-trace-span-flags; the trace is 32 digits from the fourth character on.
        pool["trace"] = _strings([str(trace)[3:35] if trace and len(str(trace)) >= 35 else None for trace in traces])
    return pool


def _places(arrivals: Sequence[Arrival], arrival_of: Ints, tokens: Sequence[Sequence[int]], counts: Ints) -> pa.Array | None:
    """Where in the pool each row's message stands; nothing where the pool has exactly the rows, in order."""
    plain = [type(each) is range and each.step == 1 for each in tokens]
    sizes = np.fromiter((arrival.count for arrival in arrivals), np.int64, len(arrivals))
    if all(plain) and len(arrivals) == len(tokens) and np.array_equal(sizes, counts):
        return None
    bases = np.fromiter((arrival.base for arrival in arrivals), np.int64, len(arrivals))
    shift = (np.cumsum(sizes) - sizes - bases)[arrival_of]
    if not any(plain):
        places = _listed(tokens)
        places += np.repeat(shift, counts)
        return _array(_INT, places)
    firsts = _ints(each.start if type(each) is range else 0 for each in tokens)
    # In a range the tokens count up from the first, wherever among the rows it stands.
    places = np.repeat(firsts + shift - (np.cumsum(counts) - counts), counts)
    places += np.arange(len(places))
    if not all(plain):
        listed = ~np.array(plain)
        single = _listed([each for each, fine in zip(tokens, plain, strict=True) if not fine])
        places[np.repeat(listed, counts)] = single + np.repeat(shift[listed], counts[listed])
    return _array(_INT, places)


def _listed(tokens: Sequence[Sequence[int]]) -> Ints:
    """All these tokens, one after the other."""
    if not any(type(each) is Share for each in tokens):
        return _ints(chain.from_iterable(tokens))
    return np.concatenate([_share(each) if type(each) is Share else _ints(each) for each in tokens])


def _share(share: Share) -> Ints:
    """Its tokens, found in the mask: that makes no integer of each."""
    return np.flatnonzero(np.fromiter(share.mask(), np.bool_, len(share.run))) + share.run.start


def _chained(parts: Sequence[Iterable[Any] | None], counts: Sequence[int], missing: object) -> Iterable[Any]:
    return chain.from_iterable(
        repeat(missing, count) if part is None else part for part, count in zip(parts, counts, strict=True)
    )


def _pooled_sizes(parts: Sequence[Any], counts: Sequence[int]) -> pa.Array:
    if any(isinstance(part, np.ndarray) for part in parts):
        sizes = np.concatenate([_as_sizes(part, count) for part, count in zip(parts, counts, strict=True)])
    else:
        sizes = np.fromiter(_chained(parts, counts, -1), np.int64, sum(counts))
    return _array(_INT, sizes, sizes < 0)


def _as_sizes(part: Sequence[int] | Ints | None, count: int) -> Ints:
    return np.full(count, -1, np.int64) if part is None else np.asarray(part, np.int64)


def _attempts(arrivals: Sequence[Arrival], counts: Sequence[int], total: int) -> pa.Array:
    column = np.fromiter(_chained([arrival.attempts for arrival in arrivals], counts, 1), np.int32, total)
    start = 0
    for arrival, count in zip(arrivals, counts, strict=True):
        # The pipeline may be counting a retry meanwhile; a copy is made in one go.
        for token, retries in arrival.retries.copy().items():
            column[start + token - arrival.base] += retries
        start += count
    return _array(pa.int32(), column)


def _enqueued(arrivals: Sequence[Arrival], counts: Sequence[int], total: int) -> pa.Array:
    seconds = np.fromiter(_chained([arrival.enqueued for arrival in arrivals], counts, 0.0), np.float64, total)
    unknown = ~((seconds > 0) & (seconds < _LATEST))
    seconds[unknown] = 0
    return _array(_TIME, _micros(seconds), unknown)


def _micros(seconds: npt.NDArray[np.float64]) -> Ints:
    return np.rint(seconds * 1e6).astype(np.int64)


def _instants(seconds: Sequence[float]) -> pa.Array:
    return _array(_TIME, _micros(np.array(seconds, np.float64)))


def _words(values: Sequence[Any]) -> pa.DictionaryArray:
    """A dictionary column of these texts."""
    return _spread(values, np.arange(len(values)), None)


def _spread(words: Sequence[Any], which: Ints, counts: Ints | None) -> pa.DictionaryArray:
    """A dictionary column that names, for each segment, ``which`` of the words it has, as often as it has messages."""
    distinct, codes = _unique(words)
    if len(distinct) == 1:
        total = len(which) if counts is None else int(counts.sum())
        return _missing(_WORD, total) if distinct[0] is None else _constant(distinct[0], total)
    indices = codes.astype(np.int32)[which]
    unknown = indices == distinct.index(None) if None in distinct else None
    if counts is not None:
        indices = np.repeat(indices, counts)
        unknown = None if unknown is None else np.repeat(unknown, counts)
    texts = _strings(["" if each is None else each for each in distinct])
    return pa.DictionaryArray.from_arrays(_array(pa.int32(), indices, unknown), texts)


def _constant(word: str, total: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(_array(pa.int32(), _same(0, total)), _strings([word]))


# Columns that say the same in every row share their memory, also with later batches: fresh memory is what costs most here.
@lru_cache(maxsize=2)
def _shared(value: int) -> npt.NDArray[np.int32]:
    return np.full(_SHARED, value, np.int32)


def _same(value: int, total: int) -> npt.NDArray[np.int32]:
    return _shared(value)[:total] if total <= _SHARED else np.full(total, value, np.int32)


@lru_cache(maxsize=8)
def _shared_nulls(kind: pa.DataType) -> pa.Array:
    return pa.nulls(_SHARED, kind)


def _missing(kind: pa.DataType, total: int) -> pa.Array:
    return _shared_nulls(kind)[:total] if total <= _SHARED else pa.nulls(total, kind)


def _strings(values: Sequence[Any]) -> pa.Array:
    # A broker may hand over numbers as headers, or text that is no Unicode.
    texts = [b"" if each is None else str(each).encode("utf-8", "replace") for each in values]
    ends = np.zeros(len(texts) + 1, np.int32)
    np.cumsum(np.fromiter(map(len, texts), np.int32, len(texts)), out=ends[1:])
    buffers = [_validity(_nulls(each is None for each in values)), pa.py_buffer(ends), pa.py_buffer(b"".join(texts))]
    return pa.Array.from_buffers(pa.string(), len(texts), buffers)


def _array(kind: pa.DataType, values: npt.NDArray[Any], unknown: npt.NDArray[np.bool_] | None = None) -> pa.Array:
    """An Arrow array over a numpy array of its width. `pyarrow.array` would do, but it imports pandas where it finds it."""
    buffers = [_validity(unknown), pa.py_buffer(np.ascontiguousarray(values))]
    return pa.Array.from_buffers(kind, len(values), buffers)


def _validity(unknown: npt.NDArray[np.bool_] | None) -> pa.Buffer | None:
    if unknown is None or not unknown.any():
        return None
    return pa.py_buffer(np.packbits(~unknown, bitorder="little"))


def _ints(values: Iterable[int]) -> Ints:
    return np.fromiter(values, np.int64)


def _floats(values: Sequence[float | None]) -> pa.Array:
    numbers = np.array([0.0 if each is None else each for each in values], np.float64)
    return _array(pa.float64(), numbers, _nulls(each is None for each in values))


def _bools(values: Sequence[bool | None]) -> pa.Array:
    true = pa.py_buffer(np.packbits(np.array(values, np.bool_), bitorder="little"))
    return pa.Array.from_buffers(pa.bool_(), len(values), [_validity(_nulls(each is None for each in values)), true])


def _nulls(values: Iterable[bool]) -> npt.NDArray[np.bool_]:
    return np.fromiter(values, np.bool_)


def _name(source: Any) -> str:
    if isinstance(source, str):
        return source
    name = getattr(getattr(source, "inlet", source), "name", None)
    return name if isinstance(name, str) else type(source).__name__


def _fingerprint(error: BaseException, known: dict[object, str]) -> str:
    """`fingerprint`, which reads source files, once for each type of error and way through the code."""
    frames = []
    trace = error.__traceback__
    while trace is not None:
        frames.append(trace.tb_frame.f_code)
        trace = trace.tb_next
    way = (type(error), *frames[-3:])
    if way not in known:
        known[way] = fingerprint(error)
    return known[way]


def key_hash(key: str) -> int:
    """A stable 64-bit number for a message's key: the first 8 bytes of its BLAKE2b digest, little-endian.

    >>> key_hash("customer-7")
    6532683804238450281
    """
    return int.from_bytes(hashlib.blake2b(str(key).encode("utf-8", "replace"), digest_size=8).digest(), "little")


def _key_hashes(keys: Sequence[str | None]) -> pa.Array:
    distinct, codes = _unique(keys)
    hashes = np.fromiter((0 if key is None else key_hash(key) for key in distinct), np.uint64, len(distinct))
    unknown = _nulls(key is None for key in distinct)
    return _array(pa.uint64(), hashes[codes], unknown[codes])
