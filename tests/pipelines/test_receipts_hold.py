"""Whatever the graph and the faults: every message is settled exactly once, and only after its effects."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pipelines.graphs import Book, Item, check
from tests.pipelines.world import Violation


@settings(max_examples=800, deadline=None, derandomize=True, database=None)
@given(seed=st.integers(0, 2**32))
def test_every_message_is_settled_once_and_only_after_its_effects(seed: int) -> None:
    check(random.Random(seed))


# The checker must be able to say no.


def test_the_book_refuses_an_acknowledgement_before_the_effect() -> None:
    book = Book()
    book.receive([1])
    with pytest.raises(Violation, match="had no effect yet"):
        book.acknowledge([1])


def test_the_book_refuses_an_acknowledgement_while_a_copy_is_on_its_way() -> None:
    book = Book()
    book.receive([1])
    item, copies = Item(((1,),)), [Item(((1, 1, 0),)), Item(((1, 1, 1),))]
    book.replace(item, copies)
    book.pay(copies[:1])
    with pytest.raises(Violation, match="had no effect yet"):
        book.acknowledge([1])
    book.pay(copies[1:])
    book.acknowledge([1])
    with pytest.raises(Violation, match="came again"):
        book.receive([1])


def test_the_book_wants_a_dead_letter_for_a_failure() -> None:
    book = Book()
    book.receive([1])
    book.fail(Item(((1,),)))
    with pytest.raises(Violation, match="without a dead letter"):
        book.acknowledge([1])
    book.letter("dead", 1)
    book.acknowledge([1])
