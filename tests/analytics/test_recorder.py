from __future__ import annotations

import gc
import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.analytics.feeding import NOW, feed
from warren.analytics import Flows, Recorder, columns
from warren.analytics.rolling import Rolling
from warren.core.atomic import PREFIX
from warren.core.errors import GraphError, StorageError
from warren.core.hooks import FlowObserver
from warren.core.message import Batch
from warren.core.receipt import DELIVERED, Ledger

ROOT = Path(__file__).resolve().parents[2]


def opened(folder: Path, **options: Any) -> Recorder:
    recorder = Recorder(folder, **options)
    recorder.open("p")
    return recorder


def rows(folder: Path, table: str = "trips") -> int:
    return int(getattr(Flows(folder), table).collect().height)


def until(condition: Callable[[], object], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        pause.wait(0.01)


def run(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_it_is_an_observer() -> None:
    assert isinstance(Recorder("flows"), FlowObserver)


def test_close_writes_everything_and_may_be_called_again(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    recorder = opened(tmp_path / "made" / "here")
    feed(recorder, 2500)
    recorder.close()
    recorder.close()
    assert (rows(recorder.folder), rows(recorder.folder, "stages")) == (2500, 3)
    assert recorder.problem is None and recorder.lost == 0
    assert set(threading.enumerate()) <= before


def test_a_recorder_that_was_never_opened_closes(tmp_path: Path) -> None:
    Recorder(tmp_path).close()
    assert list(tmp_path.iterdir()) == []


def test_it_can_record_one_run_after_another(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    for name in ("first", "second"):
        recorder.open(name)
        feed(recorder, 10)
        recorder.close()
    assert Flows(tmp_path).summary()["pipeline"].to_list() == ["first", "second"]


def test_two_running_pipelines_cannot_share_one(tmp_path: Path) -> None:
    recorder = opened(tmp_path)
    with pytest.raises(GraphError, match="recording the running pipeline 'p'"):
        recorder.open("q")
    recorder.close()  # what the refused pipeline calls as it ends
    feed(recorder, 5)
    recorder.close()
    assert rows(tmp_path) == 5


@pytest.mark.parametrize("option", ["roll_rows", "backlog"])
def test_limits_must_be_positive(option: str) -> None:
    with pytest.raises(GraphError, match=option):
        Recorder("flows", **{option: 0})


def test_full_files_roll(tmp_path: Path) -> None:
    recorder = opened(tmp_path, roll_rows=1000)
    for _ in range(5):
        feed(recorder, 1000)
        recorder._convert()
    recorder.close()
    assert len(list((tmp_path / "trips").rglob("*.parquet"))) == 5
    assert rows(tmp_path) == 5000


def test_old_files_roll_by_themselves_and_are_read_meanwhile(tmp_path: Path) -> None:
    recorder = opened(tmp_path, roll_seconds="50ms")
    feed(recorder, 10)
    until(lambda: rows(tmp_path) == 10)
    feed(recorder, 5)
    until(lambda: rows(tmp_path) == 15)
    recorder.close()
    assert rows(tmp_path) == 15


def test_recorders_share_a_folder(tmp_path: Path) -> None:
    recorders = [opened(tmp_path, roll_rows=700, backlog=500) for _ in range(3)]
    threads = [threading.Thread(target=feed, args=(recorder, 5000, 100)) for recorder in recorders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for recorder in recorders:
        recorder.close()
        assert recorder.problem is None
    assert (rows(tmp_path), rows(tmp_path, "stages")) == (15_000, 150)


def test_the_bodies_of_settled_messages_are_let_go() -> None:
    class Bodies(list[bytes]):
        pass

    recorder = Recorder("flows")
    ledger = Ledger(lambda delivery, tokens, outcome: recorder.settled(delivery, tokens, outcome, NOW))
    bodies = Bodies([b"a", b"b"])
    seen = weakref.ref(bodies)
    delivery = ledger.accept("s", Batch(bodies, range(2)), NOW)
    del bodies
    ledger.settle(delivery.tokens[:1], DELIVERED)
    assert seen() is not None
    ledger.settle(delivery.tokens[1:], DELIVERED)
    del delivery
    gc.collect()
    assert seen() is None and not recorder._partly


def test_beyond_the_limit_the_caller_makes_the_columns(tmp_path: Path) -> None:
    recorder = opened(tmp_path, backlog=1000, roll_rows=10**9)
    most = 0
    with recorder._writing:  # the thread cannot write, and so cannot go on
        for _ in range(30):
            feed(recorder, 100)
            most = max(most, recorder._noted - recorder._converted)
    recorder.close()
    assert most <= 1000
    assert rows(tmp_path) == 3000 and recorder.problem is None


def test_a_disk_that_hangs_costs_rows_and_a_second_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("warren.analytics.recorder._PATIENCE", 0.01)
    recorder = opened(tmp_path, backlog=1000)
    with recorder._writing:
        feed(recorder, 20_000)
        assert recorder._waiting <= 5000
    recorder.close()
    assert recorder.lost > 0
    assert rows(tmp_path) + rows(tmp_path, "stages") + recorder.lost == 20_020
    assert recorder.problem is not None and "more slowly than rows come in" in recorder.problem
    assert str(recorder.lost) in caplog.text


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"the flows of pipeline 'p' cannot be recorded in .*file.* that can be written"):
        opened(tmp_path / "file")


@pytest.mark.skipif(os.name != "posix", reason="needs file modes")
def test_a_read_only_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**options: Any) -> None:
        raise PermissionError(13, "Permission denied", str(options["dir"]))

    # The file system lets root write anywhere, so the refusal itself is played.
    monkeypatch.setattr("warren.analytics.recorder.tempfile.TemporaryFile", refuse)
    with pytest.raises(StorageError, match="Permission denied"):
        opened(tmp_path)


def test_a_failing_write_is_counted_and_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = opened(tmp_path)
    feed(recorder, 10)
    with monkeypatch.context() as patched:
        patched.setattr(Rolling, "roll", lambda table: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        recorder.flush()
        feed(recorder, 20)
        recorder.flush()
    assert recorder.lost == 10 + 1 + 20 + 1
    assert recorder.problem is not None and "No space left on device" in recorder.problem
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    feed(recorder, 7)
    recorder.close()
    assert rows(tmp_path) == 7


def test_what_cannot_be_made_into_columns_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = opened(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(columns, "trips", lambda *args: 1 / 0)
        feed(recorder, 10)
        recorder.flush()
    feed(recorder, 3)
    recorder.close()
    assert (recorder.lost, rows(tmp_path)) == (10, 3)


def test_only_old_unfinished_files_are_removed(tmp_path: Path) -> None:
    opened(tmp_path).close()
    old, new = (tmp_path / "trips" / f"{PREFIX}{name}.parquet" for name in ("old", "new"))
    for file in (old, new):
        file.write_bytes(b"half")
    os.utime(old, (0, 0))
    opened(tmp_path).close()
    assert (old.exists(), new.exists()) == (False, True)
    assert rows(tmp_path) == 0


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_a_killed_process_leaves_whole_files(tmp_path: Path) -> None:
    code = """
        import sys
        from tests.analytics.feeding import feed
        from warren.analytics import Recorder

        recorder = Recorder(sys.argv[1], roll_rows=200, backlog=300)
        recorder.open("p")
        print("ready", flush=True)
        while True:
            feed(recorder, 100)
    """
    process = run(code, tmp_path)
    try:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        until(lambda: len(list((tmp_path / "trips").rglob("[!.]*.parquet"))) > 5)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert rows(tmp_path) >= 1000
    assert rows(tmp_path) % 100 == 0


@pytest.mark.skipif(os.name != "posix", reason="needs resource limits")
def test_a_full_disk_does_not_stop_the_pipeline(tmp_path: Path) -> None:
    code = """
        import os, random, resource, sys
        from warren import Pipeline
        from warren.analytics import Recorder
        from warren.connectors import memory

        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        out = []
        values = [os.urandom(random.randint(1, 300)) for _ in range(20_000)]
        recorder = Recorder(sys.argv[1])
        Pipeline("p", memory.items(values) | memory.into(out), observers=[recorder]).run()
        print(len(out), recorder.lost >= 20_000, recorder.problem)
    """
    out, errors = run(code, tmp_path).communicate()
    assert out.startswith("20000 True"), errors
    assert "File too large" in out and "File too large" in errors
    assert list((tmp_path / "trips").rglob("*.parquet")) == []


def test_recording_does_not_load_pandas(tmp_path: Path) -> None:
    code = """
        import sys
        from tests.analytics.feeding import feed
        from warren.analytics import Recorder

        recorder = Recorder(sys.argv[1])
        recorder.open("p")
        feed(recorder, 10)
        recorder.close()
        print("pandas" in sys.modules, recorder.problem)
    """
    out, errors = run(code, tmp_path).communicate()
    assert out == "False None\n", errors
