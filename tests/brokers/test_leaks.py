"""Nothing that the tests start outlives them, however they end."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.house.tree import ROOT

PATIENCE = 60.0

RUN = """
import time
from tests.brokers import epmd
from tests.brokers.rabbitmq import Node
node = Node({version!r}).start()
{then}
print(node.pid, epmd._current[0].pid, node.log.parent, flush=True)
time.sleep(1000)
"""


@pytest.mark.parametrize(("end", "then"), [(signal.SIGKILL, "node.pause()"), (signal.SIGINT, "")])
def test_a_run_that_ends_takes_all_with_it(rabbitmq_version: str, end: signal.Signals, then: str) -> None:
    program = [sys.executable, "-c", RUN.format(version=rabbitmq_version, then=then)]
    run = subprocess.Popen(program, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    with run:
        assert run.stdout is not None
        *pids, folder = run.stdout.readline().split()
        assert len(pids) == 2 and all(map(lives, pids))
        run.send_signal(end)
        run.wait(PATIENCE)
    deadline = time.monotonic() + PATIENCE
    while any(map(lives, pids)):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    # After SIGKILL nobody is left to remove it.
    assert Path(folder).exists() == (end == signal.SIGKILL)


def lives(pid: str) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text("utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False
