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


def test_what_comes_again_and_again_does_not_push_out_what_came_once() -> None:
    ledger = Ledger(lambda delivery, tokens, outcome: None)
    counted = Counted(ledger)

    def count(*ids: str, again: bool = False) -> None:
        batch = Batch(ids, ids, ids=ids, deliveries=[1 + again] * len(ids))
        tokens = ledger.accept("in", batch, 0.0).tokens
        counted.add(ids, tokens)
        ledger.settle(tokens, DELIVERED)
        counted.turn(keep=3)

    count("a", "b")
    assert "a" in counted.ids
    for _ in range(50):
        count("b", again=True)
        assert counted.ids == {"a", "b"}
    assert sum(len(group.ids) for groups in counted._lists for group in groups) < 9
    count("c", "d", "e")
    count("f")
    assert counted.ids == {"c", "d", "e", "f"}


def test_so_many_messages_are_kept_and_not_so_many_rows() -> None:
    ledger = Ledger(lambda delivery, tokens, outcome: None)
    counted = Counted(ledger)
    for name in "abc":
        (token,) = accept(ledger, name)
        for row, part in enumerate(ledger.split(token, 9)):
            counted.add([f"{name}/{row}"], [part])
            ledger.settle([part], DELIVERED)
        counted.turn(keep=2)
    assert {id[0] for id in counted.ids} == {"b", "c"}


def test_what_was_counted_stays_while_something_that_came_again_has_not_reached_the_step() -> None:
    ledger = Ledger(lambda delivery, tokens, outcome: None)
    counted = Counted(ledger)
    tokens = accept(ledger, "a")
    counted.add(["a"], tokens)
    ledger.settle(tokens, DELIVERED)
    again = ledger.accept("in", Batch(["a"], ["a"], ids=["a"], deliveries=[2]), 0.0).tokens
    for number in range(9):
        tokens = accept(ledger, str(number))
        counted.add([str(number)], tokens)
        ledger.settle(tokens, DELIVERED)
        counted.turn(keep=2)
    assert counted.ids == {"a", "7", "8"}
    ledger.settle(again, DELIVERED)
    counted.add(["9"], accept(ledger, "9"))
    counted.turn(keep=2)
    assert counted.ids == {"8", "9"}


def test_a_source_that_gives_little_keeps_its_ids_and_no_others() -> None:
    ledger = Ledger(lambda delivery, tokens, outcome: None)
    ledger.scopes["rare"] = "rare: "
    counted = Counted(ledger, [["old"]])

    def count(source: str, *ids: str) -> None:
        tokens = ledger.accept(source, Batch(ids, ids, ids=ids), 0.0).tokens
        counted.add(ids, tokens)
        ledger.settle(tokens, DELIVERED)

    count("busy", "a")
    count("rare", "b")
    for number in range(500):
        count("busy", str(number))
        counted.turn(keep=3)
        assert {"old", "b"} <= counted.ids
        assert len(counted.ids) < 25
    for number in range(3):
        count("rare", f"c{number}")
    for number in range(9):
        count("busy", f"d{number}")
        counted.turn(keep=3)
    assert not {"old", "b"} & counted.ids
