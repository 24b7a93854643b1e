"""The simulations behind `benchmarks.retries`."""

import random

import pytest

from benchmarks.retrying import contention, outage


def test_a_client_alone_needs_four_messages_through_the_network_and_one_call():
    result = contention.run(1, contention.full, 0)
    assert result.calls == 1 and 0.02 < result.seconds < 0.06


def test_of_clients_that_never_wait_one_succeeds_in_each_round_trip():
    result = contention.run(20, contention.never, 0)
    assert result.calls > 100 and 20 * 0.02 < result.seconds < 20 * 0.04


def test_equal_seeds_give_equal_runs():
    assert contention.run(30, contention.full, 5) == contention.run(30, contention.full, 5)
    assert contention.run(30, contention.adaptive(2), 5) == contention.run(30, contention.adaptive(2), 5)
    assert outage.run(0.7, outage.Learned(), 5) == outage.run(0.7, outage.Learned(), 5)


@pytest.mark.parametrize("clients", [20, 100, 190])
def test_clients_that_share_a_policy_need_at_most_seven_tenths_of_full_jitters_time_and_calls(clients):
    seeds = range(1000 // clients)
    full = [contention.run(clients, contention.full, seed) for seed in seeds]
    ours = [contention.run(clients, contention.adaptive(), seed) for seed in seeds]
    assert sum(each.seconds for each in ours) <= 0.7 * sum(each.seconds for each in full)
    assert sum(each.calls for each in ours) <= 0.7 * sum(each.calls for each in full)


def test_a_service_recovers_about_as_soon_as_without_retries_and_plain_ones_keep_it_down():
    def recovery(policy):
        return sorted(outage.run(0.7, policy(), seed).recovery for seed in range(5))[2]

    assert recovery(outage.Plain) == outage.END - outage.AGAIN
    assert recovery(outage.Learned) <= 1.25 * recovery(outage.Never)


def test_errors_by_chance_are_retried():
    assert outage.run(0.7, outage.Never(), 0, stops=False).success == pytest.approx(0.98, abs=0.005)
    assert outage.run(0.7, outage.Learned(), 0, stops=False).success >= 0.999


def test_one_policy_for_all_or_one_for_each():
    draw = random.Random(0)
    shared, apart = contention.adaptive(), contention.adaptive(float("inf"))
    assert shared(draw) is shared(draw)
    assert apart(draw) is not apart(draw)
