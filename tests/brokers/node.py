"""One private RabbitMQ node on loopback."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.brokers import management, settings
from tests.brokers.certificates import Authority, Certificate
from tests.brokers.epmd import epmd_port
from tests.brokers.installation import ensure
from tests.brokers.ports import free_port
from tests.brokers.probe import answers_amqp, answers_tcp
from tests.brokers.process import Process

# A busy machine of two cores, on which three nodes start at once, needs a good part of it.
PATIENCE = 90.0
TRIES = 5

# What the log says when another process has one of the ports.
PORT_TAKEN = ("eaddrinuse", "dist_port_already_used")

_numbers = itertools.count(1)


class NotStarted(Exception):
    """A node did not come up; the text ends with the last lines of its log."""


class Node:
    """One RabbitMQ node with its data in a folder of its own: `start()` it, or use it as a context manager.

    Its ports and data stay the same from the first start until `stop()`, over any `kill()` and `restart()`.

    Args:
        version: one of `VERSIONS`; the attribute `version` says what it is really, such as 4.3.6.
        plugins: those to enable; one that listens is given a port, which `ports` names.
        tls: whose server certificate to show at `tls_port`, where clients also log in with certificates of it.
        config: lines of rabbitmq.conf, over those that are usual here; the log has to stay at level info or below.
        environment: variables of the server, over those that are usual here.
        name: the Erlang name, of those that `node_name` gives.
    """

    def __init__(
        self,
        version: str,
        *,
        plugins: Sequence[str] = (),
        tls: Authority | None = None,
        config: Mapping[str, object] | None = None,
        environment: Mapping[str, str] | None = None,
        name: str | None = None,
    ) -> None:
        self.installation = ensure(version)
        self.series = version
        self.version = self.installation.version
        self.name = name or node_name()
        self.tls = tls
        self.plugins = tuple(dict.fromkeys((*plugins, *([settings.EXTERNAL_PLUGIN] if tls else []))))
        self.ports: dict[str, int] = {}
        self._config = dict(config or {})
        self._environment = dict(environment or {})
        self._remains = _Remains()
        self._started_once = False
        self._log_begins = 0
        self.stop = weakref.finalize(self, self._remains.end)
        """End it for good, with its data; happens too when this process ends, or nobody holds the node any more."""

    @property
    def amqp_port(self) -> int:
        return self.ports["amqp"]

    @property
    def tls_port(self) -> int:
        return self.ports["tls"]

    @property
    def management_port(self) -> int:
        return self.ports["rabbitmq_management"]

    @property
    def stream_port(self) -> int:
        return self.ports["rabbitmq_stream"]

    @property
    def url(self) -> str:
        return self.url_of("/")

    def url_of(self, vhost: str, user: str = "guest", password: str = "guest") -> str:
        """The address of one vhost."""
        return management.address("amqp", user, password, self.amqp_port, vhost)

    @property
    def tls_url(self) -> str:
        """The address for TLS with a password; the certificates go behind a `?` as `Certificate.query` gives them."""
        return management.address("amqps", "guest", "guest", self.tls_port, "/")

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.running

    @property
    def pid(self) -> int:
        """The server's process."""
        return self._running_process().pid

    @property
    def log(self) -> Path:
        """What it logs, over all its starts."""
        return self._folder / "node.log"

    def start(self) -> Self:
        """Start, and wait until it takes connections; raises NotStarted with the end of its log."""
        self.launch()
        self.wait_ready()
        return self

    def launch(self) -> None:
        """Start without waiting."""
        if self.running:
            raise RuntimeError(f"{self.name} is running already.")
        if not self.ports:
            self.ports = {name: free_port() for name in settings.port_names(self.plugins, tls=self.tls is not None)}
        settings.write(self._folder, self.ports, self.plugins, self._config)
        if self.tls is not None and not (self._folder / "tls").exists():
            settings.write_tls(self._folder, self.tls.server())
        command = self.installation.command(self._folder, f"{self.installation.sbin}/rabbitmq-server")
        self._log_begins = self.log.stat().st_size if self.log.exists() else 0
        self._remains.process = Process(command, self._variables(), self.log)

    def wait_ready(self, timeout: float = PATIENCE) -> None:
        """Until it takes connections; a port that somebody took meanwhile is replaced, on the first start only."""
        for _ in range(TRIES):
            if self._comes_up(timeout):
                self._started_once = True
                return
            if self._started_once or not any(sign in self._said() for sign in PORT_TAKEN):
                break
            self._start_afresh()
        self.kill()
        raise NotStarted(f"RabbitMQ {self.version} ({self.name}) did not start. From its log:\n{_reason(self._said())}")

    def kill(self) -> None:
        """End it at once, as a crash does; its data stays."""
        if self._process is not None:
            self._process.kill()

    def terminate(self) -> None:
        """Ask it to end, and wait: it closes its connections and says why, in up to six seconds; its data stays."""
        if self._process is not None and self._process.running:
            self._process.signal(signal.SIGTERM)
            self._process.wait(PATIENCE)

    def restart(self) -> None:
        """Kill it if it runs, and start it again with the same data and ports."""
        self.kill()
        self.start()

    def pause(self) -> None:
        """Stop the node in its tracks: it answers nothing, and its connections stay."""
        self._running_process().signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused node go on."""
        self._running_process().signal(signal.SIGCONT)

    def ctl(self, *arguments: str) -> str:
        """What `rabbitmqctl` says; takes 0.4 s or more."""
        sbin = self.installation.sbin
        command = self.installation.command(self._folder, f"{sbin}/rabbitmqctl", "-q", "-n", self.name, *arguments)
        done = subprocess.run(
            command,
            env=self._variables(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
        if done.returncode:
            said = done.stderr.strip() or done.stdout.strip()
            raise RuntimeError(f"rabbitmqctl {' '.join(arguments)} on {self.name} failed: {said}")
        return done.stdout.strip()

    def eval(self, expression: str) -> str:
        """The value of an Erlang expression on the node; takes 0.4 s or more."""
        return self.ctl("eval", expression)

    def sync(self) -> None:
        """Have it write down which queues it has.

        RabbitMQ leaves that for a second or two after a queue was declared; a node that is killed before has lost the
        queue, confirmed messages included.
        """
        self.eval("[dets:sync(Table) || Table <- dets:all()].")

    def api(self, method: str, path: str, body: object = None) -> Any:
        """The answer of the management API, whose plugin has to be enabled; `path` is what follows `/api/`."""
        return management.call(self.management_port, method, path, body)

    def alarm(self, on: bool) -> None:
        """Raise the memory alarm, which blocks publishers, or clear it."""
        self.ctl("set_vm_memory_high_watermark", *(["0"] if on else ["absolute", settings.MEMORY_LIMIT]))

    def add_vhost(self, name: str) -> str:
        """A vhost that guest may use; gives its address. Takes 20 ms where management is enabled."""
        if self._managed:
            self.api("PUT", f"vhosts/{management.quoted(name)}", {})
        else:
            self.ctl("add_vhost", name)
            self.ctl("set_permissions", "-p", name, "guest", ".*", ".*", ".*")
        return self.url_of(name)

    def delete_vhost(self, name: str) -> None:
        """Remove a vhost, with all that is in it and all connections to it."""
        if self._managed:
            self.api("DELETE", f"vhosts/{management.quoted(name)}")
        else:
            self.ctl("delete_vhost", name)

    @contextmanager
    def vhost(self) -> Iterator[str]:
        """The address of a fresh vhost, which is removed afterwards."""
        name = f"test-{next(_numbers)}"
        try:
            yield self.add_vhost(name)
        finally:
            if self.running:
                self.delete_vhost(name)

    def add_user(
        self, name: str, password: str, *, vhost: str = "/", configure: str = ".*", write: str = ".*", read: str = ".*"
    ) -> str:
        """A user, and what it may do in one vhost; gives its address there."""
        if self._managed:
            permissions = {"configure": configure, "write": write, "read": read}
            self.api("PUT", f"users/{management.quoted(name)}", {"password": password, "tags": ""})
            self.api("PUT", f"permissions/{management.quoted(vhost)}/{management.quoted(name)}", permissions)
        else:
            self.ctl("add_user", name, password)
            self.ctl("set_permissions", "-p", vhost, name, configure, write, read)
        return self.url_of(vhost, name, password)

    def present(self, certificate: Certificate) -> None:
        """Show another server certificate, and trust its authority, from the next handshake on."""
        settings.write_tls(self._folder, certificate)
        self.eval("ssl:clear_pem_cache().")

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    @property
    def _folder(self) -> Path:
        return self._remains.folder

    @property
    def _process(self) -> Process | None:
        return self._remains.process

    @property
    def _managed(self) -> bool:
        return "rabbitmq_management" in self.plugins

    def _running_process(self) -> Process:
        if self._process is None or not self._process.running:
            raise RuntimeError(f"{self.name} is not running.")
        return self._process

    def _comes_up(self, timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        others = [port for name, port in self.ports.items() if name == "tls" or name in settings.LISTENERS]
        # Another broker may have taken the port, and would answer as well.
        ours = f"started TCP listener on 127.0.0.1:{self.amqp_port}"
        while self.running and time.monotonic() < deadline:
            if answers_amqp(self.amqp_port) and ours in self._said() and all(map(answers_tcp, others)):
                return True
            time.sleep(0.02)
        return False

    def _start_afresh(self) -> None:
        self.kill()
        shutil.rmtree(self._folder)
        self._folder.mkdir(0o700)
        self.ports = {}
        self.launch()

    def _said(self) -> str:
        """What it has logged since its last start."""
        return self.log.read_bytes()[self._log_begins :].decode("utf-8", "replace")

    def _variables(self) -> dict[str, str]:
        usual = settings.environment(self.name, self.ports, epmd_port(self.installation))
        return self.installation.environment({**usual, **self._environment})


class _Remains:
    """What a node leaves behind if nobody ends it."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="warren-rabbitmq-"))
        self.process: Process | None = None
        self._owner = os.getpid()

    def end(self) -> None:
        # A forked child has this object too, and must leave the node alone.
        if self._owner == os.getpid():
            if self.process is not None:
                self.process.kill()
            shutil.rmtree(self.folder, ignore_errors=True)


def _reason(log: str) -> str:
    lines = log.splitlines()
    failed = next((number for number, line in enumerate(lines) if "BOOT FAILED" in line), len(lines))
    return "\n".join(lines[max(failed - 25, 0) : failed + 10])


def node_name() -> str:
    """A name that no other node has: all nodes of a process share one epmd."""
    return f"warren-{os.getpid()}-{next(_numbers)}@localhost"
