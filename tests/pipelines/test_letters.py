"""What dead letters hold: pieces of a message where they can be told apart, and each row of it in one place only."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import polars as pl
import pytest

from tests.pipelines.world import Queue, Recorded, virtually
from warren.core.chunk import Chunk
from warren.core.codecs import ARROW, ARROW_ZSTD, decoder, encode
from warren.core.errors import PartialWriteError
from warren.core.graph import Flow, Operator, Outlet
from warren.core.message import Metadata, Outgoing
from warren.core.receipt import Piece
from warren.core.stage import Handler, Stage
from warren.operators import batch, constant, dead_letter, explode, frames, map, retry, route
from warren.pipelines.pipeline import Pipeline

Letter = tuple[Any, Metadata]


class Frames(Queue):
    """A queue of encoded frames that keeps its dead letters as they are written."""

    def __init__(self, given: Sequence[Any], type: Any = pl.DataFrame, chunk: int = 1024) -> None:
        super().__init__(given, chunk=chunk)
        self.type = type
        self.written: list[Letter] = []

    def dead_letters(self, queue: str) -> Any:
        return _Kept(self.written)

    def frames(self) -> list[pl.DataFrame]:
        return [decoder(pl.DataFrame, metadata.content_type)(body) for body, metadata in self.written]


class _Kept(Outlet[Any]):
    def __init__(self, written: list[Letter]) -> None:
        self.written = written

    async def open(self) -> Any:
        return self

    async def write(self, messages: Outgoing) -> None:
        assert len(messages) <= 1024
        await asyncio.sleep(0.1)
        self.written += [(messages.values[i], messages.metadata(i)) for i in range(len(messages))]

    async def close(self) -> None:
        pass


def frame(*numbers: int) -> pl.DataFrame:
    return pl.DataFrame({"n": numbers}, schema={"n": pl.Int64})


def run(flow: Flow, **options: Any) -> None:
    async def main() -> None:
        await Pipeline("p", flow, **options).start(clock=lambda: 7.0)

    virtually(main)


@pytest.mark.parametrize("seed", range(60))
def test_each_row_is_delivered_or_in_one_letter(seed: int) -> None:
    draw = random.Random(seed)
    rate = draw.choice([0.0, 0.05, 0.5, 1.0])

    def risky(row: dict[str, int]) -> dict[str, int]:
        if draw.random() < rate:
            raise draw.choice([ValueError, ConnectionError])(str(row["n"]))
        return row

    async def refuse(what: str, *details: Any) -> None:
        if what == "write":
            await asyncio.sleep(draw.choice([0, 0.5]))
            refused = [i for i in range(len(details[0])) if draw.random() < rate / 2]
            done = [value for i, value in enumerate(details[0]) if i not in refused]
            delivered.update(n for value in done for n in (value["n"] if isinstance(value, pl.DataFrame) else [value["n"]]))
            if refused:
                raise PartialWriteError({i: ValueError("refused") for i in refused})

    sizes = [draw.choice([0, 1, 2, 30]) for _ in range(draw.randint(1, 8))]
    numbers = iter(range(1000))
    given = [frame(*(next(numbers) for _ in range(size))) for size in sizes]
    content_type = draw.choice([ARROW, ARROW_ZSTD])
    queue = Frames([encode(each, content_type)[0] for each in given], chunk=draw.choice([1, 1024]))
    out, delivered = Recorded(hook=refuse), Counter[int]()
    steps: Any = queue | explode()
    if draw.random() < 0.5:
        steps |= map(risky)
    if draw.random() < 0.5:
        steps |= retry(constant("1s", attempts=2), on=ConnectionError)
    if draw.random() < 0.3:
        steps |= dead_letter("other", on=ConnectionError)
    if draw.random() < 0.5:
        steps |= frames(draw.choice([1, 7, 50]), draw.choice([None, "2s"]))
    if draw.random() < 0.3:
        steps |= map(lambda value: value)
    run(steps | out)
    lettered = Counter(n for each in queue.frames() for n in each["n"])
    assert delivered + lettered == Counter(range(sum(sizes)))
    assert sorted(queue.acknowledged) == list(range(len(given)))
    ids = [metadata.id for _, metadata in queue.written]
    assert len(ids) == len(set(ids))


def test_so_many_rows_that_they_are_written_in_turns() -> None:
    queue = Frames([encode(frame(*range(3000)))[0]])
    run(queue | explode() | map(lambda row: row["x"]) | Recorded())
    assert [each["n"].to_list() for each in queue.frames()] == [[n] for n in range(3000)]
    assert queue.acknowledged == [0]


def test_a_message_that_fails_in_rows_of_several_branches() -> None:
    queue = Frames([encode(frame(1, 2, 3, 4))[0]])
    odd = map(lambda row: row["x"]) | Recorded("odd")
    even = batch(2) | map(lambda rows: rows.x) | Recorded("even")
    run(queue | explode() | route(lambda row: row["n"] % 2, {1: odd, 0: even}))
    found = {metadata.headers["warren-row"]: metadata.id for _, metadata in queue.written}
    assert found == {"0": "0/0", "2": "0/2", "1,3": "0/1"}


def test_ready_values_have_pieces_too() -> None:
    queue = Frames([frame(1, 2)], None)
    run(queue | explode() | map(lambda row: 1 / (row["n"] - 2)) | Recorded())
    assert [each.rows() for each in queue.frames()] == [[(2,)]]


class Cut(Operator[Any, Any]):
    """Makes two values of each, and says of their pieces what it is told."""

    def __init__(self, piece: Piece) -> None:
        self.piece = piece

    def attach(self, stage: Stage) -> Handler:
        def handle(chunk: Chunk) -> Chunk:
            out = Chunk([], [])
            for value, token in zip(chunk.values, chunk.tokens, strict=True):
                out.values += [value, value]
                out.tokens += stage.ledger.split(token, 2, self.piece)  # type: ignore[operator]  # a list, made here
            return out

        return handle


def fails(source: Any, parts: Sequence[int]) -> Any:
    raise RuntimeError("no idea")


@pytest.mark.parametrize("piece", [fails, lambda source, parts: None, lambda source, parts: (object(), "1")])
def test_where_a_piece_cannot_be_had_the_message_is_the_letter(piece: Piece) -> None:
    queue = Frames([b"[1, 2]"], list[int])
    run(queue | Cut(piece) | map(lambda value: value.x) | Recorded())
    assert [(body, metadata.id, "warren-row" in metadata.headers) for body, metadata in queue.written] == [
        (b"[1, 2]", "0", False)
    ]


def test_a_piece_of_any_message_can_be_a_letter() -> None:
    queue = Frames([b"[1, 2]"], list[int])
    run(queue | Cut(lambda source, parts: ([source[i] for i in parts], "x")) | map(lambda value: value.x) | Recorded())
    assert [(body, metadata.content_type, metadata.id) for body, metadata in queue.written] == [
        (b"[1]", "application/json", "0/0"),
        (b"[2]", "application/json", "0/1"),
    ]


def test_a_message_that_cannot_be_decoded_is_the_letter() -> None:
    queue = Frames([b"junk"])
    run(queue | explode() | Recorded())
    assert [body for body, _ in queue.written] == [b"junk"]
