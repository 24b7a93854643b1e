"""A server process that never outlives this one, however this one ends."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

# The pipe closes when this process ends, whatever ended it; what waits on it then kills the server's whole group.
# `exec` keeps the group's leader the namespace's parent, whose own end takes the namespace with it.
GUARDED = 'exec 3<&0 < /dev/null; { cat <&3; kill -KILL 0; } > /dev/null 2>&1 & exec "$@" 3<&-'


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

    @property
    def running(self) -> bool:
        return self._outer.poll() is None

    @property
    def pid(self) -> int:
        """The server itself: the first process in its namespace."""
        for child in _children(self._outer.pid):
            if _leads_a_namespace(child):
                return child
        raise ProcessLookupError(f"The process {self._outer.args!r} has ended, or not begun.")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the server itself."""
        os.kill(self.pid, number)

    def wait(self, timeout: float | None = None) -> None:
        """Until it has ended, by itself or by a signal."""
        self._outer.wait(timeout)
        if self._outer.stdin is not None:
            self._outer.stdin.close()

    def kill(self) -> None:
        """End it at once, with all that it started; returns when its ports are free."""
        if self.running:
            try:
                # The first process of a namespace is reaped only after all others in it, so its end is theirs.
                self.signal(signal.SIGKILL)
                self._outer.wait(5.0)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                if self.running:
                    os.killpg(self._outer.pid, signal.SIGKILL)
        self.wait()


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def _leads_a_namespace(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/status").read_text("utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False
    ids = next((line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:")), [])
    return len(ids) > 1 and ids[-1] == "1"
