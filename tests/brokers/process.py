"""A server process that never outlives this one, however this one ends."""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import weakref
from collections.abc import Sequence
from pathlib import Path

# The pipe closes when this process ends, whatever ended it; what waits on it then kills the server's whole group.
# `exec` keeps the group's leader the namespace's parent, whose own end takes the namespace with it.
GUARDED = 'exec 3<&0 < /dev/null; { cat <&3; kill -KILL 0; } > /dev/null 2>&1 & exec "$@" 3<&-'

_running: weakref.WeakSet[Process] = weakref.WeakSet()


class Process:
    """A command run in namespaces of its own; all that it started ends with it."""

    def __init__(self, command: Sequence[str], environment: dict[str, str], log: Path) -> None:
        with log.open("ab") as output:
            self._outer = subprocess.Popen(
                ["sh", "-c", GUARDED, "guard", *command],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._owner = os.getpid()
        _running.add(self)

    @property
    def running(self) -> bool:
        return self._outer.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the server itself: the first process in its namespace."""
        for pid in self._inner():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue

    def wait(self, timeout: float | None = None) -> None:
        """Until it has ended, by itself or by a signal."""
        self._outer.wait(timeout)
        self._close()

    def kill(self) -> None:
        """End it at once, with all that it started; returns when its ports are free."""
        if self.running:
            # The first process of a namespace is reaped only after all others in it, so its end is theirs.
            self.signal(signal.SIGKILL)
            try:
                self._outer.wait(2.0)
            except subprocess.TimeoutExpired:
                os.killpg(self._outer.pid, signal.SIGKILL)
        self.wait()

    def _close(self) -> None:
        _running.discard(self)
        if self._outer.stdin is not None:
            self._outer.stdin.close()

    def _inner(self) -> list[int]:
        outer = self._outer.pid
        try:
            children = Path(f"/proc/{outer}/task/{outer}/children").read_text("ascii").split()
        except FileNotFoundError:
            return []
        return [int(child) for child in children if _leads_a_namespace(child)]

    def _abandon(self) -> None:
        # A forked child of this process has the object too, and must leave the server alone.
        if self._owner == os.getpid():
            self.kill()


def _leads_a_namespace(pid: str) -> bool:
    try:
        status = Path(f"/proc/{pid}/status").read_text("utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False
    ids = next((line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:")), [])
    return len(ids) > 1 and ids[-1] == "1"


@atexit.register
def _kill_all() -> None:
    for process in list(_running):
        process._abandon()
