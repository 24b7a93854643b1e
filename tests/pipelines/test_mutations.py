"""Every line that puts effects before the acknowledgement is needed: without it, the receipts test fails."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("core", "operators", "pipelines", "connectors", "analytics", "apps")
EXAMPLES = 4000
NOTICED = 3
HARMLESS = ("pipelines/runtime.py", '"""Runs one pipeline once', '"""Runs a pipeline once')

TRIAL = f"""
import random, sys
from tests.pipelines.graphs import check
for seed in range({EXAMPLES}):
    try:
        check(random.Random(seed))
    except Exception as error:
        print(f"seed {{seed}}: {{type(error).__name__}}: {{error}}")
        sys.exit({NOTICED})
"""

# What is broken: the file, the text, and what stands there instead.
MUTATIONS: dict[str, tuple[str, str, str]] = {
    "the sink's values are settled before they are written": (
        "pipelines/endpoints.py",
        "            await self._meter.calling(len(values), self.connection.write(outgoing))\n",
        "            for chunk in chunks:\n                ledger.settle(chunk.tokens, self._outcome)\n"
        "            await self._meter.calling(len(values), self.connection.write(outgoing))\n",
    ),
    "values that a sink refused are settled with the others": (
        "pipelines/endpoints.py",
        "safe = [token(i) for i in range(len(values)) if i not in refused]",
        "safe = [token(i) for i in range(len(values))]",
    ),
    "values beside a refused one are not settled": (
        "pipelines/endpoints.py",
        "            self.run.ledger.settle(safe, self._outcome)\n",
        "",
    ),
    "values that a sink refused get no dead letter": (
        "pipelines/endpoints.py",
        "self.run.dead_letter([Failure(token(i), values[i], e, self.name) for i, e in sorted(refused.items())])",
        "self.run.ledger.settle([token(i) for i in refused], self._outcome)",
    ),
    "a failing sink ends the writing and not the pipeline": (
        "pipelines/endpoints.py",
        "        except PartialWriteError as error:\n            refused = error.errors\n",
        "        except Exception as error:\n            refused = getattr(error, 'errors', {})\n",
    ),
    "written values are not settled": (
        "pipelines/endpoints.py",
        "            self.run.ledger.settle(chunk.tokens, self._outcome)\n",
        "            pass\n",
    ),
    "dead letters are settled before they are written": (
        "pipelines/endpoints.py",
        "            for source, (bodies, metadata, tokens) in letters.items():\n",
        "            for failure in failures:\n"
        "                self.run.ledger.settle((failure.token,), Outcome(Kind.DEAD_LETTERED, self.queue, failure))\n"
        "            for source, (bodies, metadata, tokens) in letters.items():\n",
    ),
    "dead letters are not written": (
        "pipelines/endpoints.py",
        "                await self._connections[source].write(Outgoing(bodies, metadata.__getitem__, tokens=(tokens,)))\n",
        "                pass\n",
    ),
    "only the first message of a failed batch gets a dead letter": (
        "pipelines/endpoints.py",
        "                    metadata.append(self._metadata(failure, content))\n",
        "                    metadata.append(self._metadata(failure, content))\n                    break\n",
    ),
    "a parked message is acknowledged": (
        "pipelines/endpoints.py",
        "outcome.kind < Kind.PARKED",
        "outcome.kind <= Kind.PARKED",
    ),
    "a released message is acknowledged": (
        "pipelines/endpoints.py",
        "                    elif outcome.kind is Kind.RELEASED:\n",
        "                    elif outcome.kind is Kind.RELEASED and done.setdefault(delivery, []).append(tokens):\n",
    ),
    "everything of a delivery is acknowledged with a part of it": (
        "core/handles.py",
        "            whole = sum(map(len, segments)) == len(handles)\n",
        "            whole = bool(segments)\n",
    ),
    "a split message is settled with its first part": (
        "core/receipt.py",
        "                if not split.pending and type(split.parent) is int:\n",
        "                if type(split.parent) is int:\n",
    ),
    "a split message counts one part too few": (
        "core/tokens.py",
        "        self.count = self.pending = count\n",
        "        self.count = self.pending = count - 1\n",
    ),
    "of a split message the last outcome counts": (
        "core/receipt.py",
        "                if outcome.kind > split.outcome.kind:\n",
        "                if True:\n",
    ),
    "of a merge only the first segment is settled": (
        "core/receipt.py",
        "                    for segment in token.segments:\n",
        "                    for segment in token.segments[:1]:\n",
    ),
    "a message can be settled twice": (
        "core/delivery.py",
        "        if len(taken) < len(tokens) or not self.open.issuperset(taken):\n            return False\n",
        "",
    ),
    "rows put together go on with the first of them": (
        "operators/for_each.py",
        "            if not self.message.left:\n",
        "            if True:\n",
    ),
    "rows put together go on although one of them is parked": (
        "operators/for_each.py",
        "if message.made and message.rest.split.outcome.kind < Kind.PARKED:",
        "if message.made:",
    ),
    "a batch carries the token of its first message": (
        "operators/batch.py",
        "self.stage.ledger.merge(segments)",
        "segments[0][0]",
    ),
    "a batch forgets a chunk's tokens": (
        "operators/batch.py",
        "            current.segments.append(tokens[start : start + room])\n",
        "            current.segments or current.segments.append(tokens[start : start + room])\n",
    ),
    "a batch is not flushed": ("operators/batch.py", "        stage.run.on_flush(self.flush)\n", ""),
    "what a filter drops is not settled": (
        "operators/filter.py",
        "            settle(dropped, FILTERED)\n",
        "",
    ),
    "a filter settles what it keeps": (
        "operators/filter.py",
        "settle(dropped, FILTERED)",
        "settle(chunk.tokens, FILTERED)",
    ),
    "deduplicate has seen what was parked": (
        "operators/deduplicate.py",
        "            if outcome.kind < Kind.DEAD_LETTERED:\n",
        "            if outcome.kind <= Kind.PARKED:\n",
    ),
    "distinct_until_changed has seen what was parked": (
        "operators/distinct_until_changed.py",
        "                    if outcome.kind >= Kind.DEAD_LETTERED:\n",
        "                    if outcome.kind > Kind.PARKED:\n",
    ),
    "enrich is not flushed": ("operators/enrich.py", "        stage.run.on_flush(self.hurry)\n", ""),
    "enrich loses the messages of a lookup that failed": (
        "operators/enrich.py",
        "                    slot.fail(self.stage, error)\n        else:\n",
        "                    self.slots.slots.remove(slot)\n        else:\n",
    ),
    "flat_map gives its message's token to each value": (
        "operators/flat_map.py",
        "stage.ledger.split_all(left.tokens, counts)",
        "[t for t, n in zip(left.tokens, counts) for _ in range(n)], [t for t, n in zip(left.tokens, counts) if not n]",
    ),
    "messages of which flat_map makes nothing are not settled": (
        "operators/flat_map.py",
        "            stage.settle(none, FILTERED)\n",
        "",
    ),
    "a route gives each branch the tokens that come first": (
        "operators/route.py",
        "dealt(chunk.tokens, labels, mine, len(values))",
        "chunk.tokens[: len(values)]",
    ),
    "a retry settles the message it will try again": (
        "operators/retry.py",
        "                    ledger.wait(failure.token, early)\n",
        "                    ledger.settle((failure.token,), Outcome(Kind.DELIVERED))\n",
    ),
    "a retry loses the failures it gives up": (
        "operators/retry.py",
        "                    passed.append(failure)\n",
        "                    pass\n",
    ),
    "dead_letter takes failures that are not its own": (
        "operators/dead_letter.py",
        "            return [failure for failure in failures if not isinstance(failure.error, self.on)]\n",
        "            return []\n",
    ),
    "broadcast gives its message's token to each branch": (
        "operators/broadcast.py",
        "[split(token, count) for token in chunk.tokens]",
        "[[token] * count for token in chunk.tokens]",
    ),
    "a late value settles its message": (
        "operators/timeout.py",
        "ticket.late = ticket.settled = True",
        "ticket.late = True",
    ),
    "a value that is filtered or dead-lettered within a timeout fails as well": (
        "operators/timeout.py",
        "            if not ticket.out and not ticket.settled:\n",
        "            if True:\n",
    ),
    "a fallback loses the failures it cannot replace": (
        "operators/fallback.py",
        "                    passed.append(self.both(stage, failure, error))\n",
        "                    pass\n",
    ),
    "the newest value is not flushed": ("operators/sample.py", "        stage.run.on_flush(self.flush)\n", ""),
    "a delay lets only the first of those that are due go": (
        "operators/delay.py",
        "for chunk in together(due):",
        "for chunk in due[:1]:",
    ),
    "a key that had its turn gets no other": (
        "operators/slots.py",
        "        lane.running -= 1\n        self.offer(lane)\n",
        "        lane.running -= 1\n",
    ),
    "a map that fails loses the message": (
        "core/stage.py",
        "        return Chunk(results, tokens, self.failures(chunk, errors), chunk.attempt)\n",
        "        return Chunk(results, tokens, (), chunk.attempt)\n",
    ),
    "failures do not pass by": (
        "core/stage.py",
        "            if failures:\n                self._forward(Chunk([], (), failures))\n",
        "",
    ),
    "a pipeline does not give back what is unsettled": (
        "pipelines/runtime.py",
        "        self.ledger.release_all()\n",
        "        self.ledger.settle([t for d in self.ledger._deliveries.values() for t in d.unsettled], Outcome(0))\n",
    ),
    "a pipeline ends without waiting for work under way": (
        "pipelines/runtime.py",
        "        while self._busy:\n",
        "        while False:\n",
    ),
    "a pipeline closes without telling the source": (
        "pipelines/runtime.py",
        "        for reader in self._readers:\n            await reader.told()\n        self._raise()\n",
        "        for reader in self._readers:\n            reader._telling and reader._telling.cancel()\n",
    ),
    "timers fire after the end": (
        "pipelines/scheduler.py",
        "return Disposable() if self.closed else super()",
        "return super()",
    ),
    "two branches write to one sink at a time": (
        "pipelines/runtime.py",
        "        if id(outlet) not in self._writers:\n",
        "        if True:\n",
    ),
    "a pair stands for the message of one side alone": (
        "operators/joining.py",
        "ledger.merge((parts,))",
        "ledger.merge((parts[:1],))",
    ),
    "what has no partner is settled when it is given": (
        "operators/joining.py",
        "        self.stage.settle(_tokens(done), FILTERED)\n",
        "        self.stage.settle(_tokens(gone), FILTERED)\n",
    ),
    "what had no partner at a stop is settled": (
        "operators/joining.py",
        "if not entry.matched), RELEASED)",
        "if not entry.matched), FILTERED)",
    ),
    "a message is settled with its first pair": (
        "operators/joining.py",
        "entry.token, part = ledger.split(entry.token, 2)",
        "part, entry.token = entry.token, ledger.split(entry.token, 2)[1]",
    ),
    "a cancellation interrupts closing": (
        "pipelines/runtime.py",
        "            await self._closed()\n",
        "            await self._close()\n",
    ),
}


def trial(title: str, folder: Path) -> tuple[bool, str]:
    """Replace one text in a copy of the package and run the receipts test on it: whether that noticed, and what it said."""
    path, text, instead = MUTATIONS.get(title, HARMLESS)
    source = (ROOT / path).read_text()
    if source.count(text) != 1:
        return False, f"{path} does not have this once any more; mutate what stands there now:\n{text}"
    changed = path.partition("/")[0]
    package = folder / "warren"
    package.mkdir()
    shutil.copy(ROOT / "src/warren/__init__.py", package)
    for name in FOLDERS:
        (package / name).symlink_to(ROOT / name)
    (package / changed).unlink()
    shutil.copytree(ROOT / changed, package / changed, ignore=shutil.ignore_patterns("__pycache__"))
    (package / path).write_text(source.replace(text, instead))
    (folder / "tests").symlink_to(ROOT / "tests")
    done = subprocess.run(
        [sys.executable, "-P", "-c", TRIAL],
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return done.returncode == NOTICED, done.stdout + done.stderr


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[bool, str]]:
    titles = ["harmless", *MUTATIONS]
    folders = [tmp_path_factory.mktemp("mutated") for _ in titles]
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(titles, pool.map(trial, titles, folders), strict=True))


@pytest.mark.slow
def test_a_harmless_change_passes(verdicts: dict[str, tuple[bool, str]]) -> None:
    noticed, said = verdicts["harmless"]
    assert not noticed and not said, said


@pytest.mark.slow
@pytest.mark.parametrize("title", MUTATIONS)
def test_a_mutation_is_noticed(title: str, verdicts: dict[str, tuple[bool, str]]) -> None:
    noticed, said = verdicts[title]
    assert noticed, f"survived {EXAMPLES} random graphs: {title}\n{said}"
