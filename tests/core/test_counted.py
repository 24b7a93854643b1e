from __future__ import annotations

from warren.core.counted import Counted
from warren.core.message import Batch
from warren.core.receipt import DELIVERED, Ledger


def accept(ledger: Ledger, *ids: str) -> range:
    return ledger.accept("in", Batch(ids, ids, ids=ids), 0.0).tokens


def test_what_is_unsettled_is_kept_however_many_come_after_it() -> None:
    ledger = Ledger(lambda delivery, tokens, outcome: None)
    counted = Counted(ledger)
    slow = accept(ledger, "slow", "other")
    counted.add(["slow", "other"], slow)
    ledger.settle(slow[1:], DELIVERED)
    kept: list[list[str]] = []
    for number in range(50):
        tokens = accept(ledger, str(number))
        counted.add([str(number)], tokens)
        ledger.settle(tokens, DELIVERED)
        newest, forgotten = counted.turn(keep=3)
        kept = [*kept[forgotten:], newest]
        assert "slow" in counted.ids and any("slow" in ids for ids in kept)
        assert counted.ids == {id for ids in kept for id in ids}
        assert len(counted.ids) < 8
    ledger.settle(slow[:1], DELIVERED)
    (number,) = ledger.numbers(slow)
    for _ in range(9):
        counted.add(["x"], accept(ledger, "x"))
        counted.turn(3, frozenset([number]))
        assert "slow" in counted.ids
    for _ in range(9):
        counted.add(["x"], accept(ledger, "x"))
        counted.turn(3)
    assert "slow" not in counted.ids


def test_parts_of_a_message_are_kept_with_it() -> None:
    ledger = Ledger(lambda delivery, tokens, outcome: None)
    counted = Counted(ledger)
    (token,) = accept(ledger, "m")
    parts = ledger.split(token, 3)
    counted.add(["m/0", "m/1", "m/2"], parts)
    ledger.settle(parts[:2], DELIVERED)
    for _ in range(5):
        counted.turn(keep=0)
        assert counted.ids == {"m/0", "m/1", "m/2"}
    ledger.settle(parts[2:], DELIVERED)
    counted.turn(keep=0)
    assert counted.ids == set()
