from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from warren import Pipeline
from warren.connectors import memory
from warren.core.chunk import apply_each
from warren.core.errors import fingerprint
from warren.core.handling import Handling, handled, here
from warren.operators import batch, enrich, filter, flat_map, map


class Asks:
    """An observer with which functions know their messages."""

    def open(self, pipeline: str) -> None: ...
    def settled(self, *_: Any) -> None: ...
    def handled(self, *_: Any) -> None: ...
    def close(self) -> None: ...
    def around(self, stage: str, tokens: Any) -> Any:
        return {}


def ask(value: Any) -> Any:
    handling = here.get()
    stage, metadata = handling.asked()[1:] if handling is not None else ("", None)
    return value, stage, metadata and metadata.id


async def ask_later(value: Any) -> Any:
    before = ask(value)
    await asyncio.sleep(0)
    assert ask(value) == before
    return before


def asked(*steps: Any) -> list[Any]:
    out: list[Any] = []
    flow = functools.reduce(lambda flow, step: flow | step, steps, memory.items(range(5)))
    Pipeline("p", flow | memory.into(out), observers=[Asks()]).run()
    return out


def test_outside_of_a_handler_nothing_is_handled() -> None:
    assert here.get() is None and ask(1) == (1, "", None)
    assert Pipeline("p", memory.items([]) | map(ask) | memory.into([])).test([1]).values == [(1, "", None)]


def test_every_way_to_call_a_function_knows_the_message() -> None:
    ids = [str(i) for i in range(5)]
    ways = {
        "map(ask)": map(ask),
        "map(ask_later)": map(ask_later, concurrency=3),
        "thread": map(ask, executor="thread", workers=2),
        "process": map(ask, executor="process", workers=1),
    }
    for way in ways.values():
        found = asked(way)
        assert [(value, id) for value, _, id in found] == list(zip(range(5), ids, strict=True))
        assert {stage for _, stage, _ in found} == {f"1:{way.name}"}


def test_a_lookup_knows_the_message_where_it_is_one() -> None:
    seen: list[Any] = []

    async def look(keys: list[int]) -> list[Any]:
        seen.append((len(keys), here.get().asked()))  # type: ignore[union-attr]  # it is known here
        return keys

    asked(enrich(look, key=lambda n: n, into=lambda value, _: value, batch=1))
    assert [told.metadata.id for _, told in seen] == ["0", "1", "2", "3", "4"]
    seen.clear()
    asked(enrich(look, key=lambda n: n, into=lambda value, _: value))
    assert seen == [(5, ("p", "1:enrich(look)", None))]


def test_parts_batches_and_what_is_left_of_a_chunk_are_known() -> None:
    found = asked(filter(lambda n: n % 2), flat_map(lambda n: [n, n]), map(ask), batch(4), map(ask))
    ((parts, _, id),) = found
    assert [id for _, _, id in parts] == ["1/0", "1/1", "3/0", "3/1"] and id == "1/0+3"


def test_a_function_that_fails_is_known_and_so_is_the_next() -> None:
    seen: list[Any] = []

    def fails(number: int) -> None:
        seen.append(ask(number)[2])
        raise ValueError(number)

    asked(map(fails))
    assert seen == ["0", "1", "2", "3", "4"]


def test_what_a_handler_starts_does_not_handle_its_message() -> None:
    async def main() -> None:
        seen: list[Any] = []

        async def look(value: int) -> int:
            return value

        # The sink is written in a task that starts while the map is still handling.
        class Writes:
            async def write(self, messages: Any) -> None:
                seen.append(here.get())

            async def close(self) -> None: ...

        sink = memory.into([])
        sink.open = lambda: _answer(Writes())  # type: ignore[method-assign]
        await Pipeline("p", memory.items([1]) | map(look) | map(ask) | sink, observers=[Asks()]).start()
        assert seen == [None] and here.get() is None

    asyncio.run(main())


async def _answer(value: Any) -> Any:
    return value


def test_what_is_entered_is_entered_around_one_call_and_once() -> None:
    entered: list[str] = []

    @contextmanager
    def around() -> Iterator[None]:
        entered.append("in")
        yield
        entered.append("out")

    handling = Handling(3, str, {1: around})
    with handled(handling):
        apply_each(entered.append, "abc")
        apply_each(entered.append, "abc")
        apply_each(entered.append, "ab")
    assert entered == ["a", "in", "b", "out", "c", *"abc", *"ab"]


def test_errors_are_of_the_same_kind_whether_calls_are_followed_or_not() -> None:
    def fails(number: int) -> None:
        raise ValueError(number)

    def kind(around: Any) -> str:
        with handled(Handling(1, str, around) if around is not None else None):
            return fingerprint(apply_each(fails, [1])[1][0])

    @contextmanager
    def entered() -> Iterator[None]:
        yield

    assert kind(None) == kind({}) == kind({0: entered})


@given(st.integers(0, 30).flatmap(lambda size: st.tuples(st.just(size), *[st.sets(st.integers(0, max(size - 1, 0)))] * 3)))
def test_answers_and_errors_are_in_their_places_whatever_is_entered(drawn: tuple[int, set[int], set[int], set[int]]) -> None:
    size, places, raises, stops = drawn
    entered: list[int] = []

    def function(number: int) -> int:
        asked = here.get()
        assert asked is not None and asked.asked() == str(number)
        if number in stops:
            raise StopIteration
        if number in raises:
            raise ValueError(number)
        return -number

    @contextmanager
    def around(place: int) -> Iterator[None]:
        entered.append(place)
        yield

    wanted = {place: functools.partial(around, place) for place in places if place < size}
    with handled(Handling(size, str, wanted)):
        results, errors = apply_each(function, list(range(size)))
    bad = {number for number in raises | stops if number < size}
    assert results == [-number for number in range(size) if number not in bad]
    assert {place: type(error) for place, error in errors.items()} == {
        number: RuntimeError if number in stops else ValueError for number in bad
    }
    assert entered == sorted(wanted)


def test_values_whose_number_cannot_be_told_are_not_followed() -> None:
    handling = Handling(2, str)
    with handled(handling):
        assert apply_each(lambda _: handling.asked(), Listed())[0] == ["-1", "-1"]


class Listed(Sequence[str]):
    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: Any) -> Any:
        return "ab"[index]

    def __iter__(self) -> Iterator[str]:
        yield from "ab"
