from math import inf

import pytest

from warren.analytics.routing.lines import Drained, Line, QueueLine


def test_a_line_serves_one_after_the_other():
    line = Line()
    line.send(1, 2.0, 1.0, 0.0)
    line.send(2, 3.0, 1.0, 0.5)
    assert len(line) == 2
    assert line.wait(1.0, 1.0) == (4.0, 1.0)
    assert line.end(1, 2.0) == 2.0
    assert line.wait(1.0, 2.0) == (3.0, 1.0)
    assert line.end(2, 5.5) == 3.5
    assert line.wait(1.0, 6.0) == (0.0, 1.0) and len(line) == 0


def test_a_message_that_takes_too_long_tells_before_it_ends():
    line = Line()
    line.send(1, 1.0, 1.0, 0.0)
    line.send(2, 1.0, 1.0, 0.0)
    wait, slow = line.wait(1.0, 4.0)
    assert slow == 4.0 and wait == 4.0


def test_workers_are_counted_by_what_overtakes_and_forgotten():
    line = Line()
    for number in range(1, 4):
        line.send(number, 1.0, 1.0, 0.0)
    assert line.end(3, 1.0) is None and line.workers == 2
    line.end(1, 1.0)
    line.end(2, 1.0)
    for number in range(4, 1_010):
        line.send(number, 1.0, 1.0, 0.0)
        line.end(number, 1.0)
    assert line.workers == 1


def test_several_workers_share_what_waits():
    line = Line()
    for number in range(4):
        line.send(number, 1.0, 1.0, 0.0)
    line.end(2, 0.0)
    line.send(5, 1.0, 1.0, 0.0)
    assert line.workers == 2 and len(line) == 4
    assert line.wait(1.0, 0.0) == (2.0, 1.0)


def test_work_joins_what_is_on_its_way():
    line = Line()
    line.send(1, 1.0, 1.0, 0.0)
    line.send(2, 1.0, 1.0, 0.0)
    line.more(1, 2.0, 1, 0.5)
    line.more(2, 3.0, 1, 0.5)
    line.more(9, 5.0, 1, 0.5)
    assert line.wait(1.0, 1.0) == (6.0, 1.0)
    line.end(1, 3.0)
    assert line.wait(1.0, 3.0) == (4.0, 1.0)
    line.end(2, 7.0)
    line.send(3, 1.0, 1.0, 8.0)
    assert line.wait(1.0, 8.0) == (1.0, 1.0)


def test_an_end_of_nothing_changes_nothing():
    line = Line()
    line.send(1, 1.0, 1.0, 0.0)
    assert line.end(9, 1.0) is None
    assert len(line) == 1


def test_of_a_queue_messages_are_counted_also_where_they_share_decisions():
    queue = QueueLine()
    queue.send(1, 10.0, 0.1, 0.0, 10)
    queue.send(2, 20.0, 0.1, 0.0, 20)
    gone, told = queue.hear(25, 1.0, 0.1)
    assert gone == [] and told is None
    gone, told = queue.hear(20, 2.0, 0.1)
    assert gone == [1] and told == Drained(10.0, 10, 2.0)
    assert queue.hear(0, 4.0, 0.1)[0] == [2]


def test_a_queue_is_worked_off_as_expected_until_it_is_read():
    queue = QueueLine()
    for number in range(10):
        queue.send(number, 1.0, 0.5, 0.0)
    assert queue.wait(0.5, 2.0) == (3.0, 1.0)
    gone, told = queue.hear(6, 2.0, 0.5)
    assert gone == [0, 1, 2, 3] and told == Drained(4.0, 4, 2.0)
    assert queue.wait(0.5, 3.0) == (2.0, 1.0)


def test_a_queue_that_was_worked_off_slower_than_expected_seems_slower_until_the_next_reading():
    queue = QueueLine()
    for number in range(10):
        queue.send(number, 1.0, 0.5, 0.0)
    queue.hear(9, 3.0, 0.5)
    assert queue.wait(0.5, 3.0) == pytest.approx((22.5, 5.0))
    # Once what was learned says so as well, it is as expected.
    queue.hear(8, 6.0, 3.0)
    assert queue.wait(3.0, 6.0) == (24.0, 1.0)


def test_what_was_sent_since_the_reading_is_added():
    queue = QueueLine()
    queue.send(1, 1.0, 1.0, 0.0)
    queue.send(2, 1.0, 1.0, 1.5)
    gone, told = queue.hear(0, 1.0, 1.0)
    assert gone == [1] and told is None
    assert queue.wait(1.0, 1.5) == (1.0, 1.0)


def test_an_empty_queue_says_only_that_it_is_at_least_so_fast():
    queue = QueueLine()
    queue.send(1, 10.0, 1.0, 0.0)
    assert queue.hear(0, 2.0, 1.0)[1] == Drained(10.0, 1, 2.0)


def test_a_queue_that_stands_still_seems_slow():
    queue = QueueLine()
    for number in range(4):
        queue.send(number, 1.0, 1.0, 0.0)
    queue.hear(4, 5.0, 1.0)
    assert queue.wait(1.0, 5.0) == (20.0, 5.0)


def test_other_senders_are_part_of_the_depth():
    queue = QueueLine()
    queue.send(1, 2.0, 1.0, 0.0)
    queue.hear(3, 0.5, 1.0)
    assert queue.wait(1.0, 0.5) == (6.0, 1.0)


def test_what_never_came_is_taken_out():
    queue = QueueLine()
    queue.send(1, 1.0, 1.0, 0.0)
    assert queue.end(1, 1.0) is None and len(queue) == 0
    assert queue.hear(0, 2.0, 1.0) == ([], None)
    assert queue.wait(1.0, 2.0)[0] == 0.0


@pytest.mark.parametrize("line", [Line(), QueueLine()])
def test_nothing_in_flight_is_no_wait(line):
    assert line.wait(inf, 5.0) == (0.0, 1.0)
