from __future__ import annotations

import asyncio
from typing import Any

import pytest

from warren.connectors import memory
from warren.core.errors import ConnectorError, PartialWriteError
from warren.core.message import Metadata, Outgoing
from warren.pipelines.given import Arrival, Given, Script
from warren.testing.ends import Delayed, Dropped, Duplicated, Failed, Refused, Reordered
from warren.testing.which import which

THREE = [Arrival("a", 0.0), Arrival("b", 1.0), Arrival("c", 2.0, id="x")]


def shown(arrivals: Any) -> list[tuple[float, str, str]]:
    return [(each.at, each.value, each.id) for each in arrivals]


def test_delayed_messages_come_later() -> None:
    assert shown(Delayed("", 5, which("x", 2)).arrivals("q", THREE)) == [(0, "a", ""), (6, "b", ""), (2, "c", "x")]


def test_a_duplicate_has_the_id_of_its_original() -> None:
    assert shown(Duplicated("", 3, which("x", [1, 3])).arrivals("q", THREE)) == [
        (0, "a", "0"),
        (3, "a", "0"),
        (1, "b", "1"),
        (2, "c", "x"),
        (5, "c", "x"),
    ]


def test_reordered_messages_move_less_than_so_many_places_and_times_stay() -> None:
    arrivals = [Arrival(i, float(i)) for i in range(200)]
    moved = Reordered("7", 4).arrivals("q", arrivals)
    assert sorted(each.value for each in moved) == list(range(200))
    assert [each.at for each in moved] == [float(i) for i in range(200)]
    places = [abs(each.value - place) for place, each in enumerate(moved)]
    assert 0 < max(places) < 4
    assert (
        shown(moved) == shown(Reordered("7", 4).arrivals("q", arrivals)) != shown(Reordered("8", 4).arrivals("q", arrivals))
    )
    assert all(each.id == str(each.value) for each in moved)


def test_each_source_has_lots_of_its_own() -> None:
    arrivals = [Arrival(i) for i in range(100)]
    delayed = Delayed("7", 1, which("x", share=0.5))
    assert delayed.arrivals("q", arrivals) == delayed.arrivals("q", arrivals) != delayed.arrivals("r", arrivals)


def test_what_is_unsettled_when_the_connection_is_lost_comes_again() -> None:
    async def main() -> None:
        given = Given(memory.queue("q"), Script([Arrival(value) for value in "abcd"]))
        source = Dropped("", which("x", 3)).source("q", given)
        first = await source.receive(2)
        assert first is not None
        await source.acknowledge(first.handles[:1])
        lost = await source.receive(1)
        assert lost is not None
        await source.acknowledge([*first.handles, *lost.handles])
        await source.release(lost.handles, 0.0, 9)
        again = await source.receive(5)
        assert again is not None
        assert (again.bodies, again.deliveries, again.attempts) == (["b", "c", "d"], [2, 2, 1], [1, 1, 1])
        await source.release(again.handles[2:], 0.0, 2)
        await source.acknowledge(again.handles[:2])
        last = await source.receive(5)
        assert last is not None
        await source.acknowledge(last.handles)
        assert (last.bodies, last.attempts) == (["d"], [2])
        assert await source.receive(5) is None
        assert not given.unsettled
        await source.close()

    asyncio.run(main())


class Sink:
    """Keeps what it is asked to write; refuses the value "odd"."""

    def __init__(self) -> None:
        self.written: list[tuple[Any, str]] = []
        self.closed = False

    async def write(self, messages: Outgoing) -> None:
        errors: dict[int, Exception] = {}
        for i, value in enumerate(messages.values):
            if value == "odd":
                errors[i] = ValueError(value)
            else:
                self.written.append((value, messages.metadata(i).id))
        if errors:
            raise PartialWriteError(errors)

    async def close(self) -> None:
        self.closed = True


def outgoing(*values: str) -> Outgoing:
    return Outgoing(values, lambda i: Metadata(id=f"id-{values[i]}"))


def gone() -> Exception:
    return ConnectorError("gone")


def test_a_sink_refuses_some_and_writes_the_others_with_their_metadata() -> None:
    async def main() -> None:
        sink = Sink()
        refusing = Refused("", which("x", [2, 6]), None, gone).sink("q", sink, dead=False)
        with pytest.raises(PartialWriteError) as caught:
            await refusing.write(outgoing("a", "b", "odd", "c"))
        assert {i: type(error) for i, error in caught.value.errors.items()} == {1: ConnectorError, 2: ValueError}
        await refusing.write(outgoing("d"))
        with pytest.raises(PartialWriteError):
            await refusing.write(outgoing("e"))
        assert sink.written == [("a", "id-a"), ("c", "id-c"), ("d", "id-d")]
        await refusing.close()
        assert sink.closed

    asyncio.run(main())


@pytest.mark.parametrize("written", [False, True])
def test_a_write_fails_with_or_without_effect(written: bool) -> None:
    async def main() -> None:
        sink = Sink()
        failing = Failed("", which("x", 2), None, gone, written).sink("q", sink, dead=False)
        await failing.write(outgoing("a"))
        with pytest.raises(ConnectorError, match="gone"):
            await failing.write(outgoing("b"))
        await failing.write(outgoing("c"))
        assert [value for value, _ in sink.written] == (["a", "b", "c"] if written else ["a", "c"])
        await failing.close()
        assert sink.closed

    asyncio.run(main())


def test_only_the_named_sink_fails_and_dead_letters_only_by_name() -> None:
    sink = Sink()
    anywhere, somewhere = (Failed("", which("x", 1), name, gone, False) for name in (None, "p.dead"))
    assert anywhere.sink("q", sink, dead=True) is sink
    assert anywhere.sink("q", sink, dead=False) is not sink
    assert somewhere.sink("q", sink, dead=False) is sink
    assert somewhere.sink("p.dead", sink, dead=True) is not sink
