"""``warren run --alerts``: alerts from a file."""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec

from warren.analytics.alerts import Alert, Alerts, Silence, To
from warren.analytics.metrics import Metrics
from warren.analytics.remedies import Condition
from warren.apps.load import load_object
from warren.apps.remedies import from_file
from warren.core.errors import AddressError, GraphError, WarrenError, shorten

__all__ = ["load_alerts"]

_log = logging.getLogger("warren.alerts")


class _Alert(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    when: Condition
    lasting: str = "0s"
    keep: str = "0s"
    labels: dict[str, str] = {}
    say: str = ""

    def made(self) -> Alert:
        return Alert(self.name, self.when.rule(), lasting=self.lasting, keep=self.keep, labels=self.labels, say=self.say)


class _To(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    address: str
    where: dict[str, str] = {}


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    alert: list[_Alert]
    to: list[_To]
    silence: list[Silence] = []
    every: str = "10s"
    group_by: tuple[str, ...] = ("pipeline",)
    wait: str = "0s"
    repeat: str = "4h"
    linger: str = "5s"
    file: str | None = None
    health: bool = False


class _Silences:
    """Those of a file, read anew when it has changed."""

    def __init__(self, path: Path, silences: list[Silence]) -> None:
        self._path, self._silences = path, silences
        self._read = self._changed()

    def _changed(self) -> int:
        try:
            return self._path.stat().st_mtime_ns
        except OSError:
            return 0

    def __call__(self) -> list[Silence]:
        changed = self._changed()
        if changed != self._read:
            self._read = changed
            try:
                self._silences = from_file(self._path, _File).silence
            except AddressError as error:
                _log.error("the silences stay as they were: %s", error)
        return self._silences


def load_alerts(reference: str, metrics: Metrics) -> Alerts:
    """The alerts that a TOML file or ``module:attribute`` names; those of a file may read the metrics.

    Silences are taken from the file again whenever it has changed.
    """
    if not reference.endswith(".toml"):
        found = load_object(reference, "alerts")
        if not isinstance(found, Alerts):
            raise AddressError(f"{reference} is no Alerts but {shorten(found)}")
        return found
    path = Path(reference)
    file = from_file(path, _File)
    try:
        return Alerts(
            [each.made() for each in file.alert],
            to=[To(each.address, where=each.where) for each in file.to],
            silences=_Silences(path, file.silence),
            every=file.every,
            group_by=file.group_by,
            wait=file.wait,
            repeat=file.repeat,
            linger=file.linger,
            file=file.file,
            health=file.health,
            metrics=metrics,
        )
    except WarrenError as error:
        raise GraphError(f"{reference}: {error}") from error
