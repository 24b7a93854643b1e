"""Runs the code blocks of one page, in order, as somebody would who reads it: ``python -m tests.house.documents PAGE``.

What a block's language means is said in CONTRIBUTING.md, under "Write a page". All of it happens in the current folder.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import re
import runpy
import select
import shlex
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
BROKER = "amqp://app:secret@mq.example/shop"
"""Where a console block names it, the whole page runs against a real RabbitMQ, whose address stands there instead."""

_FENCE = re.compile(
    r"^(?P<indent> *)(?P<fence>`{3,})(?P<info>[^\n`]*)\n(?P<body>.*?)^(?P=indent)(?P=fence)$", re.MULTILINE | re.DOTALL
)
_PATIENCE = 120.0


class Block(NamedTuple):
    """A code block: its language, the file it is to be kept as, the line it begins at, its text."""

    language: str
    title: str
    line: int
    text: str


class Wrong(Exception):
    """A block that does not do what the page says."""


def blocks(page: Path) -> list[Block]:
    """The code blocks of a page."""
    text = page.read_text("utf-8")
    found = []
    for match in _FENCE.finditer(text):
        language, _, rest = match["info"].strip().partition(" ")
        title = re.search(r'title="([^"]+)"', rest)
        body = re.sub(f"^{match['indent']}", "", match["body"], flags=re.MULTILINE)
        found.append(Block(language, title[1] if title else "", text.count("\n", 0, match.start("body")) + 1, body))
    return found


def needs_broker(page: Path) -> bool:
    return any(block.language == "console" and BROKER in block.text for block in blocks(page))


def before(page: Path) -> Path:
    """The file, if there is one, that makes what a page takes for granted: a recording, a module of the reader's."""
    return Path(__file__).parent / "pages" / page.relative_to(ROOT).with_suffix(".py")


def shows(shown: str, came: str) -> bool:
    """Whether what a page shows is what came, but for spaces at ends of lines; ``…`` stands for anything.

    >>> shows("a b\\n… files\\n", "a b \\n12 files"), shows("a", "a\\nb")
    (True, False)
    """
    shown, came = ("\n".join(map(str.rstrip, text.strip().splitlines())) for text in (shown, came))
    return re.fullmatch(re.escape(shown).replace("…", ".*?"), came, re.DOTALL) is not None


