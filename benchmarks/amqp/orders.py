"""What the messages say, what each side does to them, and what has to come out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

__all__ = [
    "ROWS",
    "Order",
    "Tally",
    "change",
    "change_rows",
    "check",
    "check_rows",
    "decode",
    "encode",
    "frames",
    "messages",
    "orders",
]

REGIONS = ("eu", "us", "asia", "africa")
ROWS = 10_000
"""Rows of one Arrow batch."""


class Order(msgspec.Struct):
    """What a message says; ``note`` makes it as long as the case asks for."""

    id: int
    region: str
    amount: float
    note: str


decode = msgspec.json.Decoder(Order).decode
encode = msgspec.json.encode


def change(order: Order) -> Order:
    """The step between decoding and publishing, the same on every side."""
    return Order(order.id, order.region, order.amount * 1.25, order.note)


def change_rows(frame: Any) -> Any:
    """The same for a Polars frame."""
    import polars as pl

    return frame.with_columns(pl.col("amount") * 1.25)


def orders(count: int, length: int, start: int = 0) -> list[Order]:
    """Orders whose JSON is ``length`` bytes long."""
    found = []
    for i in range(start, start + count):
        order = Order(i, REGIONS[i % 4], i % 401 / 4, "")  # multiples of a quarter, so sums are exact in any order
        order.note = "x" * (length - len(encode(order)))
        found.append(order)
    return found


def messages(count: int, length: int) -> list[bytes]:
    return [encode(order) for order in orders(count, length)]


def frames(rows: int) -> list[bytes]:
    """Orders without notes, as Arrow streams of at most `ROWS` rows each."""
    import polars as pl

    from warren.core import codecs

    bodies = []
    for start in range(0, rows, ROWS):
        numbers = range(start, min(start + ROWS, rows))
        columns = {
            "id": list(numbers),
            "region": [REGIONS[i % 4] for i in numbers],
            "amount": [i % 401 / 4 for i in numbers],
        }
        bodies.append(codecs.encode(pl.DataFrame(columns))[0])
    return bodies


def check(found: Iterable[bytes], count: int, length: int, *, changed: bool = True) -> None:
    """Every order has arrived once, with what it should say; raises `ValueError` otherwise."""
    got = sorted((decode(body) for body in found), key=lambda order: order.id)
    wanted = orders(count, length)
    if changed:
        wanted = [change(order) for order in wanted]
    if got != wanted:
        raise ValueError(f"{len(got)} of {count} orders came out, or they do not say what they should")


def check_rows(found: Sequence[bytes], rows: int) -> None:
    """The same for Arrow streams, by number and sums."""
    import polars as pl

    frame = pl.concat(pl.read_ipc_stream(body) for body in found)
    got = (len(frame), frame["id"].sum(), frame["amount"].sum(), frame["id"].n_unique())
    wanted = (rows, rows * (rows - 1) // 2, sum(i % 401 / 4 * 1.25 for i in range(rows)), rows)
    if got != wanted:
        raise ValueError(f"rows, sums and distinct ids are {got} and should be {wanted}")


class Tally:
    """What a consumer that publishes nothing has seen."""

    def __init__(self) -> None:
        self.count = 0
        self.ids = 0
        self.amount = 0.0

    def see(self, order: Order) -> Order:
        self.count += 1
        self.ids += order.id
        self.amount += order.amount
        return order

    def check(self, count: int) -> None:
        """Raises `ValueError` where that is not all there was."""
        got = (self.count, self.ids, self.amount)
        wanted = (count, count * (count - 1) // 2, sum(i % 401 / 4 for i in range(count)))
        if got != wanted:
            raise ValueError(f"messages and sums are {got} and should be {wanted}")
