"""Figures of many values in bounded memory: quantiles, how many are distinct, which are the most frequent.

Each sketch is a value: `add` and `merge` give another one, and it can be pickled.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any

import msgspec
import numpy as np

from warren.core.errors import shorten

__all__ = ["Distinct", "Frequent", "Quantiles"]

# How far below the largest number a quantile sketch tells numbers apart.
_SPAN = math.log(1e18)


class Quantiles(msgspec.Struct, frozen=True):
    """How many numbers there are in buckets that grow by a factor, so that each lies within ``error`` of its bucket's.

    DDSketch (Masson, Rim and Lee, "DDSketch: A Fast and Fully-Mergeable Quantile Sketch with Relative-Error Guarantees",
    PVLDB 12(12), 2019). Numbers 10^18 times smaller than the largest share a bucket, which bounds how many there are.

    >>> sketch = Quantiles(error=0.01).add(range(1, 1001))
    >>> sketch.count, round(sketch.quantile(0.5))
    (1000, 498)
    """

    error: float
    positive: Mapping[int, int] = {}
    negative: Mapping[int, int] = {}
    zeros: int = 0
    low: float = math.inf
    high: float = -math.inf

    @property
    def count(self) -> int:
        """How many numbers."""
        return sum(self.positive.values()) + sum(self.negative.values()) + self.zeros

    @property
    def _log(self) -> float:
        return math.log((1 + self.error) / (1 - self.error))

    def add(self, column: Iterable[Any]) -> Quantiles:
        """The sketch with more numbers. Raises `TypeError` or `ValueError` where one is no finite number."""
        numbers = _numbers(list(column))
        if not len(numbers):
            return self
        above, below = numbers[numbers > 0], numbers[numbers < 0]
        return self.merge(
            Quantiles(
                self.error,
                self._counted(above),
                self._counted(-below),
                len(numbers) - len(above) - len(below),
                float(numbers.min()),
                float(numbers.max()),
            )
        )

    def _counted(self, magnitudes: Any) -> Mapping[int, int]:
        places, counts = np.unique(np.ceil(np.log(magnitudes) / self._log).astype(np.int64), return_counts=True)
        return dict(zip(places.tolist(), counts.tolist(), strict=True))

    def merge(self, other: Quantiles) -> Quantiles:
        """The sketch of the numbers of both; they must have the same ``error``."""
        return Quantiles(
            self.error,
            self._joined(self.positive, other.positive),
            self._joined(self.negative, other.negative),
            self.zeros + other.zeros,
            min(self.low, other.low),
            max(self.high, other.high),
        )

    def _joined(self, a: Mapping[int, int], b: Mapping[int, int]) -> Mapping[int, int]:
        if not a or not b:
            a, b = a or b, {}
        joined = dict(a)
        for place, count in b.items():
            joined[place] = joined.get(place, 0) + count
        least = max(joined, default=0) - math.ceil(_SPAN / self._log)
        for place in [place for place in joined if place < least]:
            joined[least] = joined.get(least, 0) + joined.pop(place)
        return joined

    def quantile(self, q: float) -> float:
        """A number within the error of the one at that share, the lower one where it lies between two."""
        rank = math.floor(q * (self.count - 1))
        middle = math.log(2 / (1 + math.exp(self._log)))
        for sign, buckets in ((-1, sorted(self.negative, reverse=True)), (0, [0]), (1, sorted(self.positive))):
            held = {-1: self.negative, 0: {0: self.zeros}, 1: self.positive}[sign]
            for place in buckets:
                rank -= held[place]
                if rank < 0:
                    # Above that it would be no float any more.
                    size = math.exp(min(place * self._log + middle, 709.7827))
                    return min(max(sign * size, self.low), self.high)
        return self.high


def _numbers(column: list[Any]) -> Any:
    for value in column:
        if isinstance(value, str | bytes):
            raise TypeError(f"{shorten(value)} is no number")
    numbers = np.array(list(map(float, column)))
    if not np.isfinite(numbers).all():
        wrong = next(value for value in column if not math.isfinite(value))
        raise ValueError(f"{wrong} is no finite number; filter such values out before")
    return numbers


class Distinct(msgspec.Struct, frozen=True):
    """How many different values came: their hashes while there are few, then 2^``precision`` registers of one byte.

    HyperLogLog (Flajolet, Fusy, Gandouet and Meunier, 2007) over hashes of 64 bits, with the estimator of Ertl, "New
    cardinality estimation algorithms for HyperLogLog sketches", 2017, which needs no correction for small or large numbers.

    >>> Distinct.within(0.01).add(["a", "b", "a"]).estimate
    2
    """

    precision: int
    hashes: frozenset[int] = frozenset()
    registers: bytes = b""

    @staticmethod
    def within(error: float) -> Distinct:
        """An empty sketch with that standard error."""
        return Distinct(max(4, math.ceil(2 * math.log2(1.04 / error))))

    def add(self, column: Iterable[Any]) -> Distinct:
        """The sketch with more values. Raises `TypeError` where there is no telling one from another."""
        return self._with(frozenset(map(_hash, column)))

    def _with(self, hashes: frozenset[int]) -> Distinct:
        if not self.registers:
            hashes |= self.hashes
            # As long as they take no more memory than the registers would.
            if len(hashes) <= 1 << max(0, self.precision - 6):
                return Distinct(self.precision, hashes)
        return Distinct(self.precision, frozenset(), self._raised(hashes))

    def _raised(self, hashes: frozenset[int]) -> bytes:
        found = np.fromiter(hashes, np.uint64, len(hashes))
        width = 64 - self.precision
        rest = found & np.uint64((1 << width) - 1)
        upper, lower = (rest >> np.uint64(32)).astype(float), (rest & np.uint64(0xFFFFFFFF)).astype(float)
        bits = np.where(upper > 0, 32 + np.frexp(upper)[1], np.frexp(lower)[1])
        registers = np.frombuffer(self.registers or bytes(1 << self.precision), np.uint8).copy()
        np.maximum.at(registers, (found >> np.uint64(width)).astype(np.int64), (width + 1 - bits).astype(np.uint8))
        return registers.tobytes()

    def merge(self, other: Distinct) -> Distinct:
        """The sketch of the values of both; they must have the same precision."""
        if not other.registers:
            return self._with(other.hashes)
        if not self.registers:
            return other._with(self.hashes)
        registers = np.maximum(np.frombuffer(self.registers, np.uint8), np.frombuffer(other.registers, np.uint8))
        return Distinct(self.precision, frozenset(), registers.tobytes())

    @property
    def estimate(self) -> int:
        """How many different values came, exactly while there are few."""
        if not self.registers:
            return len(self.hashes)
        size, width = 1 << self.precision, 64 - self.precision
        having = np.bincount(np.frombuffer(self.registers, np.uint8), minlength=width + 2).tolist()
        z = size * _tau(1 - having[width + 1] / size)
        for rank in range(width, 0, -1):
            z = 0.5 * (z + having[rank])
        return round(size * size / (2 * math.log(2) * (z + size * _sigma(having[0] / size))))


def _sigma(x: float) -> float:
    y, z, before = 1.0, x, -1.0
    while z != before:
        x, before = x * x, z
        z, y = z + x * y, y + y
    return z


def _tau(x: float) -> float:
    if x in (0.0, 1.0):
        return 0.0
    y, z, before = 1.0, 1 - x, -1.0
    while z != before:
        x, y, before = math.sqrt(x), y / 2, z
        z -= (1 - x) ** 2 * y
    return z / 3


_encode = msgspec.msgpack.Encoder(order="deterministic").encode


def _hash(value: Any) -> int:
    """64 bits of a value that are the same in every process; equal numbers have the same."""
    if (isinstance(value, float) and value.is_integer()) or isinstance(value, bool):
        value = int(value)
    try:
        # No encoded value begins with this byte, so integers of any size have hashes of their own.
        body = b"\xc1%x" % value if type(value) is int else _encode(value)
    except (TypeError, OverflowError, ValueError) as error:
        raise TypeError(f"there is no telling whether {shorten(value)} came before: {error}") from None
    return int.from_bytes(blake2b(body, digest_size=8).digest(), "little")


class Frequent(msgspec.Struct, frozen=True):
    """The values that came most often, exactly while no more than ``capacity`` different ones came.

    Space-Saving (Metwally, Agrawal and El Abbadi, "Efficient Computation of Frequent and Top-k Elements in Data Streams",
    2005) in the form that can be merged (Agarwal, Cormode, Huang, Phillips, Wei and Yi, "Mergeable Summaries", 2012):
    ``counts`` are at most what is true, and at least that less ``missed``, which is no more than one in ``capacity``.

    >>> Frequent(10).add("banana").top(2)
    [('a', 3), ('n', 2)]
    """

    capacity: int
    counts: Mapping[Any, int] = {}
    missed: int = 0

    def add(self, column: Sequence[Any]) -> Frequent:
        """The sketch with more values. Raises `TypeError` where one cannot be hashed."""
        return self.merge(Frequent(self.capacity, Counter(column)))

    def merge(self, other: Frequent) -> Frequent:
        """The sketch of the values of both; they must have the same capacity."""
        counts = dict(self.counts)
        for value, count in other.counts.items():
            counts[value] = counts.get(value, 0) + count
        missed = self.missed + other.missed
        if len(counts) > self.capacity:
            least = sorted(counts.values(), reverse=True)[self.capacity]
            counts = {value: count - least for value, count in counts.items() if count > least}
            missed += least
        return Frequent(self.capacity, counts, missed)

    def top(self, k: int) -> list[tuple[Any, int]]:
        """The ``k`` most frequent values with how often they came, at most; of equals, what came first."""
        best = sorted(self.counts.items(), key=lambda item: -item[1])[:k]
        return [(value, count + self.missed) for value, count in best]
