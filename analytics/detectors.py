"""What every detector is: a contract of two methods with their vectorised forms, found by name, saved and loaded."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import math
import os
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt

from warren.analytics import saved
from warren.analytics.moments import At, hour_of, moments
from warren.core import plugins
from warren.core.errors import DataError, GraphError, PluginError, ValidationError, shorten

__all__ = ["Detector", "Scores", "detector", "detector_names", "load", "number"]

Scores: TypeAlias = "npt.NDArray[np.float64]"

_OWN = {
    "deviation": "warren.analytics.deviation:Deviation",
    "novelty": "warren.analytics.novelty:Novelty",
    "outliers": "warren.analytics.outliers:Outliers",
}
_KIND = "detector"


class Detector(ABC):
    """Scores how unusual a value is beside those it has learned: 0 is usual, and there is no upper end.

    A subclass implements `score_one`, `learn_one`, `state` and `restore`, and keeps its settings under their own names.
    Scores depend on nothing but the settings and what was learned in which order. A missing value, ``None`` or NaN, has
    the score 0 and teaches nothing. What is no value of its kind is refused with `ValidationError`, and changes nothing.

    ``at`` is when a value was true: seconds since 1970, a ``datetime``, or ``None`` where nobody knows.
    """

    version: ClassVar[int] = 1
    """Grows when the state changes its shape."""

    threshold: float
    """The score from which a value counts as anomalous."""

    learned = 0
    """How many values were learned."""

    _digest = 0

    @abstractmethod
    def score_one(self, value: Any, at: At = None) -> float:
        """How unusual a value would be now. Changes nothing."""

    @abstractmethod
    def learn_one(self, value: Any, at: At = None) -> None:
        """Take a value into what is usual."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """What was learned, as numbers, texts, lists and dicts."""

    @abstractmethod
    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` gave."""

    def check(self, value: Any, at: At = None) -> None:
        """Raise `ValidationError` where a value is none of its kind, or its time is none."""
        number(value)
        hour_of(at, None)

    def watch_one(self, value: Any, at: At = None) -> float:
        """The score of a value, which is learned afterwards."""
        score = self.score_one(value, at)
        self.learn_one(value, at)
        return score

    def score_many(self, values: Iterable[Any], at: Iterable[At] | None = None) -> Scores:
        """The scores of values, each as if it came now."""
        return self._each(self.score_one, values, at)

    def learn_many(self, values: Iterable[Any], at: Iterable[At] | None = None) -> None:
        """Learn values in their order."""
        self._each(self.learn_one, values, at)

    def watch_many(self, values: Iterable[Any], at: Iterable[At] | None = None) -> Scores:
        """The scores of values in their order, each learned before the next."""
        return self._each(self.watch_one, values, at)

    @staticmethod
    def _each(method: Any, values: Iterable[Any], at: Iterable[At] | None) -> Scores:
        listed = as_list(values)
        return np.array(list(map(method, listed, moments(at, len(listed)))), np.float64)

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments that make an equal detector, without what it has learned."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def fresh(self) -> Detector:
        """One with the same settings that has learned nothing."""
        return type(self)(**self.settings)

    @property
    def fingerprint(self) -> str:
        """Digits that are equal for detectors that learned the same values in the same order."""
        return f"{self.learned}-{self._digest:08x}"

    def _learned(self, row: bytes) -> None:
        self.learned += 1
        self._digest = zlib.crc32(row, self._digest)

    def __getstate__(self) -> dict[str, Any]:
        """What a copy, and a pipeline that keeps state, need of it."""
        return {
            "version": self.version,
            "settings": self.settings,
            "learned": self.learned,
            "digest": self._digest,
            "state": self.state(),
        }

    def __setstate__(self, kept: dict[str, Any]) -> None:
        """Raises `DataError` where it was kept by another version."""
        if kept["version"] != self.version:
            raise DataError(
                f"this is version {kept['version']} of {type(self).__name__}, and version {self.version} is expected; "
                f"learn from the data anew"
            )
        self.__init__(**kept["settings"])  # type: ignore[misc]  # the settings of this very class
        self.restore(kept["state"])
        self.learned, self._digest = kept["learned"], kept["digest"]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to a file in one step: its version, settings, the fingerprint of what it learned, and its state.

        Raises `StorageError` where the file cannot be written.
        """
        saved.save(path, f"{_KIND}/{_name(type(self))}", self.__getstate__(), self.fingerprint)

    def __repr__(self) -> str:
        """How to make it."""
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.settings.items())})"


def load(path: str | os.PathLike[str], fingerprint: str | None = None) -> Detector:
    """The detector that `Detector.save` wrote to a file. Only the class it names is used; nothing in a file is executed.

    With ``fingerprint`` it must have learned exactly that data. Raises `StorageError` where the file is missing or damaged,
    `DataError` where it holds something else, another version or other data, and `PluginError` where the detector's package
    is not installed.

    >>> import tempfile, pathlib
    >>> from warren.analytics import Novelty
    >>> file, model = pathlib.Path(tempfile.mkdtemp()) / "latency.model", Novelty()
    >>> model.learn_many(range(100))
    >>> model.save(file)
    >>> load(file, model.fingerprint).score_one(500) == model.score_one(500)
    True
    """
    content, header = saved.load(path, _KIND, fingerprint)
    kind = _class(header.kind.partition("/")[2])
    found = kind.__new__(kind)
    try:
        found.__setstate__(content)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    return found


def detector_names() -> list[str]:
    """The names of all detectors: those of warren, and those that packages add through ``warren.detectors``.

    >>> detector_names()[:2]
    ['deviation', 'novelty']
    """
    return sorted({*_OWN, *plugins.names("detector")})


def detector(name: str) -> Any:
    """The detector of that name: a class of warren, or a function or a class as its package gives it.

    Raises `PluginError` where there is none, where it does not load, and where several packages give one.

    >>> detector("novelty")().threshold
    0.9
    """
    if name in _OWN:
        module, _, attribute = _OWN[name].partition(":")
        return getattr(importlib.import_module(module), attribute)
    found = plugins.find("detector", name)
    if found is None:
        raise PluginError(f"there is no detector {name!r}; known are {', '.join(detector_names())}")
    return found


def _class(name: str) -> type[Detector]:
    made = detector(name)
    return made if isinstance(made, type) else type(made())


def _name(kind: type) -> str:
    """Under which name a class is found again."""
    for name in [*_OWN, *plugins.names("detector")]:
        # One that does not load is no other's trouble.
        with contextlib.suppress(PluginError):
            if _class(name) is kind:
                return name
    raise GraphError(f"{kind.__name__} has no name to be loaded by; give it one in the entry points warren.detectors")


def as_list(values: Iterable[Any]) -> Sequence[Any]:
    """The values of an array, a Polars series or anything that can be gone through, as values of Python."""
    if isinstance(values, str | bytes | Mapping):
        raise ValidationError(f"{shorten(values)} is one value; give a list, an array or a series of them")
    plain = getattr(values, "tolist", None) or getattr(values, "to_list", None)
    return list(plain() if plain is not None else values)


def number(value: Any) -> float | None:
    """A measurement as a number, ``None`` where it is missing.

    Raises `ValidationError` where it is something else.

    >>> number(3), number(float("nan"))
    (3.0, None)
    """
    if value is None:
        return None
    plain = value
    if type(value) is not float:
        if isinstance(value, str | bytes) or not hasattr(value, "__float__"):
            raise ValidationError(f"{shorten(value)} is no number; give a number, or None where it is missing")
        try:
            plain = float(value)
        except (TypeError, ValueError, OverflowError) as error:
            raise ValidationError(
                f"{shorten(value)} is no number ({error}); give one, or None where it is missing"
            ) from error
    found: float = plain
    if found - found != 0:  # NaN and the infinite ones
        if math.isnan(found):
            return None
        raise ValidationError(f"{found} is no measurement; give a finite number, or None where it is missing")
    return found
