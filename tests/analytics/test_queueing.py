from __future__ import annotations

import math
import os

import ciw
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from warren.analytics.queueing import Queue, depths, drain_time, erlang_c, servers_for
from warren.core.errors import DataError

# With WARREN_LONG=1 the runs are so long that chance is a percent; without, seeds and loads are such that it is small.
LONG = bool(os.environ.get("WARREN_LONG"))
CUSTOMERS = 600_000 if LONG else 200_000


def gamma(mean: float, cv2: float) -> ciw.dists.Distribution:
    return ciw.dists.Gamma(1 / cv2, mean * cv2) if cv2 else ciw.dists.Deterministic(mean)


def simulated(arrivals: float, servers: int, service_cv2: float, arrival_cv2: float = 1.0, seed: int = 3) -> np.ndarray:
    """How long each customer of a long run waited; services take 1 on average."""
    ciw.seed(seed)
    network = ciw.create_network(
        arrival_distributions=[gamma(1 / arrivals, arrival_cv2)],
        service_distributions=[gamma(1.0, service_cv2)],
        number_of_servers=[servers],
    )
    run = ciw.Simulation(network)
    run.simulate_until_max_customers(CUSTOMERS, method="Finish")
    records = sorted(run.get_all_records(), key=lambda record: record.arrival_date)
    return np.array([record.waiting_time for record in records])[CUSTOMERS // 20 :]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("servers", "load", "service_cv2"), [(1, 0.6, 1.0), (2, 0.6, 0.0), (3, 0.6, 0.5), (4, 0.6, 1.0), (4, 0.6, 2.0)]
)
def test_the_mean_wait_is_that_of_a_long_run(servers: int, load: float, service_cv2: float) -> None:
    told = Queue(load * servers, 1.0, servers, service_cv2=service_cv2)
    waits = simulated(load * servers, servers, service_cv2)
    assert told.mean_wait == pytest.approx(waits.mean(), rel=0.05)
    assert told.waiting == pytest.approx((waits > 0).mean(), rel=0.07)
    assert told.wait(0.95) == pytest.approx(np.quantile(waits, 0.95), rel=0.12)


@pytest.mark.slow
@pytest.mark.parametrize(("arrival_cv2", "service_cv2"), [(0.5, 0.25), (2.0, 0.5)])
def test_arrivals_that_are_not_poisson_are_within_a_seventh(arrival_cv2: float, service_cv2: float) -> None:
    told = Queue(3.2, 1.0, 4, arrival_cv2, service_cv2)
    assert told.mean_wait == pytest.approx(simulated(3.2, 4, service_cv2, arrival_cv2).mean(), rel=0.15)


@pytest.mark.slow
@pytest.mark.parametrize(("arrivals", "target", "service_cv2"), [(5.0, 0.5, 1.0), (8.0, 1.0, 0.5)])
def test_the_servers_for_a_target_are_exact_or_one_too_many(arrivals: float, target: float, service_cv2: float) -> None:
    told = servers_for(arrivals, 1.0, target, 0.95, service_cv2=service_cv2)
    kept = [np.quantile(simulated(arrivals, servers, service_cv2), 0.95) <= target for servers in (told - 2, told)]
    assert kept == [False, True]


def test_erlang_c_is_what_tables_say() -> None:
    # One server waits with the probability of the load; 2 servers at 1 Erlang with 1/3.
    assert erlang_c(1, 0.7) == pytest.approx(0.7)
    assert erlang_c(2, 1.0) == pytest.approx(1 / 3)
    assert erlang_c(3, 0.0) == 0
    assert erlang_c(3, 3.0) == 1
    assert 0 < erlang_c(5000, 4900.0) < 1


def test_one_server_is_exact_for_any_service() -> None:
    # Pollaczek and Khinchine.
    for cv2 in (0.0, 0.5, 1.0, 3.0):
        assert Queue(0.8, 1.0, 1, service_cv2=cv2).mean_wait == pytest.approx(0.8 / 0.2 * (1 + cv2) / 2)


def test_the_latency_of_one_server_is_exponential() -> None:
    queue = Queue(0.8, 1.0, 1)
    assert queue.latency(0.95) == pytest.approx(math.log(20) / 0.2, rel=0.01)
    assert queue.mean_latency == pytest.approx(5.0)


@given(
    st.floats(0.01, 200),
    st.floats(0.001, 5),
    st.floats(0, 4),
    st.floats(0, 4),
    st.floats(0.0, 2),
    st.sampled_from([None, 0.9, 0.99]),
)
def test_the_servers_for_a_target_are_the_fewest(
    arrivals: float, service: float, a: float, s: float, target: float, quantile: float | None
) -> None:
    told = servers_for(arrivals, service, target, quantile, arrival_cv2=a, service_cv2=s)

    def wait(servers: int) -> float:
        queue = Queue(arrivals, service, servers, a, s)
        return queue.mean_wait if quantile is None else queue.wait(quantile)

    assert wait(told) <= target
    assert told == 1 or wait(told - 1) > target


