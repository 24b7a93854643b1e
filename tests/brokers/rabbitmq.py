"""Private RabbitMQ nodes on loopback, for tests, benchmarks and chaos runs"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.brokers import management
from tests.brokers.epmd import epmd_port
from tests.brokers.installation import HOME, VERSIONS, Installation, Unavailable, ensure
from tests.brokers.ports import free_port
from tests.brokers.probe import answers_amqp, answers_tcp
from tests.brokers.process import Process

__all__ = ["VERSIONS", "Installation", "Node", "NotStarted", "Unavailable", "ensure"]

# A busy machine of two cores, on which three nodes start at once, needs a good part of it.
PATIENCE = 90.0
TRIES = 5
MEMORY_LIMIT = "2GiB"

# The setting that names the port of a plugin's own listener, and the one that binds it to loopback where that is apart.
LISTENERS = {
    "rabbitmq_management": ("management.tcp.port", "management.tcp.ip"),
    "rabbitmq_prometheus": ("prometheus.tcp.port", "prometheus.tcp.ip"),
    "rabbitmq_stream": ("stream.listeners.tcp.1", None),
    "rabbitmq_mqtt": ("mqtt.listeners.tcp.1", None),
}

# Four schedulers on two cores would only contend; none of them waits by spinning, so that an idle node costs nothing.
ERLANG = "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}"

_numbers = itertools.count(1)


class NotStarted(Exception):
    """A node did not come up; the text ends with the last lines of its log."""


class Node:
    """One RabbitMQ node with its data in a folder of its own: `start()` it, or use it as a context manager.

    Its ports and data stay the same from the first start until `stop()`, over any `kill()` and `restart()`.
    """

    def __init__(
        self,
        version: str,
        *,
        plugins: Sequence[str] = (),
        config: Mapping[str, object] | None = None,
        environment: Mapping[str, str] | None = None,
        name: str | None = None,
    ) -> None:
        self.installation = ensure(version)
        self.series = version
        self.version = self.installation.version
        self.name = name or node_name()
        self.plugins = tuple(plugins)
        self.ports: dict[str, int] = {}
        self.folder = Path(tempfile.mkdtemp(prefix="warren-rabbitmq-"))
        self._config = dict(config or {})
        self._environment = dict(environment or {})
        self._process: Process | None = None

    @property
    def amqp_port(self) -> int:
        return self.ports["amqp"]

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
    def running(self) -> bool:
        return self._process is not None and self._process.running

    def start(self) -> Self:
        """Start and wait until it takes connections."""
        self.launch()
        self.wait_ready()
        return self

    def launch(self) -> None:
        """Start without waiting."""
        if self.running:
            raise RuntimeError(f"{self.name} is running already.")
        if not self.ports:
            self.ports = {name: free_port() for name in ("amqp", "dist", "ctl", *filter(LISTENERS.get, self.plugins))}
        self._write()
        command = self.installation.command(self.folder, f"{self.installation.sbin}/rabbitmq-server")
        self._process = Process(command, self._variables(), self.log)

    def wait_ready(self, timeout: float = PATIENCE) -> None:
        """Until it takes connections; a port that another process took meanwhile is replaced, on the first start only."""
        for _ in range(TRIES):
            if self._came_up(timeout):
                self._started_once = True
                return
            if self._started_once or "eaddrinuse" not in self.log_text():
                break
            self._forget()
            self.launch()
        text = self.log_text()
        self.kill()
        raise NotStarted(f"RabbitMQ {self.version} ({self.name}) did not start. The end of its log:\n{tail(text)}")

    def kill(self) -> None:
        """End it at once, as a crash does; its data stays."""
        if self._process is not None:
            self._process.kill()

    def terminate(self) -> None:
        """Ask it to end, and wait: it closes its connections and says why, which takes some seconds; its data stays."""
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

    def stop(self) -> None:
        """End it for good, with its data."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def ctl(self, *arguments: str) -> str:
        """What `rabbitmqctl` says; takes 0.4 s or more."""
        command = self.installation.command(
            self.folder, f"{self.installation.sbin}/rabbitmqctl", "-q", "-n", self.name, *arguments
        )
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
            raise RuntimeError(
                f"rabbitmqctl {' '.join(arguments)} on {self.name} failed: {(done.stderr or done.stdout).strip()}"
            )
        return done.stdout.strip()

    def eval(self, expression: str) -> str:
        """The value of an Erlang expression on the node."""
        return self.ctl("eval", expression)

    def api(self, method: str, path: str, body: object = None) -> object:
        """A call of the management API, which the plugin `rabbitmq_management` has to offer; `path` follows `/api/`."""
        return management.call(self.management_port, method, path, body)

    def alarm(self, on: bool) -> None:
        """Raise the memory alarm, which blocks publishers, or clear it."""
        self.ctl("set_vm_memory_high_watermark", *(["0"] if on else ["absolute", MEMORY_LIMIT]))

    def add_vhost(self, name: str) -> str:
        """A vhost that guest may use; gives its address."""
        if "rabbitmq_management" in self.plugins:
            self.api("PUT", f"vhosts/{management.quoted(name)}", {})
        else:
            self.ctl("add_vhost", name)
            self.ctl("set_permissions", "-p", name, "guest", ".*", ".*", ".*")
        return self.url_of(name)

    def delete_vhost(self, name: str) -> None:
        """Remove a vhost, with all that is in it and all connections to it."""
        if "rabbitmq_management" in self.plugins:
            self.api("DELETE", f"vhosts/{management.quoted(name)}")
        else:
            self.ctl("delete_vhost", name)

    def add_user(
        self, name: str, password: str, *, vhost: str = "/", configure: str = ".*", write: str = ".*", read: str = ".*"
    ) -> str:
        """A user and what it may do in one vhost; gives its address there."""
        self.ctl("add_user", name, password)
        self.ctl("set_permissions", "-p", vhost, name, configure, write, read)
        return self.url_of(vhost, name, password)

    @contextmanager
    def vhost(self) -> Iterator[str]:
        """The address of a fresh vhost, which is removed afterwards."""
        name = f"test-{next(_numbers)}"
        yield self.add_vhost(name)
        if self.running:
            self.delete_vhost(name)

    @property
    def log(self) -> Path:
        return self.folder / "node.log"

    def log_text(self) -> str:
        """All that the node has logged since it was made."""
        return self.log.read_text("utf-8", "replace") if self.log.exists() else ""

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    _started_once = False

    def _came_up(self, timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        others = [port for name, port in self.ports.items() if name in LISTENERS]
        while self.running and time.monotonic() < deadline:
            if answers_amqp(self.amqp_port) and all(answers_tcp(port) for port in others):
                return self.running
            time.sleep(0.02)
        return False

    def _forget(self) -> None:
        self.kill()
        shutil.rmtree(self.folder)
        self.folder.mkdir(0o700)
        self.ports = {}

    def _running_process(self) -> Process:
        if self._process is None or not self._process.running:
            raise RuntimeError(f"{self.name} is not running.")
        return self._process

    def _write(self) -> None:
        cookie = self.folder / ".erlang.cookie"
        if not cookie.exists():
            cookie.write_text("warren", "ascii")
            cookie.chmod(0o400)
        (self.folder / "enabled_plugins").write_text(f"[{','.join(self.plugins)}].\n", "ascii")
        lines = (f"{key} = {value}\n" for key, value in {**self._settings(), **self._config}.items())
        (self.folder / "rabbitmq.conf").write_text("".join(lines), "utf-8")
        (self.folder / "advanced.config").write_text("[].\n", "ascii")

    def _settings(self) -> dict[str, object]:
        settings: dict[str, object] = {
            "listeners.tcp.1": f"127.0.0.1:{self.amqp_port}",
            "loopback_users": "none",
            "disk_free_limit.absolute": "50MB",
            "vm_memory_high_watermark.absolute": MEMORY_LIMIT,
            "log.console": "true",
            "log.console.level": "info",
            "log.file": "false",
        }
        for plugin, (port, address) in LISTENERS.items():
            if plugin in self.plugins:
                settings[port] = self.ports[plugin] if address else f"127.0.0.1:{self.ports[plugin]}"
                if address:
                    settings[address] = "127.0.0.1"
        return settings

    def _variables(self) -> dict[str, str]:
        return self.installation.environment(
            {
                "RABBITMQ_NODENAME": self.name,
                "RABBITMQ_DIST_PORT": str(self.ports["dist"]),
                "RABBITMQ_CTL_DIST_PORT_MIN": str(self.ports["ctl"]),
                "RABBITMQ_CTL_DIST_PORT_MAX": str(self.ports["ctl"] + 50),
                "RABBITMQ_MNESIA_BASE": f"{HOME}/data",
                "RABBITMQ_LOG_BASE": f"{HOME}/log",
                "RABBITMQ_GENERATED_CONFIG_DIR": f"{HOME}/generated",
                "RABBITMQ_ENABLED_PLUGINS_FILE": f"{HOME}/enabled_plugins",
                "RABBITMQ_CONFIG_FILE": f"{HOME}/rabbitmq.conf",
                "RABBITMQ_ADVANCED_CONFIG_FILE": f"{HOME}/advanced.config",
                "RABBITMQ_CONF_ENV_FILE": "/dev/null",
                "RABBITMQ_PID_FILE": f"{HOME}/pid",
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": ERLANG,
                # The start script then becomes the server, instead of waiting for it.
                "RUNNING_UNDER_SYSTEMD": "true",
                "ERL_EPMD_PORT": str(epmd_port(self.installation)),
                "ERL_EPMD_ADDRESS": "127.0.0.1",
                "ERL_CRASH_DUMP_SECONDS": "0",
                **self._environment,
            }
        )


def node_name() -> str:
    """A name that no other node has: all nodes of a process share one epmd."""
    return f"warren-{os.getpid()}-{next(_numbers)}@localhost"


def tail(text: str, lines: int = 40) -> str:
    """The last lines."""
    return "\n".join(text.splitlines()[-lines:])
