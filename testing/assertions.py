"""Assertions about trials, whose errors show what was expected and what came side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from warren.core.errors import GraphError, shorten
from warren.pipelines.trial import Letter, Trial
from warren.testing.diff import matched, same, side_by_side

__all__ = ["assert_dead_lettered", "assert_delivered", "assert_outcomes"]

_OUTCOMES = ("delivered", "filtered", "dead_lettered", "parked", "released")


def assert_delivered(trial: Trial, expected: Iterable[Any], *, to: str | None = None, in_order: bool = True) -> None:
    """See that exactly these values reached the sink named ``to``, or all sinks together, in this order or in any.

    Raises `AssertionError` that shows both lists side by side; `GraphError` where no sink has that name.

    >>> from warren import Pipeline
    >>> from warren.connectors import memory
    >>> trial = Pipeline("copy", memory.items([]) | memory.into([])).test(["a", "b"])
    >>> assert_delivered(trial, ["b", "a"], in_order=False)
    >>> assert_delivered(trial, ["a"])
    Traceback (most recent call last):
    AssertionError: what was delivered is not what was expected: 1 value(s) beyond it
    <BLANKLINE>
        expected  actual
    0   'a'       'a'
    1 +           'b'
    """
    __tracebackhide__ = True
    actual = trial.values if to is None else _of(trial.outputs, to, "sink")
    where = "delivered" if to is None else f"delivered to {to}"
    _compare(where, list(expected), actual, in_order, _reasons(trial))


def assert_dead_lettered(
    trial: Trial,
    expected: Iterable[Any],
    *,
    error: str | type[BaseException] | None = None,
    stage: str | None = None,
    queue: str | None = None,
    in_order: bool = True,
) -> None:
    """See that exactly these values, as they came from their source, are dead letters of that queue, or of all.

    With ``error``, each failed with an exception of that type; with ``stage``, in a step whose name holds that text.

    Raises `AssertionError` that shows both lists side by side; `GraphError` where no queue has that name.

    >>> from warren import Pipeline
    >>> from warren.connectors import memory
    >>> from warren.operators import map
    >>> trial = Pipeline("inverse", memory.items([]) | map(lambda x: 1 / x) | memory.into([])).test([1, 0])
    >>> assert_dead_lettered(trial, [0], error=ZeroDivisionError, stage="map")
    """
    __tracebackhide__ = True
    # A queue that got nothing is never opened, so it is unknown to the trial; nothing is then what was expected.
    wanted = list(expected)
    queues = trial.dead_letters
    letters = [letter for name, each in queues.items() if queue in (None, name) for letter in each]
    if queue is not None and queue not in queues and queues:
        _of(queues, queue, "queue of dead letters")
    where = "dead-lettered" if queue is None else f"dead-lettered to {queue}"
    _compare(where, wanted, [letter.value for letter in letters], in_order, [f"  {_why(letter)}" for letter in letters])
    kind = error.__name__ if isinstance(error, type) else error
    wrong = [each for each in letters if kind not in (None, each.error) or (stage is not None and stage not in each.stage)]
    if wrong:
        asked = " ".join([*([f"by {kind}"] if kind else []), *([f"at {stage}"] if stage else [])])
        lines = [f"  {_why(letter)}" for letter in wrong[:8]]
        raise AssertionError("\n".join([f"{len(wrong)} dead letter(s) failed otherwise than {asked}:", "", *lines]))


def assert_outcomes(trial: Trial, **expected: int) -> None:
    """See that so many messages ended as ``delivered``, ``filtered``, ``dead_lettered``, ``parked`` or ``released``.

    What is not named must not have happened. Raises `AssertionError` that shows both; `GraphError` for another name.

    >>> from warren import Pipeline
    >>> from warren.connectors import memory
    >>> from warren.operators import filter
    >>> odd = filter(lambda x: x % 2)
    >>> assert_outcomes(Pipeline("odd", memory.items([]) | odd | memory.into([])).test(range(3)), delivered=1, filtered=2)
    """
    __tracebackhide__ = True
    for name in expected:
        if name not in _OUTCOMES:
            raise GraphError(f"assert_outcomes({name}=...): messages end as {', '.join(_OUTCOMES)}")
    actual = {name.replace("-", "_"): count for name, count in trial.outcomes.items()}
    rows = [(name, expected.get(name, 0), actual.get(name, 0)) for name in _OUTCOMES]
    if any(wanted != got for _, wanted, got in rows):
        table = [f"{'':15} expected  actual"]
        table += [f"{name:13} {'~' if a != b else ' '} {a:8}  {b:6}" for name, a, b in rows if a or b]
        raise AssertionError("\n".join(["messages did not end as expected", "", *table, *_block(_reasons(trial))]))


def _of(places: Mapping[str, Any], name: str, what: str) -> Any:
    if name not in places:
        raise GraphError(f"the trial has no {what} named {name!r}; it has {', '.join(map(repr, places)) or 'none'}")
    return places[name]


def _compare(where: str, expected: Sequence[Any], actual: Sequence[Any], in_order: bool, notes: Sequence[str]) -> None:
    __tracebackhide__ = True
    if len(expected) == len(actual) and all(map(same, expected, actual)):
        return
    missing, extra = matched(expected, actual)
    if not missing and not extra:
        if not in_order:
            return
        said = "the same values in another order; give in_order=False where the order does not matter"
    else:
        parts = [f"{len(missing)} value(s) missing"] * bool(missing) + [f"{len(extra)} value(s) beyond it"] * bool(extra)
        said = ", ".join(parts)
    if in_order:
        table = side_by_side(expected, actual)
    else:
        kept = [value for value in expected if not _take(missing, value)]
        missing, extra = matched(expected, actual)
        table = side_by_side([*kept, *missing], [*kept, *extra])
    raise AssertionError("\n".join([f"what was {where} is not what was expected: {said}", "", *table, *_block(notes)]))


def _take(values: list[Any], value: Any) -> bool:
    """Take one such value out of a list, if it is there."""
    place = next((i for i, each in enumerate(values) if same(each, value)), None)
    if place is not None:
        del values[place]
    return place is not None


def _why(letter: Letter) -> str:
    return f"{shorten(letter.value, 40)}: {letter.error} at {letter.stage}, {shorten(letter.reason)}"


def _reasons(trial: Trial) -> list[str]:
    """Why messages are dead letters, which is often why something is missing."""
    return [f"  dead letter {_why(letter)}" for letters in trial.dead_letters.values() for letter in letters]


def _block(notes: Sequence[str], most: int = 5) -> list[str]:
    if not notes:
        return []
    return ["", *notes[:most], *([f"  … and {len(notes) - most} more"] if len(notes) > most else [])]