def test_no_target_is_kept_by_services_that_take_longer() -> None:
    with pytest.raises(DataError, match="the service alone takes 1 s"):
        servers_for(5.0, 1.0, 0.5, of="latency")
    assert servers_for(5.0, 1.0, 4.0, of="latency") <= servers_for(5.0, 1.0, 3.2, of="latency")


def test_where_nothing_arrives_nobody_waits() -> None:
    queue = Queue(0.0, 1.0, 2)
    assert (queue.mean_wait, queue.mean_depth, queue.wait(0.99), queue.utilisation) == (0, 0, 0, 0)


def test_where_too_much_arrives_the_wait_has_no_end() -> None:
    queue = Queue(2.0, 1.0, 2)
    assert (queue.mean_wait, queue.wait(0.5), queue.latency(0.5)) == (math.inf,) * 3


@pytest.mark.parametrize(
    "numbers",
    [
        (-1, 1, 1),
        (1, 0, 1),
        (1, 1, 0),
        (1, 1, 1.5),
        (math.nan, 1, 1),
        (1, math.inf, 1),
        (1, 1, True),
        (1, 1, 1, -1),
        (1, 1, 10**7),
    ],
)
def test_numbers_that_make_no_queue_are_refused(numbers: tuple) -> None:
    with pytest.raises(DataError, match="Queue"):
        Queue(*numbers)
    with pytest.raises(DataError, match="quantile"):
        Queue(1, 1, 2).wait(1.0)


def test_a_long_lull_ends_what_was_busy() -> None:
    told = depths([0.02] * 4 + [0.0] * 500 + [0.02], every=900, service=120.0, servers=3)
    assert told.depth[503] == told.wait[503] == told.utilisation[503] == 0
    assert told.depth[504] > 0


def test_depths_are_those_of_the_steady_state_where_there_is_one() -> None:
    told = depths([8.0] * 5, every=3600, service=1.0, servers=10)
    assert told.depth[-1] == pytest.approx(Queue(8.0, 1.0, 10).mean_depth, rel=0.01)
    assert told.wait[-1] == pytest.approx(Queue(8.0, 1.0, 10).mean_wait, rel=0.01)
    assert told.utilisation[-1] == pytest.approx(0.8, rel=1e-3)


def test_a_backlog_grows_and_drains_as_a_fluid() -> None:
    told = depths([20.0, 20.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0], every=600, service=1.0, servers=10)
    np.testing.assert_allclose(told.depth[:4], [6000, 12000, 9000, 6000], rtol=0.01)
    assert told.wait[1] == pytest.approx(1200, rel=0.01)
    assert told.depth[-1] < 30
    assert drain_time(12_000, [5.0] * 6, 600, 1.0, 10) == 2400
    # More consumers from some span on.
    assert depths([20.0, 20.0], 600, 1.0, [10, 40]).depth[1] < 30


@pytest.mark.slow
def test_a_queue_that_changes_is_as_simulated() -> None:
    """Half an hour of overload, then less: the mean of many runs."""
    rates, every = [8.0, 11.0, 8.0, 6.0], 600.0
    at_end = np.zeros(len(rates))
    runs = 400 if LONG else 60
    for seed in range(runs):
        draw = np.random.default_rng(seed)
        times = np.concatenate(
            [each * every + np.sort(draw.uniform(0, every, draw.poisson(r * every))) for each, r in enumerate(rates)]
        )
        free = np.zeros(10)
        begun = np.empty(len(times))
        for each, (time, length) in enumerate(zip(times, draw.exponential(1.0, len(times)), strict=True)):
            first = free.argmin()
            begun[each] = max(time, free[first])
            free[first] = begun[each] + length
        ends = (np.arange(len(rates)) + 1) * every
        at_end += [((times <= end) & (begun > end)).sum() for end in ends]
    told = depths(rates, every, 1.0, 10).depth
    assert told[1] == pytest.approx(at_end[1] / runs, rel=0.1)
    assert told[2] == pytest.approx(at_end[2] / runs, abs=30)
    assert told[3] == pytest.approx(at_end[3] / runs, abs=1.5)


def test_draining() -> None:
    assert drain_time(0, 5.0, 60, 1.0, 10) == 0
    assert drain_time(100, 10.0, 60, 1.0, 10) == math.inf
    assert drain_time(1e6, [5.0, 5.0], 60, 1.0, 10) == math.inf
    assert drain_time(0, [50.0], 60, 1.0, 10) == 0
    with pytest.raises(DataError, match="fill the gaps"):
        drain_time(5, [math.nan], 60, 1.0, 10)
    with pytest.raises(DataError, match="backlog=-1"):
        drain_time(-1, 5.0, 60, 1.0, 10)
    with pytest.raises(DataError, match="fill the gaps"):
        depths([1.0, math.nan], 60, 1.0, 2)
    with pytest.raises(DataError, match="every=0"):
        depths([1.0], 0, 1.0, 2)