class Page:
    """One page while its blocks run."""

    def __init__(self, path: Path, broker: str | None = None) -> None:
        self.path, self.broker = path, broker
        self.module = ModuleType("page")
        sys.modules["page"] = self.module
        self.printed = io.StringIO()
        self.kinds: dict[str, Callable[[Block], None]] = {
            "python": self.python,
            "console": self.console,
            "output": self.output,
            "mermaid": self.mermaid,
            "json": self.json,
            "toml": lambda block: check_toml(block.text),
            "yaml": self.yaml,
            "sql": self.sql,
        }

    def run(self) -> None:
        self.prepare()
        for block in blocks(self.path):
            self.block(block)

    def prepare(self) -> None:
        """Make what the page takes for granted."""
        if self.broker is not None:
            os.environ["WARREN_AMQP_URL"] = self.broker
        if before(self.path).exists():
            runpy.run_path(str(before(self.path)))

    def block(self, block: Block) -> None:
        if block.language not in self.kinds:
            language = block.language or "without a language"
            raise Wrong(f"line {block.line}: no block can be {language!r}; they are {', '.join(self.kinds)}")
        if self.broker is not None:
            block = block._replace(text=block.text.replace(BROKER, self.broker))
        try:
            if block.title:
                Path(block.title).parent.mkdir(parents=True, exist_ok=True)
                Path(block.title).write_text(block.text, "utf-8")
            self.kinds[block.language](block)
        except Exception as error:
            error.add_note(f"in the block at {self.path}:{block.line}")
            raise

    def python(self, block: Block) -> None:
        with contextlib.redirect_stdout(self.printed):
            if block.title:
                importlib.invalidate_caches()
                name = ".".join(Path(block.title).with_suffix("").parts)
                sys.modules.pop(name, None)
                importlib.import_module(name)
            else:
                exec(compile("\n" * (block.line - 1) + block.text, str(self.path), "exec"), self.module.__dict__)

    def output(self, block: Block) -> None:
        came = self.printed.getvalue()
        if not shows(block.text, came):
            raise Wrong(f"the page shows\n{block.text}\nand what was printed is\n{came}")
        self.printed = io.StringIO()

    def mermaid(self, block: Block) -> None:
        from warren import Pipeline

        drawn = [each.explain().mermaid for each in vars(self.module).values() if isinstance(each, Pipeline)]
        if not any(shows(block.text, each) for each in drawn):
            raise Wrong("the page draws\n{}\nand its pipelines are\n{}".format(block.text, "\n".join(drawn)))

    def json(self, block: Block) -> None:
        """One value, or one a line in a file that is called so."""
        for text in block.text.splitlines() if block.title.endswith(".jsonl") else [block.text]:
            json.loads(text)

    def yaml(self, block: Block) -> None:
        import yaml

        list(yaml.safe_load_all(block.text))

    def sql(self, block: Block) -> None:
        import duckdb

        duckdb.sql(block.text).fetchall()

    def console(self, block: Block) -> None:
        """Runs each command, and compares what it shows with the lines under it, where there are any."""
        if not block.text.startswith("$ "):
            raise Wrong("a console block begins with a command: write $ in front of it")
        for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
            command, shown = re.fullmatch(r"((?:[^\n]*\\\n)*[^\n]*)\n?(.*)", part, re.DOTALL).groups()  # type: ignore[union-attr]
            elsewhere = next((check for start, check in ELSEWHERE.items() if command.startswith(start)), None)
            if elsewhere is not None:
                elsewhere(command)
                continue
            came, code = command_line(command, shown)
            if code not in (0, None) and not shown.strip():
                raise Wrong(f"$ {command}\nends with {code}:\n{came}")
            if shown.strip() and not shows(shown, came):
                raise Wrong(f"the page shows\n$ {command}\n{shown}\nand what came is\n{came}")


def command_line(command: str, shown: str = "") -> tuple[str, int | None]:
    """Run a command; where the page shows ``^C``, it is interrupted as soon as what stands before has come."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    # A terminal's width and colours would change what is shown.
    env = {**os.environ, "PATH": path, "COLUMNS": "100", "NO_COLOR": "1"}
    with subprocess.Popen(
        ["bash", "-c", command],
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:
        try:
            if "^C" not in shown:
                return process.communicate(timeout=_PATIENCE)[0].decode(), process.returncode
            assert process.stdout is not None
            came, wanted, until = b"", shown.partition("^C")[0], time.monotonic() + _PATIENCE
            while not shows(wanted, came.decode()) and select.select([process.stdout], [], [], until - time.monotonic())[0]:
                came += (read := os.read(process.stdout.fileno(), 65536))
                if not read:
                    break
            os.killpg(process.pid, signal.SIGINT)
            rest = process.communicate(timeout=_PATIENCE)[0]
            return f"{came.decode().rstrip()}\n^C\n{rest.decode()}", None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def check_toml(text: str) -> None:
    tomllib.loads(text)


def target(command: str) -> None:
    """It makes an environment of its own, so that there is such a target is all that is checked."""
    for name in shlex.split(command, comments=True)[1:]:
        if not re.search(f"^{name}:", (ROOT / "Makefile").read_text(), re.MULTILINE):
            raise Wrong(f"the Makefile has no target {name!r}")


def extras(command: str) -> None:
    """It fetches from elsewhere, so that there are such extras is all that is checked."""
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for name in re.findall(r"[\w-]+", "".join(re.findall(r"warren\[(.*?)\]", command))):
        if name not in known:
            raise Wrong(f"there is no extra {name!r}")


ELSEWHERE: dict[str, Callable[[str], None]] = {"make ": target, "pip install ": extras}
"""The only commands that do not run, and what is checked instead."""


if __name__ == "__main__":
    Page(Path(sys.argv[1]).resolve(), *sys.argv[2:]).run()
