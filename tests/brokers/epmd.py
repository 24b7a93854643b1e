"""The port mapper that Erlang nodes find each other by: one for all nodes of this process, on a port of its own."""

from __future__ import annotations

import atexit
import os
import tempfile
import threading
import time
from pathlib import Path

from tests.brokers.installation import Installation
from tests.brokers.ports import free_port
from tests.brokers.probe import answers_tcp
from tests.brokers.process import Process

PATIENCE = 20.0

_lock = threading.Lock()
_current: tuple[Process, int] | None = None


def epmd_port(installation: Installation) -> int:
    """Its port; starts it first where that is needed."""
    global _current
    with _lock:
        if _current is None or not _current[0].running:
            _current = _start(installation)
        return _current[1]


def _start(installation: Installation) -> tuple[Process, int]:
    deadline = time.monotonic() + PATIENCE
    with tempfile.TemporaryDirectory(prefix="warren-epmd-") as folder:
        log = Path(folder, "log")
        while time.monotonic() < deadline:
            port = free_port()
            command = installation.command(Path(folder), "epmd", "-port", str(port), "-address", "127.0.0.1")
            process = Process(command, installation.environment({}), log)
            while process.running and time.monotonic() < deadline:
                if answers_tcp(port):
                    atexit.register(_end, process, os.getpid())
                    return process, port
                time.sleep(0.01)
            process.kill()
        raise RuntimeError(f"epmd did not start: {log.read_text('utf-8', 'replace')}")


def _end(process: Process, owner: int) -> None:
    # A forked child of this process has it too, and must leave it alone.
    if owner == os.getpid():
        process.kill()
