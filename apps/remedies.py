"""``warren run --remedies``: remedies from a file or a module, and what they did in words."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from warren.analytics import remedies as known
from warren.analytics.metrics import Metrics
from warren.analytics.recorder import Recorder
from warren.apps.load import load_object
from warren.core.breaker import Switch
from warren.core.errors import AddressError, GraphError, WarrenError, shorten
from warren.core.knobs import Dial
from warren.core.policies import Decision
from warren.core.weights import Weights

__all__ = ["from_file", "load_remedies"]

T = TypeVar("T")


class _Shift(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    weights: str
    target: str
    to: float = 0.0


class _Scale(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    dial: str
    to: int


class _Remedy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    when: known.Condition
    name: str | None = None
    hold: str = "5m"
    at_most: str = "3 an hour"
    pause: str | None = None
    resume: str | None = None
    open_circuit: str | None = None
    shift: _Shift | None = None
    scale: _Scale | None = None
    page: str | None = None

    def made(self) -> known.Remedy:
        makers: dict[str, Callable[[Any], known.Action]] = {
            "pause": lambda source: known.pause(source or None),
            "resume": lambda source: known.resume(source or None),
            "open_circuit": lambda switch: known.open_circuit(_of(Switch, switch)),
            "shift": lambda to: known.shift(_of(Weights, to.weights), to.target, to.to),
            "scale": lambda to: known.scale(_of(Dial, to.dial), to.to),
            "page": known.page,
        }
        given = [name for name in makers if getattr(self, name) is not None]
        if len(given) != 1:
            raise GraphError(f"the remedy for {self.when.figure} needs one of {', '.join(makers)}")
        action = makers[given[0]](getattr(self, given[0]))
        return known.Remedy(self.when.rule(), action, hold=self.hold, at_most=self.at_most, name=self.name)


def _of(kind: type[T], reference: str) -> T:
    found = load_object(reference, kind.__name__.lower())
    if not isinstance(found, kind):
        raise AddressError(f"{reference} is no {kind.__name__} but {shorten(found)}")
    return found


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    remedy: list[_Remedy]
    every: str = "5s"
    health: bool = False


def from_file(path: Path, kind: type[T]) -> T:
    """What a TOML file holds. Raises `AddressError` where it cannot be read, or says something else."""
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), kind)
    except (OSError, ValueError, msgspec.ValidationError, GraphError) as error:
        raise AddressError(f"{path}: {getattr(error, 'strerror', None) or error}") from error


def load_remedies(
    reference: str, act: bool, metrics: Metrics, recorder: Recorder | None, say: Callable[[str], None]
) -> known.Remedies:
    """The remedies that a TOML file or ``module:attribute`` names; those of a file may read the metrics.

    ``act`` decides whether they act; each decision is said in a line, and recorded once it is over.
    """
    if reference.endswith(".toml"):
        file = from_file(Path(reference), _File)
        try:
            found = known.Remedies(
                [each.made() for each in file.remedy], every=file.every, health=file.health, metrics=metrics
            )
        except WarrenError as error:
            raise GraphError(f"{reference}: {error}") from error
    else:
        found = load_object(reference, "remedies")
        if isinstance(found, Sequence) and all(isinstance(each, known.Remedy) for each in found):
            found = known.Remedies(found, metrics=metrics)
        if not isinstance(found, known.Remedies):
            raise AddressError(f"{reference} is no Remedies, nor a list of Remedy, but {shorten(found)}")
    found.mode = "act" if act else "shadow"
    own = found.record

    def record(decision: Decision) -> None:
        say(_said(decision))
        if own is not None:
            own(decision)
        if recorder is not None and (decision.seconds is not None or decision.success is not None):
            recorder.decided("remedies", [decision])

    found.record = record
    return found


def _said(decision: Decision) -> str:
    if decision.seconds is not None:
        came = {True: "all is well", False: "it is still wrong", None: "the pipeline ended"}[decision.success]
        return f"{decision.policy}: over after {decision.seconds:.0f} s; {came}"
    did = "is set" if decision.done == decision.choice else "would be set" if decision.mode == "shadow" else "was not set"
    return f"{decision.policy}: {decision.choice!r} {did} in place of {decision.static!r}, as {decision.reason}"
