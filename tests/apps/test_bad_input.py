"""Every command, in a process of its own, where all is not well: one sentence, the right exit code, nothing lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.brokers.rabbitmq import Node
from tests.connectors.rabbitmq.hands import Foreign
from tests.connectors.rabbitmq.hands import run as in_loop
from tests.house.tree import ROOT
from warren import Pipeline
from warren.apps.cli import main
from warren.connectors import memory
from warren.operators import scan

PATIENCE = 60
SENTENCE = "warren: "
Q, DEAD = "sqlite:q.db?queue=orders", "sqlite:q.db?queue=orders.dead"
LETTERS = 600
PIPELINE = """
from warren import Pipeline
from warren.connectors import memory
flow = Pipeline("flow", memory.items(range(3)) | memory.into([]))
"""

# Each command that takes the address of a queue.
QUEUES = [
    ["queues", "ls"],
    ["queues", "depth"],
    ["queues", "watch", "--count", "1"],
    ["queues", "delete", "--yes"],
    ["queues", "purge", "--yes"],
    ["peek"],
    ["publish"],
    ["dlq", "ls"],
    ["dlq", "show", "{}", "7"],
    ["dlq", "stats"],
    ["dlq", "replay", "--yes"],
    ["dlq", "replay", "--dry-run"],
    ["dlq", "drop", "--yes"],
    ["health"],
    ["doctor"],
]


def at(command: Sequence[str], address: str) -> list[str]:
    return [each.format(address) for each in command] if "{}" in command else [*command, address]


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program under its own name, as an installation has it."""
    path = tmp_path_factory.mktemp("bin") / "warren"
    path.write_text(f"#!{sys.executable}\nfrom warren.apps.cli import main\nmain()\n")
    path.chmod(0o755)
    return path


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, program: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    monkeypatch.setenv("PATH", os.pathsep.join([str(program.parent), os.environ["PATH"]]))
    monkeypatch.delenv("WARREN_DEBUG", raising=False)
    return tmp_path


@pytest.fixture
def letters() -> None:
    """A queue file with dead letters, a state, a pipeline and its recording."""
    home = {"warren-error": "TimeoutError", "warren-source": "sqlite:orders", "warren-reason": "x" * 500}
    lines = "".join(json.dumps({"body": i, "id": str(i), "headers": home}) + "\n" for i in range(LETTERS))
    for arguments, given in [
        (["queues", "create", Q], None),
        (["queues", "create", DEAD], None),
        (["publish", DEAD, "--records"], lines),
    ]:
        assert CliRunner().invoke(main, arguments, input=given).exit_code == 0
    counted = memory.items(range(3)) | scan(lambda a, b: a + b, 0, by=lambda n: n) | memory.into([])
    Pipeline("counted", counted, state="counted.state").run()
    Path("flow.py").write_text(PIPELINE)
    Path("text").write_text("no database" * 100)


def warren(*arguments: str, input: str = "") -> subprocess.CompletedProcess[str]:
    command = ["warren", *arguments]
    return subprocess.run(command, capture_output=True, text=True, input=input, timeout=PATIENCE, check=False)


def depths() -> tuple[int, int]:
    """How many messages wait in ``orders`` and in its dead letters."""
    found = [CliRunner().invoke(main, ["queues", "depth", address]).stdout for address in (Q, DEAD)]
    return int(found[0]), int(found[1])


def one_sentence(done: subprocess.CompletedProcess[str], code: int, part: str) -> None:
    assert done.returncode == code, (done.args, done.stdout, done.stderr)
    said = done.stderr.splitlines()
    assert said and said[-1].startswith(SENTENCE) and part in said[-1], (done.args, done.stderr)
    assert "Traceback" not in done.stderr and not done.stdout


