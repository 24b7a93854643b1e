"""RabbitMQ as Debian packages it, unpacked into a folder of our own and run there by chroot."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SUITES = {"3.10": "bookworm", "4.0": "trixie", "4.3": "forky"}
VERSIONS = tuple(SUITES)

# Where a process in the chroot finds its own folder.
HOME = "/node"

# Runs inside the new namespaces: shows the process its folder and devices, then becomes it.
ENTER = f"""
root=$1 home=$2; shift 2
mount --bind "$home" "$root{HOME}" && mount --rbind /dev "$root/dev" && mount -t proc proc "$root/proc" || exit 71
exec chroot "$root" "$@"
"""


class Unavailable(Exception):
    """No RabbitMQ can be had here; the text says why and what to do."""

    def __init__(self, reason: str, *, gone: bool = False) -> None:
        super().__init__(reason)
        self.gone = gone
        """Whether the packages have left Debian, so that no machine could have them."""


@dataclass(frozen=True)
class Installation:
    """One unpacked version; `version` is what it is really, such as 4.3.6."""

    series: str
    version: str
    root: Path

    @property
    def sbin(self) -> str:
        """The folder of its commands, as seen inside the chroot."""
        return f"/usr/lib/rabbitmq/lib/rabbitmq_server-{self.version}/sbin"

    def command(self, home: Path, *arguments: str) -> list[str]:
        """The command line that runs `arguments` in the chroot, with `home` as its folder; all ends with it."""
        return inside(self.root, home, *arguments)

    def environment(self, extra: Mapping[str, str]) -> dict[str, str]:
        """Nothing of the caller's environment but what is named."""
        return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": HOME, **extra}


def cache_folder() -> Path:
    """Where unpacked versions are kept between runs."""
    return Path(os.environ.get("WARREN_CACHE") or Path.home() / ".cache" / "warren")


@cache
def ensure(series: str) -> Installation:
    """The installation of a version such as "4.0", unpacked where that has not been done; or raises Unavailable."""
    if series not in SUITES:
        raise ValueError(f"No RabbitMQ {series!r} is known here; choose one of {', '.join(VERSIONS)}.")
    _may_chroot()
    root = unpacked(f"RabbitMQ {series}", SUITES[series], f"rabbitmq-server={series}.")
    (found,) = root.glob("usr/lib/rabbitmq/lib/rabbitmq_server-*")
    return Installation(series, found.name.removeprefix("rabbitmq_server-"), root)


def inside(root: Path, home: Path, *arguments: str) -> list[str]:
    """The command line that runs `arguments` in the chroot, with `home` as its folder; all ends with it."""
    return [*_namespaces(), "sh", "-c", ENTER, "enter", str(root), str(home), *arguments]


def unpacked(what: str, suite: str, *packages: str) -> Path:
    """The folder with Debian's packages and all that they need, unpacked where that has not been done."""
    root = cache_folder() / f"{packages[0].partition('=')[0].removesuffix('-server')}-{suite}"
    if root.is_dir():
        return root
    if missing := [name for name in ("apt-get", "dpkg-deb", "flock") if shutil.which(name) is None]:
        raise Unavailable(f"{what} is unpacked from Debian's packages, and there is no {missing[0]} here. {_REMEDY}")
    script = Path(__file__).with_name("debian_root.sh")
    done = subprocess.run(
        [str(script), suite, str(root), *packages],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = done.stderr.strip() or done.stdout.strip()
        raise Unavailable(
            f"{what} could not be unpacked from Debian's suite '{suite}': {said} {_REMEDY}", gone=done.returncode == 3
        )
    return root


_REMEDY = (
    "Run the tests as root on Debian, or start a broker yourself, for example with "
    "`docker run --rm -p 5672:5672 rabbitmq:4`, and set WARREN_AMQP_URL=amqp://guest:guest@127.0.0.1:5672/."
)


@cache
def _namespaces() -> tuple[str, ...]:
    user = () if os.geteuid() == 0 else ("--map-root-user",)
    return ("unshare", *user, "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child")


@cache
def _may_chroot() -> None:
    if shutil.which("unshare") is None:
        raise Unavailable(f"A private RabbitMQ runs in namespaces of Linux, and there is no unshare here. {_REMEDY}")
    test = subprocess.run(
        [*_namespaces(), "mount", "-t", "proc", "proc", "/proc"], capture_output=True, text=True, check=False
    )
    if test.returncode:
        raise Unavailable(f"A private RabbitMQ runs after chroot, which this user may not: {test.stderr.strip()}. {_REMEDY}")
