"""What models have learned, kept with the state of their pipeline: a good start for the next run, and no more than that."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from math import inf

from warren.core.errors import shorten
from warren.core.frozen import freeze, freeze_key, thaw, thaw_key
from warren.core.policies import Restorable
from warren.core.state import Change, Kept

__all__ = ["POLICIES", "Learned"]

POLICIES = "policies"
"""The name under which a state store has it, beside those of steps."""
_VERSION = 1
_EVERY = 1.0
_LARGEST = 1 << 20
_log = logging.getLogger("warren.policies")


class Learned:
    """Has what the models of one running pipeline learned in earlier runs, and writes what they know now.

    Losing it costs the time to learn it again, so it stops nothing: what cannot be read, is of another version or cannot be
    kept is left out, and the log says so. A model whose bytes are more than 1 MiB is not kept.
    """

    def __init__(self) -> None:
        self._models: dict[str, Restorable] = {}
        self._known: dict[str, bytes] = {}
        self._gone: set[str] = set()
        self._mute: set[str] = set()
        self._written = -inf

    def open(self, stored: Mapping[str, tuple[int, Kept]]) -> None:
        """Look at what a store has."""
        version, kept = stored.get(POLICIES, (_VERSION, Kept({}, [])))
        for (key, _), value in kept.rows.items():
            name = str(thaw_key(key))
            self._gone.add(name)
            if version == _VERSION:
                self._known[name] = value

    def add(self, step: str, model: Restorable) -> None:
        """Give a model of a step what it had learned, and keep what it learns; one that several steps share counts once."""
        if any(each is model for each in self._models.values()):
            return
        first = name = f"{step} {type(model).__name__}"
        count = 1
        while name in self._models:
            count += 1
            name = f"{first} {count}"
        self._models[name] = model
        self._gone.discard(name)
        if name in self._known:
            try:
                model.restore(thaw(self._known[name]))
            except Exception as error:
                _log.warning("%s: it starts anew, as what it had learned cannot be taken over: %s", name, shorten(error))

    def __bool__(self) -> bool:
        return bool(self._models or self._gone)

    def urge(self) -> None:
        """Have the next checkpoint write it, whenever the last one did."""
        self._written = -inf

    @property
    def urgent(self) -> bool:
        """Whether there is something that the next checkpoint is to write."""
        return bool(self) and self._written == -inf

    def change(self, now: float) -> list[Change]:
        """What the next checkpoint has to write; not more often than once a second."""
        if not self or 0 <= now - self._written < _EVERY:
            return []
        self._written = now
        put = {}
        for name, model in self._models.items():
            data = self._bytes(name, model)
            if data is not None and data != self._known.get(name):
                self._known[name] = put[freeze_key(name), 0] = data
        for name in self._gone:
            _log.info("%s: what it had learned is forgotten, as the pipeline has it no more", name)
        removed = [freeze_key(name) for name in sorted(self._gone)]
        self._gone.clear()
        return [Change(POLICIES, _VERSION, removed, put, (), 0)] if put or removed else []

    def _bytes(self, name: str, model: Restorable) -> bytes | None:
        try:
            data = freeze(model.state())
            if len(data) <= _LARGEST:
                return data
            problem = f"it has {len(data):,} bytes, and {_LARGEST:,} at most are kept"
        except Exception as error:
            problem = f"{type(error).__name__}: {shorten(error)}"
        if name not in self._mute:
            self._mute.add(name)
            _log.warning("%s: what it learns is not kept: %s", name, problem)
        return None
