from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from warren.operators.processes import Processes

START = """
import asyncio, functools, operator, os, signal, time
from pathlib import Path
from warren import Pipeline
from warren.connectors import memory
from warren.operators import map

seen = []

def pipeline(*values, shutdown="30s"):
    step = map(operator.call, executor="process", workers=1)
    return Pipeline("p", memory.items(values) | step | memory.into(seen), shutdown=shutdown)
"""


def start(program: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    command = [sys.executable, "-c", START + program]
    return subprocess.Popen(command, env=environment, text=True, start_new_session=True, **pipes)  # type: ignore[call-overload]


def gone(process: int) -> bool:
    """Whether a process ends soon; one that nobody waited for has ended too."""
    for _ in range(400):
        try:
            if Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
            os.kill(process, 0)
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.02)
    return False


def test_they_call_functions_and_end() -> None:
    pool = Processes(1)
    assert pool.submit(abs, -3).result(60) == 3
    worker = pool.submit(os.getpid).result(60)
    pool.shutdown()
    pool.shutdown(wait=False)
    assert gone(worker)


@pytest.mark.parametrize("deaf", [0, 1], ids=["it ends when told to", "only force ends it"])
def test_a_call_that_never_returns_does_not_keep_the_program_alive(deaf: int) -> None:
    program = f"""
deaf = functools.partial(signal.pthread_sigmask, signal.SIG_BLOCK, [signal.SIGTERM])
hang = functools.partial(time.sleep, 3600)

async def main():
    running = pipeline(os.getpid, *[deaf] * {deaf}, hang, shutdown="10ms").start()
    while len(seen) <= {deaf}:
        await asyncio.sleep(0.01)
    running.stop()
    try:
        await running
    except Exception as error:
        print(seen[0], type(error).__name__)

asyncio.run(main())
"""
    process = start(program)
    out, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    worker, error = out.split()
    assert error == "ShutdownError"
    assert gone(int(worker))


def test_an_interrupt_from_the_terminal_lets_calls_come_to_their_end() -> None:
    program = """
say = functools.partial(print, "working", flush=True)
pipeline(say, functools.partial(time.sleep, 1.5), *[functools.partial(abs, -1)] * 3).run()
print(seen)
"""
    process = start(program)
    assert process.stdout is not None
    assert process.stdout.readline() == "working\n"
    os.killpg(process.pid, signal.SIGINT)
    out, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    assert out == "[None, None, 1, 1, 1]\n"


def test_they_do_not_outlive_a_program_that_is_killed() -> None:
    program = """
pipeline(functools.partial(exec, "import os; print(os.getpid(), flush=True)"), functools.partial(time.sleep, 3600)).run()
"""
    process = start(program)
    assert process.stdout is not None
    worker = int(process.stdout.readline())
    process.kill()
    process.communicate(timeout=60)
    assert gone(worker)
