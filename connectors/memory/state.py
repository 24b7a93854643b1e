"""State in memory, for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from warren.core.errors import StateError
from warren.core.state import Change, Kept

__all__ = ["State"]


class State:
    """Keeps what the steps of one pipeline remember as long as this object lives. One run has it at a time.

    >>> state = State()
    >>> state.open("orders")
    {}
    >>> state.commit([Change("1:scan", 1, [], {(b"key", 0): b"value"}, ["7"], 0)])
    >>> state.close()
    >>> state.open("orders")["1:scan"]
    (1, Kept(rows={(b'key', 0): b'value'}, counted=[['7']]))
    >>> state.close()
    """

    waits = False

    def __init__(self) -> None:
        self._pipeline: str | None = None
        self._steps: dict[str, tuple[int, Kept]] = {}
        self._taken = False

    def open(self, pipeline: str) -> Mapping[str, tuple[int, Kept]]:
        """What is there. Raises `StateError` for the state of another pipeline, or where a run has it."""
        if self._taken:
            raise StateError("the state in memory is in use by another run; end that one first")
        if self._pipeline not in (None, pipeline):
            raise StateError(
                f"the state in memory is of pipeline {self._pipeline!r}, not of {pipeline!r}; give each pipeline its own"
            )
        self._pipeline, self._taken = pipeline, True
        return {
            step: (version, Kept(dict(kept.rows), list(map(list, kept.counted))))
            for step, (version, kept) in self._steps.items()
        }

    def commit(self, changes: Sequence[Change]) -> None:
        """Take over a checkpoint."""
        if not self._taken:
            raise StateError("the state in memory is closed")
        for step, version, removed, put, counted, forgotten in changes:
            _, kept = self._steps.get(step, (version, Kept({}, [])))
            gone = set(removed)
            for place in [place for place in kept.rows if place[0] in gone] if gone else ():
                del kept.rows[place]
            kept.rows.update(put)
            del kept.counted[:forgotten]
            if counted:
                kept.counted.append(list(counted))
            self._steps[step] = version, kept

    def close(self) -> None:
        """Let go of it."""
        self._taken = False