@pytest.mark.usefixtures("letters")
@pytest.mark.parametrize("command", QUEUES, ids=" ".join)
def test_an_unknown_queue(command: list[str]) -> None:
    done = warren(*at(command, "sqlite:q.db?queue=none"))
    if command == ["doctor"]:
        assert done.returncode == 1 and "there is no queue 'none'" in done.stdout
    else:
        # A count of none is told as well.
        assert done.stdout == "" and "there is no queue 'none' in q.db; there is 'orders', 'orders.dead'" in done.stderr
        assert done.returncode == 1 and done.stderr.splitlines()[-1].startswith(SENTENCE)
    assert depths() == (0, LETTERS)


@pytest.mark.parametrize("command", [*QUEUES, ["queues", "create"]], ids=" ".join)
def test_a_broker_that_is_down(command: list[str]) -> None:
    done = warren(*at(command, "amqp://guest:secret@localhost:1/?queue=orders&patience=1ms"))
    assert done.returncode == 1 and "cannot be reached" in done.stdout + done.stderr
    assert "secret" not in done.stdout + done.stderr and "Traceback" not in done.stderr
    if command != ["doctor"]:
        assert done.stdout == "" and done.stderr.splitlines()[-1].startswith(SENTENCE)


@pytest.mark.parametrize("command", [*QUEUES, ["queues", "create"]], ids=" ".join)
def test_no_permission(command: list[str], rabbitmq_43: Node) -> None:
    with rabbitmq_43.vhost() as url:

        async def fill() -> None:
            async with Foreign.at(url) as other:
                await other.declare("orders", {"x-queue-type": "classic"})
                await other.send("orders", b"1")

        async def left() -> int:
            async with Foreign.at(url) as other:
                return len(await other.wait("orders", 1))

        in_loop(fill)
        vhost = url.rpartition("/")[2]
        none = rabbitmq_43.add_user("nobody", "secret", vhost=vhost, configure="^$", write="^$", read="^$")
        queue = "new" if command == ["queues", "create"] else "orders"
        done = warren(*at(command, f"{none}?queue={queue}"), input="1\n")
        said = done.stdout + done.stderr
        assert "secret" not in said and "Traceback" not in said
        assert done.returncode == 1 and ("refused" in said or "may not" in said), said
        assert in_loop(left) == 1


@pytest.mark.usefixtures("letters")
@pytest.mark.parametrize(
    "command",
    [
        ["queues", "delete", DEAD],
        ["queues", "purge", DEAD],
        ["dlq", "replay", DEAD],
        ["dlq", "drop", DEAD],
        ["state", "drop", "counted.state", "0:scan"],
    ],
    ids=" ".join,
)
def test_nobody_can_be_asked(command: list[str]) -> None:
    steps = CliRunner().invoke(main, ["state", "ls", "counted.state"]).stdout
    command = [each if each != "0:scan" else steps.splitlines()[-1].split()[0] for each in command]
    one_sentence(warren(*command), 2, "Nobody can be asked, as this is no terminal; --yes says so beforehand")
    assert depths() == (0, LETTERS)
    assert CliRunner().invoke(main, ["state", "ls", "counted.state"]).stdout == steps


