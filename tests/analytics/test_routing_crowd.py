import numpy as np
import pytest

from benchmarks.routing_model.ours import Ours
from benchmarks.routing_model.plant import build, simulate
from benchmarks.routing_model.trace import synthetic
from warren.analytics.routing.crowd import Crowd, SharedLine
from warren.analytics.routing.lines import Line


def lines(count=2):
    """Lines that have been read once, and their crowd."""
    made = [Line() for _ in range(count)]
    crowd = Crowd(made)
    for place in range(count):
        crowd.hear(place, 0.0, 0.0)
    return made, crowd


def hear(crowd, depths, at):
    for place, depth in enumerate(depths):
        crowd.hear(place, depth, at)


def crowded():
    """Two lines, four times as full as this sender knows; it has three messages in the first and one in the second."""
    made, crowd = lines()
    for number, line in enumerate((made[0], made[0], made[0], made[1])):
        line.send(number, 1.0, 1.0, 1.0)
    hear(crowd, [12.0, 4.0], 2.0)
    hear(crowd, [12.0, 4.0], 2.5)
    assert crowd.times == 4.0 and crowd.work == 1.0
    return made, crowd


def test_a_sender_that_is_alone_goes_by_what_it_sent():
    made, crowd = lines()
    alone = Line()
    for number in range(3):
        for line in (made[0], alone):
            line.send(number, 2.0, 1.0, 1.0)
    made[1].send(9, 1.0, 1.0, 1.0)
    for at in (2.0, 3.0, 4.0):
        hear(crowd, [3.0, 1.0], at)
        assert crowd.times == 1.0 and made[0].wait(1.0, at) == alone.wait(1.0, at)
    assert made[0].end(0, 5.0) == alone.end(0, 5.0) == 4.0


def test_what_others_sent_is_ahead_as_well():
    made, _ = crowded()
    assert made[0].wait(0.1, 2.5)[0] == pytest.approx(1.2) and made[1].wait(1.0, 2.5)[0] == 4.0


def test_others_are_thought_to_do_as_one_does_since_the_reading():
    made, _ = crowded()
    made[1].send(5, 1.0, 1.0, 2.6)
    assert made[1].wait(1.0, 2.6)[0] == 8.0
    made[1].end(3, 2.7)
    made[1].end(5, 2.8)
    assert made[1].wait(1.0, 2.8)[0] == 0.0


def test_of_a_message_that_ends_what_was_ahead_of_it_does_not_count():
    made, _ = crowded()
    made[1].send(5, 1.0, 1.0, 3.0)
    assert made[1].end(5, 6.0) == pytest.approx(3.0 * 1.0 / (1.0 + 4.0))
    assert made[1].end(3, 6.0) == 5.0 and made[1].end(3, 6.0) is None


def test_readings_are_of_a_time_before_they_are_told():
    made, crowd = crowded()
    made[1].send(5, 1.0, 1.0, 4.0)
    hear(crowd, [12.0, 4.0], 3.0)
    assert made[1].wait(1.0, 4.0)[0] == 8.0


def test_readings_that_come_no_more_are_forgotten():
    made, _ = crowded()
    alone = Line()
    alone.send(3, 1.0, 1.0, 1.0)
    assert made[1].wait(1.0, 12.4) != alone.wait(1.0, 12.4)
    assert made[1].wait(1.0, 12.6) == alone.wait(1.0, 12.6)


def test_what_was_sent_before_the_first_reading_counts():
    made = [Line()]
    made[0].send(1, 1.0, 1.0, 0.0)
    crowd = Crowd(made)
    for at in (1.0, 2.0, 3.0):
        crowd.hear(0, 1.0, at)
    assert isinstance(made[0], SharedLine) and crowd.times == 1.0
    assert made[0].end(1, 4.0) == 4.0


def test_messages_that_share_a_decision_are_counted():
    made, crowd = lines(1)
    made[0].send(1, 20.0, 1.0, 1.0, 20)
    made[0].more(1, 10.0, 10, 1.0)
    for at in (2.0, 3.0):
        hear(crowd, [30.0], at)
    assert crowd.times == 1.0 and crowd.work == 1.0
    made[0].end(1, 4.0)
    hear(crowd, [0.0], 5.0)
    hear(crowd, [0.0], 6.0)
    assert crowd.times == 1.0


class Deaf(Ours):
    def reading(self, *_):
        pass


def test_four_routers_do_better_where_they_are_told_how_much_is_there():
    trace = synthetic().part(0.5, 1.0, 10.0)
    ends = {}
    for kind in (Ours, Deaf):
        for seed in (4, 5):
            plant = build(trace, 0.9, seed)
            ends[kind, seed] = np.percentile(simulate(plant, [kind(plant, i) for i in range(4)]), 99)
    assert ends[Ours, 4] * ends[Ours, 5] < 0.8 * ends[Deaf, 4] * ends[Deaf, 5]
