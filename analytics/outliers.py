"""`Outliers`: messages whose fields, numbers and words, are unlike those of the others."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from warren.analytics.detectors import Detector, Scores, as_list, number
from warren.analytics.moments import At, hour_of, moments
from warren.core.errors import GraphError, ValidationError, shorten

__all__ = ["Outliers"]

_STRANGERS = 8


class Outliers(Detector):
    """Finds messages with unusual values or unusual combinations of them: scikit-learn's isolation forest.

    A message is a mapping, a struct or a dataclass; a plain number is one with a single field. Numbers are taken as they
    are; of a text or a truth value counts how rare it is in its field, and a missing number counts as one in the middle.
    The fields that count are ``fields``, or those of the first message that is learned.

    The last ``memory`` messages are the sample. A forest of ``trees`` is grown of them when ``every`` more were learned, and
    until the first scores are 0. The score is how few splits part a message from the sample, from 0 to 1; half is usual.
    ``seed`` fixes the forest, so that equal data give equal scores. A loaded detector grows its forest again.

    One message takes milliseconds, many at once a few microseconds each: use the vectorised forms, as `anomalies` does.
    Needs ``pip install 'warren[ml]'``. Raises `GraphError` where that is missing or a setting cannot work.

    >>> orders = [{"amount": 10 + i % 5, "country": "de" if i % 3 else "fr"} for i in range(512)]
    >>> outliers = Outliers(every=512)
    >>> outliers.learn_many(orders)
    >>> odd, usual = outliers.score_many([{"amount": 900, "country": "xx"}, {"amount": 12, "country": "de"}])
    >>> bool(odd > outliers.threshold > usual)
    True
    """

    def __init__(
        self,
        *,
        fields: Sequence[str] | None = None,
        memory: int = 2048,
        every: int = 512,
        trees: int = 100,
        threshold: float = 0.6,
        seed: int = 0,
    ) -> None:
        if min(memory, every) < 2 or trees < 1:
            raise GraphError(
                f"Outliers(memory={memory}, every={every}, trees={trees}): a forest takes 2 messages and 1 tree or more"
            )
        if not 0 < threshold <= 1:
            raise GraphError(f"Outliers(threshold={threshold}): a threshold is above 0 and 1 at most")
        if isinstance(fields, str) or (fields is not None and not fields):
            raise GraphError(f"Outliers(fields={fields!r}): name one field or more, such as fields=['amount', 'country']")
        try:
            from sklearn.ensemble import IsolationForest
        except ImportError as error:
            raise GraphError("Outliers needs scikit-learn: pip install 'warren[ml]'") from error
        self._kind = IsolationForest
        self.fields = None if fields is None else list(fields)
        self.memory = memory
        self.every = every
        self.trees = trees
        self.threshold = threshold
        self.seed = seed
        self._names = self.fields
        self._sample: deque[list[Any]] = deque(maxlen=memory)
        self._forest: Any = None
        self._columns: list[_Column] = []
        self._grown: list[list[Any]] = []

    def check(self, value: Any, at: At = None) -> None:
        """Raise `ValidationError` where a value has no fields, or one that is neither a number nor a word."""
        _row(value, self._names)
        hour_of(at, None)

    def score_one(self, value: Any, at: At = None) -> float:
        return float(self.score_many([value], [at])[0])

    def learn_one(self, value: Any, at: At = None) -> None:
        self.learn_many([value], [at])

    def watch_one(self, value: Any, at: At = None) -> float:
        return float(self.watch_many([value], [at])[0])

    def score_many(self, values: Iterable[Any], at: Iterable[At] | None = None) -> Scores:
        return self._score(self._rows(values, at)[1])

    def learn_many(self, values: Iterable[Any], at: Iterable[At] | None = None) -> None:
        self._names, rows = self._rows(values, at)
        for row in rows:
            self._take(row)

    def watch_many(self, values: Iterable[Any], at: Iterable[At] | None = None) -> Scores:
        self._names, rows = self._rows(values, at)
        scores: list[Scores] = []
        while rows:
            # Up to the next forest one is enough for all.
            part = rows[: self.every - self.learned % self.every]
            scores.append(self._score(part))
            for row in part:
                self._take(row)
            rows = rows[len(part) :]
        return np.concatenate(scores) if scores else np.zeros(0)

    def _rows(self, values: Iterable[Any], at: Iterable[At] | None) -> tuple[list[str] | None, list[list[Any] | None]]:
        """The fields that count, and the cells of each message."""
        listed = as_list(values)
        for time in moments(at, len(listed)):
            hour_of(time, None)
        names, rows = self._names, []
        for value in listed:
            names, row = _row(value, names)
            rows.append(row)
        return names, rows

    def _score(self, rows: Sequence[list[Any] | None]) -> Scores:
        scores = np.zeros(len(rows))
        there = [i for i, row in enumerate(rows) if row is not None]
        if self._forest is not None and there:
            scores[there] = -self._forest.score_samples(self._matrix([rows[i] or [] for i in there]))
        return scores

    def _take(self, row: list[Any] | None) -> None:
        if row is None:
            return
        self._sample.append(row)
        self._learned(msgspec.msgpack.encode(row))
        if self.learned % self.every == 0:
            self._grow(list(self._sample))

    def _grow(self, sample: list[list[Any]]) -> None:
        self._grown = sample
        self._columns = [_Column(list(column)) for column in zip(*sample, strict=True)]
        # Trees split only where they have seen something; strangers around the sample let them split beyond it.
        draw = np.random.default_rng(self.seed)
        count = max(_STRANGERS, len(sample) // 20)
        strangers = np.column_stack([draw.uniform(*column.beyond, count) for column in self._columns])
        rows = np.concatenate([self._matrix(sample), strangers])
        self._forest = self._kind(n_estimators=self.trees, random_state=self.seed).fit(rows)

    def _matrix(self, rows: Sequence[list[Any]]) -> Scores:
        columns = zip(*rows, strict=True)
        return np.column_stack([column.numbers(cells) for column, cells in zip(self._columns, columns, strict=True)])

    def state(self) -> dict[str, Any]:
        # The sample of the forest may have left the memory since.
        return {"names": self._names, "sample": list(self._sample), "grown": self._grown}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._names = state["names"]
        self._sample = deque(state["sample"], maxlen=self.memory)
        if state["grown"]:
            self._grow(state["grown"])


class _Column:
    """One field of the sample: numbers as they are, words by how rare each is."""

    def __init__(self, cells: list[Any]) -> None:
        # A field with words in it is one of words; numbers in it are words too.
        self.counts = Counter(cells) if any(isinstance(cell, str) for cell in cells) else None
        self.total = len(cells)
        known = [cell for cell in cells if cell is not None] if self.counts is None else []
        self.middle = float(np.median(known)) if known else 0.0
        low, high = min(known, default=0.0), max(known, default=0.0)
        width = high - low or abs(high) or 1.0
        self.beyond = (low - width, high + width) if self.counts is None else (0.0, self._rarity(0))
        """From where to where strangers are found."""

    def _rarity(self, count: int) -> float:
        return math.log((self.total + 1) / (count + 1))

    def numbers(self, cells: Sequence[Any]) -> list[float]:
        if self.counts is not None:
            return [self._rarity(self.counts[cell]) for cell in cells]
        return [cell if isinstance(cell, float) else self.middle for cell in cells]


def _row(value: Any, names: list[str] | None) -> tuple[list[str] | None, list[Any] | None]:
    """The fields that count, those of this message where none are named yet, and its cells."""
    found = _fields(value)
    if found is None:
        return names, None
    names = names or sorted(found)
    if not any(name in found for name in names):
        wanted = f"none of the fields {', '.join(names)}" if names else "no fields"
        raise ValidationError(f"{shorten(value)} has {wanted}; give messages of one kind")
    try:
        return names, [_cell(found.get(name)) for name in names]
    except ValidationError as error:
        raise ValidationError(f"{shorten(value)}: {error}; or name the fields that count with fields=[...]") from error


def _fields(value: Any) -> Mapping[str, Any] | None:
    """The fields of a message; ``None`` where it is missing."""
    if isinstance(value, Mapping):
        return value
    if isinstance(value, msgspec.Struct):
        return msgspec.structs.asdict(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    try:
        plain = number(value)
    except ValidationError as error:
        raise ValidationError(f"{shorten(value)} has no fields; give a mapping, a struct or a dataclass") from error
    return None if plain is None else {"value": plain}


def _cell(value: Any) -> float | str | None:
    """A field as a number or a word."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value)
    return number(value)
