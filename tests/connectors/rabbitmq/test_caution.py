"""Which messages are handed out one at a time."""

from __future__ import annotations

import pytest

from warren.connectors.rabbitmq.caution import Caution
from warren.connectors.rabbitmq.topology import QueueDeclaration


@pytest.mark.parametrize(("limit", "suspects"), [(1, []), (2, [2]), (3, [2, 3]), (4, [3, 4]), (5, [3, 4, 5])])
def test_suspects_were_lost_often_and_are_not_yet_given_up(limit: int, suspects: list[int]) -> None:
    caution = Caution(limit)
    assert [count for count in range(1, 10) if caution.first_suspect([count]) == 0] == suspects


def test_it_begins_with_one_message_and_goes_on_for_as_many_as_were_given_back() -> None:
    caution = Caution(20)
    caution.passed()
    assert caution.left == 0
    caution.start(3)
    caution.start()
    assert caution.left == 3


def test_only_queues_that_count_and_have_no_favourite_consumer_are_watched() -> None:
    def counts(**options: object) -> bool:
        return QueueDeclaration("q", **options).counts  # type: ignore[arg-type]

    assert counts()
    assert not counts(kind="classic")
    assert not counts(passive=True)
    assert not counts(arguments={"x-single-active-consumer": True})
