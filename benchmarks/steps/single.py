"""Each operator by itself: warren beside what reactivex and Bytewax have for it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import timedelta
from operator import attrgetter
from typing import Any

from benchmarks.harness import Bar, Case, Subject
from benchmarks.steps.readings import EPOCH, Reading, checked, readings, sessions, windows
from benchmarks.steps.sides import WINDOW_TALK, in_bytewax, in_reactivex, in_warren

__all__ = ["BARS", "CASES", "bytewax_windows"]

KEYS = 100
RATE = 1_000.0
LATENESS = 5.0
TIMES = 1.5
"""How many times as many messages as Bytewax we want."""

Build = Callable[[Any, Any], Any]
key = attrgetter("key")
moment = attrgetter("time")


def numbers(size: int) -> list[int]:
    return list(range(size))


def twice(size: int) -> list[int]:
    return [i // 2 for i in range(size)]


def keyed(size: int) -> list[Reading]:
    return readings(size, KEYS, RATE)


def with_pauses(size: int) -> list[Reading]:
    return readings(size, KEYS, RATE, pause=1_000)


def double(value: int) -> int:
    return value * 2


def even(value: int) -> bool:
    return value % 2 == 0


def both(value: int) -> tuple[int, int]:
    return value, -value


def parity(value: int) -> str:
    return "odd" if value % 2 else "even"


def add(total: int, reading: Reading) -> int:
    return total + reading.value


def step(name: str, make: Callable[[int], Any], model: Callable[[Any], Any], sides: dict[str, Any], **more: Any) -> Case:
    """One operator; a side is what runs it, by name."""
    subjects = [
        Subject(
            side,
            checked(make, work, model, more.get("form", list)),
            needs=side if side != "warren" else None,
            share=more.get("slow", 1.0) if side == "reactivex" else 1.0,
        )
        for side, work in sides.items()
    ]
    size = more.get("size", 1_000_000)
    return Case(name, "messages/s", subjects, size, size // 5, note=more.get("note", ""), quick=more.get("quick", False))


def simple(
    name: str, ours: Callable[[], Any], rx: Callable[[Any], Any] | None, build: Build | None, model: Any, **more: Any
) -> Case:
    """A step on numbers, in order."""
    sides: dict[str, Any] = {"warren": lambda values: in_warren(values, ours())}
    if rx is not None:
        sides["reactivex"] = lambda values: in_reactivex(values, *rx(_rx()))
    if build is not None:
        sides["bytewax"] = lambda values: in_bytewax(values, build)
    return step(name, more.pop("make", numbers), model, sides, **more)


def _rx() -> Any:
    from reactivex import operators

    return operators


def warren_operators() -> Any:
    from warren import operators

    return operators


def routed() -> Any:
    w = warren_operators()
    return w.route(parity, odd=w.map(double), even=w.map(double))


def rx_parts(ops: Any) -> list[Any]:
    import reactivex

    def parted(source: Any) -> Any:
        # It subscribes to the source once for each part, so the source is shared first.
        odds, evens = source.pipe(ops.map(lambda n: (n % 2, n)), ops.share(), ops.partition(lambda pair: pair[0]))
        value = ops.map(lambda pair: double(pair[1]))
        return reactivex.merge(odds.pipe(value), evens.pipe(value))

    return [parted]


def bytewax_parts(op: Any, stream: Any) -> Any:
    parts = op.branch("parity", stream, lambda value: value % 2 == 1)
    return op.merge("both", op.map("odd", parts.trues, double), op.map("even", parts.falses, double))


def bytewax_once(op: Any, stream: Any) -> Any:
    def first(seen: bool | None, value: int) -> tuple[bool, Iterable[int]]:
        return True, () if seen else (value,)

    return op.key_rm("value", op.stateful_flat_map("once", op.key_on("key", stream, str), first))


def bytewax_batches(op: Any, stream: Any) -> Any:
    lists = op.collect("batch", op.key_on("key", stream, lambda value: "all"), timedelta(hours=1), 100)
    return op.key_rm("lists", lists)


def running_totals(given: list[Reading]) -> list[int]:
    totals: defaultdict[str, int] = defaultdict(int)
    found = []
    for reading in given:
        totals[reading.key] += reading.value
        found.append(totals[reading.key])
    return sorted(found)


def bytewax_totals(op: Any, stream: Any) -> Any:
    def added(total: int | None, reading: Reading) -> tuple[int, int]:
        total = add(total or 0, reading)
        return total, total

    return op.key_rm("total", op.stateful_map("add", op.key_on("key", stream, key), added))


def rx_totals(values: list[Reading]) -> list[int]:
    ops = _rx()
    return in_reactivex(values, ops.group_by(key), ops.flat_map(lambda group: group.pipe(ops.scan(add, 0))))


SCAN = step(
    "scan",
    keyed,
    running_totals,
    {
        "warren": lambda values: in_warren(values, warren_operators().scan(add, 0, by=key)),
        "reactivex": rx_totals,
        "bytewax": lambda values: in_bytewax(values, bytewax_totals),
    },
    form=sorted,
    note=f"{KEYS} keys",
    quick=True,
)


def bytewax_windows(op: Any, stream: Any, windower: Callable[[Any], Any], total: bool) -> Any:
    """Windows of each key as lists, or as totals; ``ordered`` would sort the values too, which warren does not."""
    import bytewax.operators.windowing as win

    clock = win.EventClock(attrgetter("at"), timedelta(seconds=LATENESS))
    pairs = op.key_on("key", stream, key)
    if not total:
        return win.collect_window("window", pairs, clock, windower(win), ordered=False).down
    return win.fold_window("window", pairs, clock, windower(win), lambda: 0, add, lambda a, b: a + b, ordered=False).down


def tumbling(win: Any) -> Any:
    return win.TumblingWindower(timedelta(seconds=10), EPOCH)


def hopping(win: Any) -> Any:
    return win.SlidingWindower(timedelta(seconds=10), timedelta(seconds=5), EPOCH)


def session(win: Any) -> Any:
    return win.SessionWindower(timedelta(seconds=10))


def lists(found: list[Any]) -> list[tuple[str, tuple[int, ...]]]:
    """What is in the windows that warren or Bytewax gave, sorted."""
    pairs = [(each[0], each[1][1]) if isinstance(each, tuple) else (each.key, each.values) for each in found]
    return sorted((key, tuple(sorted(reading.value for reading in values))) for key, values in pairs)


def totals(found: list[Any]) -> list[tuple[str, int]]:
    return sorted((each[0], each[1][1]) if isinstance(each, tuple) else (each["key"], each["total"]) for each in found)


def windowed(name: str, kind: Callable[[Any], Any], windower: Any, make: Any, model: Any, total: bool = False) -> Case:
    def ours(values: list[Reading]) -> list[Any]:
        w = warren_operators()
        flow = w.window(kind(w), by=key, time=moment, lateness=LATENESS)
        return in_warren(values, flow | w.aggregate(total=w.total(attrgetter("value"))) if total else flow)

    return step(
        name,
        make,
        model,
        {
            "warren": ours,
            "bytewax": lambda values: in_bytewax(
                values, lambda op, s: bytewax_windows(op, s, windower, total), talk=WINDOW_TALK
            ),
        },
        form=totals if total else lists,
        size=500_000,
        note=f"{KEYS} keys, 100 values in a window of a key, in nearly the order of their times",
        quick=total,
    )


def once(given: list[int]) -> list[int]:
    return sorted(set(given))


CASES = [
    simple(
        "map", lambda: warren_operators().map(double), lambda ops: [ops.map(double)],
        lambda op, s: op.map("map", s, double), lambda given: [double(n) for n in given], quick=True,
    ),
    simple(
        "filter", lambda: warren_operators().filter(even), lambda ops: [ops.filter(even)],
        lambda op, s: op.filter("filter", s, even), lambda given: [n for n in given if even(n)],
    ),
    simple(
        "flat_map", lambda: warren_operators().flat_map(both), lambda ops: [ops.flat_map(both)],
        lambda op, s: op.flat_map("flat_map", s, both), lambda given: [m for n in given for m in both(n)], slow=0.02,
        note="two values for each; reactivex gets a fiftieth of the messages",
    ),
    simple(
        "batch", lambda: warren_operators().batch(100), lambda ops: [ops.buffer_with_count(100)],
        bytewax_batches, lambda given: [given[i : i + 100] for i in range(0, len(given), 100)], note="lists of 100",
    ),
    simple(
        "deduplicate", lambda: warren_operators().deduplicate(lambda n: n, limit=None), lambda ops: [ops.distinct()],
        bytewax_once, once, make=twice, form=sorted, size=200_000, slow=0.05,
        note="every message comes twice; reactivex looks through a list, and gets a twentieth of them",
    ),
    simple(
        "route", routed, rx_parts, bytewax_parts, lambda given: sorted(map(double, given)), form=sorted,
        note="two branches with a map each, merged again",
    ),
    simple(
        "throttle", lambda: warren_operators().throttle(1_000_000_000), None, None, list,
        note="a limit that is never reached; neither rival has one that drops nothing",
    ),
    SCAN,
    windowed(
        "window-tumbling", lambda w: w.tumbling("10s"), tumbling, keyed, lambda given: windows(given, 10.0, 10.0)
    ),
    windowed(
        "window-hopping", lambda w: w.hopping("10s", every="5s"), hopping, keyed, lambda given: windows(given, 10.0, 5.0)
    ),
    windowed(
        "window-session", lambda w: w.session("10s"), session, with_pauses, lambda given: sessions(given, 10.0)
    ),
    windowed(
        "window-aggregate", lambda w: w.tumbling("10s"), tumbling, keyed,
        lambda given: sorted((key, sum(values)) for key, values in windows(given, 10.0, 10.0)), total=True,
    ),
]  # fmt: skip
BARS = [Bar(case.name, "bytewax", TIMES) for case in CASES if any(subject.name == "bytewax" for subject in case.subjects)]