@pytest.mark.usefixtures("letters")
@pytest.mark.parametrize(
    ("command", "code", "part"),
    [
        (["queues", "ls", "sqlite:text"], 1, "is not a queue file"),
        (["peek", "sqlite:text?queue=orders"], 1, "is not a queue file"),
        (["publish", "sqlite:none/q.db?queue=orders"], 1, "none/q.db"),
        (["publish", Q, "none.ndjson"], 2, "none.ndjson"),
        (["peek", Q, "--limit", "0"], 2, "--limit"),
        (["dlq", "replay", DEAD, "--rate", "fast"], 2, "--rate"),
        (["dlq", "shw", DEAD], 2, "shw"),
        (["health", "nonsense"], 2, "not an address"),
        (["health", ":1"], 1, "nothing answers"),
        (["dev", "flow:flwo"], 2, "did you mean 'flow'"),
        (["run", "flow.py"], 2, "write module:attribute"),
        (["explain", "text.py:flow"], 2, "there is no file"),
        (["docs", "flow:flow"], 2, "--json"),
        (["flows", "none"], 2, "there is no folder"),
        (["replay", "none", "flow:flow"], 2, "there is no recording"),
        (["advise", "--flows", "none"], 2, "none"),
        (["state", "ls", "text"], 1, "text"),
        (["state", "show", "counted.state", "9:scan"], 1, "9:scan"),
        (["state", "restore", "none", "counted.state"], 1, "counted.state is there already"),
        (["partitions", "orders", "--to", "0"], 2, "--to"),
        (["completion", "ksh"], 2, "is not one of 'bash', 'zsh', 'fish'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_was_asked_for_wrongly(command: list[str], code: int, part: str) -> None:
    one_sentence(warren(*command), code, part)
    assert depths() == (0, LETTERS)


@pytest.mark.usefixtures("letters")
@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize(
    "command",
    [
        f"peek {DEAD} --limit {LETTERS}",
        f"peek {DEAD} --limit {LETTERS} --json",
        f"dlq ls {DEAD} --limit {LETTERS}",
        f"dlq ls {DEAD} --limit {LETTERS} --json",
        f"queues watch {DEAD} --every 100ms",
        "doctor",
        "explain flow:flow --json",
        "flows recordings",
        "plugins --all",
        "--help",
    ],
)
def test_a_pipe_that_is_closed_early(command: str) -> None:
    if command.startswith("flows"):
        assert warren("run", "flow:flow", "--record", "recordings").returncode == 0
    # What reads is gone before anything is written.
    script = f"warren {command.replace('?', chr(92) + '?')} | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.stdout, done.stderr) == ("141\n", "")
    assert depths() == (0, LETTERS)


@pytest.mark.usefixtures("letters")
@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize("json", [[], ["--json"]])
def test_an_interrupted_replay_loses_nothing(json: list[str]) -> None:
    command = ["warren", "dlq", "replay", DEAD, "--yes", "--rate", "20", *json]
    with started(*command) as process:
        while depths()[0] < 4:
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        out, said = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (130, "")
    assert said == "warren: interrupted; what was not settled goes back to its source.\n"
    back, left = depths()
    assert back >= 4 and back + left == LETTERS


@pytest.mark.usefixtures("letters")
@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize(
    "command", [["queues", "watch", DEAD, "--every", "1h"], ["health", DEAD, "--during", "1h"], ["publish", Q]], ids=" ".join
)
def test_an_interrupt_while_it_waits(command: list[str]) -> None:
    env = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with started("warren", *command, env=env) as process:
        if command[0] == "queues":
            assert process.stdout is not None and process.stdout.readline()
        else:
            _waits(process.pid)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130 and said.splitlines()[-1].startswith("warren: interrupted")
    assert "Traceback" not in said


@contextmanager
def started(*command: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A process that does not outlive its test, however that ends."""
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(command, text=True, **pipes, **options) as process:
        try:
            yield process
        finally:
            process.kill()


def _waits(pid: int) -> None:
    """Until a process waits in its event loop."""
    end = time.monotonic() + PATIENCE
    while not (_loops(pid) and Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("S")):
        assert time.monotonic() < end


def _loops(pid: int) -> bool:
    """Whether a process has an event loop, which a descriptor of it shows."""
    try:
        return any("eventpoll" in str(each.readlink()) for each in Path(f"/proc/{pid}/fd").iterdir())
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_written_for_each_shell(shell: str) -> None:
    done = warren("completion", shell)
    assert done.returncode == 0 and "_WARREN_COMPLETE" in done.stdout
    if shutil.which(shell):
        assert subprocess.run([shell, "-n"], input=done.stdout, text=True, timeout=PATIENCE, check=False).returncode == 0


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("que", ["queues"]), ("dlq re", ["replay"]), ("peek --li", ["--limit"]), ("completion ", ["bash", "zsh", "fish"])],
)
def test_bash_completes_commands_options_and_choices(typed: str, offered: list[str]) -> None:
    script = (
        f'eval "$(warren completion bash)"; COMP_WORDS=(warren {typed}); [[ "{typed}" == *" " ]] && COMP_WORDS+=(""); '
        'COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _warren_completion warren; echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.stdout.split() == offered, done.stderr
