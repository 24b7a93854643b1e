"""``warren queues``, ``peek``, ``publish`` and ``dlq`` on a file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from warren import Pipeline
from warren.analytics import AdaptiveBackoff, Recorder
from warren.apps.cli import main
from warren.connectors import memory, sqlite
from warren.operators import constant, map, retry

PROGRAM = [sys.executable, "-c", "from warren.apps.cli import main; main()"]
DEAD, ORDERS = "sqlite:q.db?queue=shop.dead", "sqlite:q.db?queue=orders"


def fail(order: dict[str, int]) -> Any:
    if order["n"] % 2:
        raise TimeoutError(f"no answer to {order['n']} within a second")
    raise ValueError(f"customer {order['n']} is unknown")


def warren(*arguments: str, code: int = 0, input: str | None = None) -> str:
    result = CliRunner().invoke(main, arguments, input=input)
    assert result.exit_code == code, (result.output, result.exception)
    assert "Traceback" not in result.output
    return result.stdout if not code else result.stderr


def lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


def depths() -> dict[str, int]:
    return {each["name"]: each["depth"] for each in lines(warren("queues", "ls", "sqlite:q.db", "--json"))}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def letters() -> None:
    """Six messages of ``orders``, which are dead letters of ``shop``."""
    orders: Any = sqlite.queue("q.db", "orders", dict, key=lambda order: str(order["n"]))
    Pipeline("seed", memory.items([{"n": i} for i in range(6)]) | orders).run()
    Pipeline("shop", orders | map(fail) | sqlite.queue("q.db", "out")).run(until_empty=True)


def test_queues_are_made_listed_emptied_and_removed() -> None:
    assert warren("queues", "create", ORDERS) == "Queue 'orders' is made.\n"
    assert "was there already" in warren("queues", "create", ORDERS)
    warren("publish", ORDERS, input="1\n\n[2]\n{}\n")
    assert warren("queues", "ls", "sqlite:q.db").splitlines() == ["queue   depth  unacked", "orders  3      0"]
    assert warren("queues", "depth", ORDERS) == "3\n"
    assert [each["depth"] for each in lines(warren("queues", "watch", ORDERS, "--json", "--count", "1"))] == [3]
    assert lines(warren("queues", "purge", ORDERS, "--yes", "--json")) == [{"name": "orders", "purged": 3}]
    assert warren("queues", "delete", ORDERS, "--yes") == "Queue 'orders' is removed.\n"
    assert depths() == {}


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["queues", "depth", "sqlite:q.db?queue=x"], 1, "there is no queue 'x' in q.db; there is 'orders'"),
        (["publish", "sqlite:q.db?queue=x"], 1, "there is no queue 'x'"),
        (["peek", "sqlite:q.db?queue=x"], 1, "there is no queue 'x'"),
        (["dlq", "replay", "sqlite:q.db?queue=x", "--yes"], 1, "there is no queue 'x'"),
        (["queues", "ls", "sqlite:none.db"], 1, "there is no queue file none.db"),
        (["queues", "depth", "sqlite:q.db"], 2, "which queue? add ?queue=NAME"),
        (["queues", "ls", "memory:orders"], 2, "cannot be looked after from outside"),
        (["queues", "ls", "fax:orders"], 2, "no connector knows the scheme 'fax'"),
        (["queues", "ls", "amqp://guest@localhost:1/?queue=x&patience=1ms"], 1, "cannot be reached"),
        (["queues", "purge", ORDERS], 2, "Nobody can be asked, as this is no terminal; --yes says so beforehand"),
        (["queues", "delete", ORDERS], 2, "Nobody can be asked"),
        (["dlq", "drop", ORDERS], 2, "Nobody can be asked"),
        (["dlq", "replay", ORDERS, "--rate", "0", "--yes"], 2, "give a number above 0"),
        (["dlq", "show", ORDERS, "7"], 2, "there is no letter '7' in 'orders'"),
        (["peek", ORDERS, "--where", "eror=x"], 2, "knows no field 'eror'"),
        (["queues", "watch", ORDERS, "--every", "0s"], 2, "look less often"),
    ],
)
def test_what_cannot_be_is_one_sentence(arguments: list[str], code: int, sentence: str) -> None:
    warren("queues", "create", ORDERS)
    warren("publish", ORDERS, input="1\n")
    said = warren(*arguments, code=code)
    assert sentence in said and said.splitlines()[-1].startswith("warren: ")
    assert depths() == {"orders": 1}


def test_a_folder_without_permission_is_one_sentence(folder: Path) -> None:
    (folder / "text").mkdir()
    assert "warren: " in warren("queues", "create", "sqlite:text?queue=x", code=1)


@pytest.mark.usefixtures("letters")
def test_letters_are_listed_shown_and_counted() -> None:
    assert len(warren("dlq", "ls", DEAD).splitlines()) == 7
    chosen = lines(warren("dlq", "ls", DEAD, "--where", "error=TimeoutError", "--json"))
    assert [each["key"] for each in chosen] == ["1", "3", "5"]
    shown = warren("dlq", "show", DEAD, chosen[0]["id"])
    assert "TimeoutError" in shown and "{'n': 1}" in shown and "sqlite:orders" in shown
    assert lines(warren("dlq", "show", DEAD, chosen[0]["id"], "--json"))[0]["body"] == {"n": 1}
    assert "transient" in shown and "TimeoutError: no answer to <n> within a second" in shown
    assert chosen[0]["class"] == "TimeoutError: no answer to <n> within a second" and chosen[0]["kind"] == "transient"
    assert [line.split()[4] for line in warren("dlq", "ls", DEAD).splitlines()[1:]] == ["poison", "transient"] * 3


@pytest.mark.usefixtures("letters")
def test_letters_are_counted_by_class() -> None:
    found = {each["class"]: each for each in lines(warren("dlq", "stats", DEAD, "--json"))}
    late = found["TimeoutError: no answer to <n> within a second"]
    assert late["count"] == 3 and late["kind"] == "transient" and late["suggestion"] == "replay them"
    assert late["reason"] == "never tried again; it reads as transient" and late["curve"] == []
    assert found["ValueError: customer <n> is unknown"]["kind"] == "poison"
    said = warren("dlq", "stats", DEAD).splitlines()
    assert said[0].split() == ["class", "kind", "count", "retries", "helped", "suggestion"]
    assert "ValueError: customer <n> is unknown" in said[1] and "mend them or the step that refuses them" in said[1]


@pytest.mark.usefixtures("letters")
def test_with_recordings_it_is_said_how_often_retries_helped_after_which_delay(folder: Path) -> None:
    seen: set[int] = set()

    def ask(n: int) -> int:
        if n % 10 == 9 or n not in seen:
            seen.add(n)
            raise TimeoutError(f"no answer to {n} within a second")
        return n

    policy = AdaptiveBackoff("1ms", attempts=2, usual=constant("4ms", attempts=2))
    flow = memory.items(range(100)) | map(ask) | retry(policy) | memory.into([])
    Pipeline("asked", flow, observers=[Recorder(folder / "flows")]).run()
    found = {each["class"]: each for each in lines(warren("dlq", "stats", DEAD, "--flows", "flows", "--json"))}
    late = found["TimeoutError: no answer to <n> within a second"]
    assert (late["count"], late["kind"]) == (3, "transient")
    [point] = [each for each in late["curve"] if each["retried"] >= 100]
    assert point == {"delay_s": 2**-8, "retried": 100, "recovered": 90, "success": 0.9}, late["curve"]
    said = warren("dlq", "stats", DEAD, "--flows", "flows")
    assert "by delay" in said and "0.00391s 90%" in said
    assert "'nowhere' does not exist" in warren("dlq", "stats", DEAD, "--flows", "nowhere", code=2)


def test_messages_that_are_no_letters_are_of_no_class() -> None:
    warren("queues", "create", ORDERS)
    warren("publish", ORDERS, input="1\n")
    [found] = lines(warren("dlq", "ls", ORDERS, "--json"))
    assert (found["class"], found["kind"]) == (None, None)
    assert lines(warren("dlq", "stats", ORDERS, "--json")) == []
    assert "poison" not in warren("dlq", "show", ORDERS, found["id"])


@pytest.mark.usefixtures("letters")
@pytest.mark.parametrize("missing", ["sklearn.cluster", "warren.analytics"])
def test_without_what_groups_them_letters_are_counted_all_the_same(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    found = lines(warren("dlq", "stats", DEAD, "--json"))
    assert [each["count"] for each in found] == [3, 3]
    kinds = {each["kind"] for each in found}
    assert kinds == ({"transient", "poison"} if missing == "sklearn.cluster" else {None})
    assert len(warren("dlq", "stats", DEAD).splitlines()) == len(warren("dlq", "ls", DEAD).splitlines()) - 4 == 3


@pytest.mark.usefixtures("letters")
def test_letters_go_back_and_a_second_time_nothing_does() -> None:
    late = ("--where", "error=TimeoutError")
    assert lines(warren("dlq", "replay", DEAD, *late, "--dry-run", "--json")) == [{"would_move": {"sqlite:orders": 3}}]
    assert depths()["shop.dead"] == 6
    done = lines(warren("dlq", "replay", DEAD, *late, "--yes", "--json"))
    assert done == [{"moved": 3, "left": {"not chosen": 3}, "repeated": 0}]
    assert lines(warren("dlq", "replay", DEAD, *late, "--yes", "--json"))[0]["moved"] == 0
    assert "No letter would go back." in warren("dlq", "replay", DEAD, *late, "--dry-run")
    assert [each["body"]["n"] for each in lines(warren("peek", ORDERS, "--json"))] == [1, 3, 5]
    assert lines(warren("dlq", "drop", DEAD, "--yes", "--json")) == [{"dropped": 3}]
    assert depths() == {"orders": 3, "out": 0, "shop.dead": 0}


def test_what_peek_prints_can_be_published_again() -> None:
    warren("queues", "create", ORDERS)
    given = [
        {"body": {"a": [1, None]}, "key": "k", "headers": {"x": "y"}, "id": "1"},
        {"text": "hello\x1b[31m", "id": "2"},
        {"base64": "/w==", "id": "3"},
        {"body": None, "id": "4"},
    ]
    warren("publish", ORDERS, "--records", input="\n".join([json.dumps(each) for each in given]))
    printed = warren("peek", ORDERS, "--json")
    for before, after in zip(given, lines(printed), strict=True):
        assert before.items() <= after.items()
    warren("publish", ORDERS, "--records", input=printed)
    both = [{k: v for k, v in each.items() if k != "timestamp"} for each in lines(warren("peek", ORDERS, "--json"))]
    assert both[:4] == both[4:]
    assert "\x1b" not in warren("peek", ORDERS), "no escape sequence reaches the terminal"
    assert lines(warren("peek", ORDERS, "--json", "--limit", "1", "--where", "header.x=y"))[0]["key"] == "k"


@pytest.mark.parametrize(
    ("options", "line"), [([], "{"), (["--records"], '{"id": "1"}'), (["--records"], '{"body": 1, "text": "x"}')]
)
def test_a_line_that_is_no_message_ends_it_and_those_before_are_published(options: list[str], line: str) -> None:
    warren("queues", "create", ORDERS)
    good = '{"body": 1}'
    said = warren("publish", ORDERS, *options, input=f"{good}\n\n{good}\n{line}\n{good}\n", code=1)
    assert said.splitlines()[0] == "2 messages are published."
    assert "warren: line 4 is no message" in said
    assert depths() == {"orders": 2}


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_reader_that_goes_and_an_interrupt_end_quietly() -> None:
    warren("queues", "create", ORDERS)
    warren("publish", ORDERS, input="".join(f'"{"x" * 200}{i}"\n' for i in range(5000)))
    peek = [*PROGRAM, "peek", ORDERS, "--limit", "5000", "--json"]
    with subprocess.Popen(peek, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert (process.wait(timeout=60), process.stderr.read()) == (141, b"")
    publish = [*PROGRAM, "publish", ORDERS]
    with subprocess.Popen(publish, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(b"1\n")
        process.stdin.flush()
        _wait_for(5001)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 130
        assert errors.startswith(b"1 message is published.\nwarren: interrupted") and b"Traceback" not in errors


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_replay_of_100000_letters_that_is_killed_again_and_again_loses_and_doubles_none() -> None:
    seed = "".join(
        json.dumps({"body": i, "headers": {"warren-error": "E", "warren-source": "sqlite:orders"}}) + "\n"
        for i in range(100_000)
    )
    warren("queues", "create", ORDERS)
    warren("queues", "create", DEAD)
    warren("publish", DEAD, "--records", input=seed)
    replay = [*PROGRAM, "dlq", "replay", DEAD, "--yes", "--json"]
    for enough in (1, 20_000):
        with subprocess.Popen(replay, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            _wait_for(enough)
            process.kill()
        found = depths()
        assert found["orders"] + found["shop.dead"] == 100_000
    assert lines(warren("dlq", "replay", DEAD, "--yes", "--json"))[0]["repeated"] == 0
    assert lines(warren("dlq", "replay", DEAD, "--yes", "--json"))[0]["moved"] == 0
    back = lines(warren("peek", ORDERS, "--json", "--limit", "200000"))
    assert sorted(each["body"] for each in back) == list(range(100_000))


def _wait_for(count: int) -> None:
    """Look until so many messages wait in ``orders``."""
    end = time.monotonic() + 60
    while sqlite.depth("q.db", "orders") < count:
        assert time.monotonic() < end, "they did not come in time"
        time.sleep(0.005)
