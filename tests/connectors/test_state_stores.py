"""What every place for state must do, in a file or in memory."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warren.connectors import memory
from warren.connectors.sqlite.state import StateFile
from warren.core.errors import StateError
from warren.core.state import Change, StateStore

KINDS: dict[str, Callable[[Path], StateStore]] = {
    "file": lambda folder: StateFile(folder / "orders.state"),
    "memory": lambda folder: memory.state(),
}


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> StateStore:
    return KINDS[request.param](tmp_path)


def test_one_run_has_it_at_a_time(store: StateStore) -> None:
    store.open("orders")
    with pytest.raises(StateError, match=r"is in use by another run.*; end that one first"):
        store.open("orders")
    store.close()
    store.close()
    with pytest.raises(StateError, match="is closed"):
        store.commit([])
    store.open("orders")
    store.close()


def test_the_state_of_another_pipeline(store: StateStore) -> None:
    store.open("orders")
    store.commit([Change("1:scan", 1, [], {}, ["a"], 0)])
    store.close()
    with pytest.raises(StateError, match=r"is of pipeline 'orders', not of 'payments'; give each pipeline its own"):
        store.open("payments")
    assert "1:scan" in store.open("orders")
    store.close()


def test_what_was_read_is_no_part_of_what_is_kept(store: StateStore) -> None:
    store.open("orders")
    store.commit([Change("1:scan", 1, [], {(b"k", 0): b"v"}, ["a"], 0)])
    store.close()
    for _ in range(2):
        kept = store.open("orders")["1:scan"][1]
        store.close()
        assert kept == ({(b"k", 0): b"v"}, [["a"]])
        kept.rows.clear()
        kept.counted[0].clear()


keys = st.sampled_from([b"a", b"b", b"c"])
changes = st.builds(
    Change,
    st.sampled_from(["1:scan", "2:window"]),
    st.integers(1, 3),
    st.lists(keys, max_size=2, unique=True),
    st.dictionaries(st.tuples(keys, st.integers(-1, 2)), st.binary(max_size=2), max_size=4),
    st.lists(st.sampled_from("xyz"), max_size=2),
    st.integers(0, 2),
)


@given(st.lists(st.lists(changes, max_size=2, unique_by=lambda change: change.step), max_size=6))
def test_memory_keeps_what_a_file_keeps(checkpoints: list[list[Change]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        stores = [make(Path(folder)) for make in KINDS.values()]
        for store in stores:
            store.open("orders")
            for each in checkpoints:
                store.commit(each)
            store.close()
        file, other = (store.open("orders") for store in stores)
        assert file == other
        for store in stores:
            store.close()
