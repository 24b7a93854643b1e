"""Dead letters: what they say, that undecodable messages become one, and that they can go back as they were."""

from __future__ import annotations

import asyncio
import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from tests.brokers.rabbitmq import Node
from tests.connectors.rabbitmq.hands import Foreign, broker, drain, run, write
from warren.connectors import rabbitmq
from warren.connectors.conformance.kit import Got
from warren.core.errors import TopologyError
from warren.core.message import Metadata, Outgoing
from warren.operators import constant, dead_letter, map, retry
from warren.pipelines.pipeline import Pipeline


def fail(value: Any) -> Any:
    raise ConnectionError(f"no answer to {value}")


async def dead_letters(url: str, *steps: Any, type: Any = int) -> list[Got]:
    """Run a pipeline on a queue until it is empty; returns its letters, which are gone then."""
    at = broker(url)
    flow = rabbitmq.queue("in", type, broker=at)
    for step in steps:
        flow = flow | step
    await Pipeline("p", flow | rabbitmq.queue("out", broker=at)).start(until_empty=True)
    return await drain(rabbitmq.queue("p.dead", broker=at))


def test_a_letter_says_what_happened_where_how_often_and_when(rabbitmq_each: Node) -> None:
    async def main() -> None:
        with rabbitmq_each.vhost() as url:
            await write(rabbitmq.queue("in", broker=broker(url)), 7)
            (letter,) = await dead_letters(url, map(fail), retry(constant("200ms", attempts=3), park=0))
            headers = letter.metadata.headers
            assert letter.body == b"7"
            assert headers["warren-error"] == "ConnectionError"
            assert headers["warren-reason"] == "no answer to 7"
            assert headers["warren-stage"] == "1:map(fail)"
            assert headers["warren-attempts"] == "3"
            assert headers["warren-pipeline"] == "p"
            assert headers["warren-source"] == "rabbitmq:in"
            assert len(headers["warren-fingerprint"]) == 12
            first, last = float(headers["warren-first-failed"]), float(headers["warren-last-failed"])
            assert 0.39 < last - first < 30, "the first failure was two delays before the last"

    run(main)


def test_what_cannot_be_decoded_becomes_a_letter_once(rabbitmq_each: Node) -> None:
    bad = [(b"{", "application/json"), (b"7", "application/x-unknown"), (b"\xff\x00", "application/msgpack"), (b"", "")]

    async def main() -> None:
        with rabbitmq_each.vhost() as url:
            queue = rabbitmq.queue("in", broker=broker(url))
            await write(queue, 1)
            async with Foreign.at(url) as other:
                for body, content_type in bad:
                    await other.send("in", body, content_type=content_type)
            letters = await dead_letters(url, retry(constant("50ms", attempts=3), park=0))
            assert [letter.body for letter in letters] == [body for body, _ in bad]
            assert {letter.metadata.headers["warren-error"] for letter in letters} == {"DecodeError"}
            kinds = [letter.metadata.content_type for letter in letters]
            assert kinds == [kind or "application/octet-stream" for _, kind in bad]
            assert {letter.metadata.headers["warren-attempts"] for letter in letters} == {"1"}
            assert await drain(queue) == []

    run(main)


FOREIGN: dict[str, Any] = {
    "message_id": "m-1",
    "content_type": "application/json",
    "correlation_id": "c-1",
    "reply_to": "answers",
    "priority": 3,
    "type": "order",
    "app_id": "shop",
    "user_id": "guest",
    "timestamp": dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC),
    "headers": {
        "text": "ü",
        "number": 7,
        "large": 2**40,
        "float": 0.5,
        "true": True,
        "nothing": None,
        "bytes": bytearray(b"\x00\xff"),
        "decimal": Decimal("1.25"),
        "when": dt.datetime(2026, 1, 2, tzinfo=dt.UTC),
        "list": [1, "a", [True]],
        "table": {"a": {"b": 1}},
    },
}


def test_a_letter_goes_back_as_the_message_it_was(rabbitmq_each: Node) -> None:
    async def main() -> None:
        with rabbitmq_each.vhost() as url:
            await write(rabbitmq.queue("in", broker=broker(url)))
            async with Foreign.at(url) as other:
                await other.send("in", b"7", **FOREIGN)
                await other.send("in", b"8", headers={"CC": ["nowhere"]})
                at = broker(url)
                flow = rabbitmq.queue("in", int, broker=at) | map(fail) | retry(constant("100ms", attempts=2), park=0)
                await Pipeline("p", flow | rabbitmq.queue("out", broker=at)).start(until_empty=True)
                assert await rabbitmq.replay("p.dead", broker=at) == (2, {})
                back = {message.body: message for message in await other.wait("in", 2)}
                assert await drain(rabbitmq.queue("p.dead", broker=at)) == []
            message = back[b"7"]
            headers = {name: value for name, value in message.headers.items() if name != "x-delivery-count"}
            first = headers.pop("warren-first-failed")
            assert isinstance(first, str)
            assert headers.pop("warren-user-id") == "guest"
            assert headers == FOREIGN["headers"]
            given = {name: value for name, value in FOREIGN.items() if name not in ("headers", "user_id")}
            assert {name: getattr(message, name) for name in given} == given
            assert set(back[b"8"].headers) - {"x-delivery-count"} == {"warren-first-failed"}

    run(main)


def test_attempts_begin_anew_after_a_replay_and_the_first_failure_is_remembered(rabbitmq_each: Node) -> None:
    async def main() -> None:
        with rabbitmq_each.vhost() as url:
            steps = map(fail), retry(constant("50ms", attempts=2), park=0)
            await write(rabbitmq.queue("in", broker=broker(url)), 7)
            seen = []
            for _ in range(2):
                (letter,) = await dead_letters(url, *steps)
                seen.append(letter.metadata.headers)
                dead = await rabbitmq.queue("p.dead", broker=broker(url)).open()
                await dead.write(Outgoing([letter.body], lambda _, kept=letter.metadata: kept))  # type: ignore[misc]
                await dead.close()
                assert await rabbitmq.replay("p.dead", broker=broker(url)) == (1, {})
            assert [each["warren-attempts"] for each in seen] == ["2", "2"]
            assert seen[0]["warren-first-failed"] == seen[1]["warren-first-failed"]
            assert seen[0]["warren-last-failed"] < seen[1]["warren-last-failed"]

    run(main)


async def fill(url: str, count: int) -> rabbitmq.Queue[Any]:
    """Letters of a pipeline that fails all of so many messages."""
    at = broker(url)
    await write(rabbitmq.queue("in", broker=at), *range(count))
    flow = rabbitmq.queue("in", int, broker=at) | map(fail) | rabbitmq.queue("out", broker=at)
    await Pipeline("p", flow, credit=2000).start(until_empty=True)
    return rabbitmq.queue("p.dead", broker=at)


def test_only_some_go_back(vhost: str) -> None:
    async def main() -> None:
        dead = await fill(vhost, 30)
        at = broker(vhost)
        assert await rabbitmq.replay("p.dead", broker=at, limit=4) == (4, {})

        def even(letter: Metadata) -> bool:
            return letter.headers["warren-reason"][-1] in "02468"

        assert await rabbitmq.replay("p.dead", broker=at, where=even) == (13, {"not chosen": 13})
        assert await rabbitmq.replay("p.dead", broker=at, limit=0) == (0, {})
        assert [int(each.body) for each in await drain(dead)] == list(range(5, 30, 2))
        back = [int(each.body) for each in await drain(rabbitmq.queue("in", broker=at))]
        assert back == [0, 1, 2, 3, *range(4, 30, 2)]

    run(main)


def test_letters_that_lead_nowhere_stay_where_they_are(vhost: str) -> None:
    headers: list[dict[str, str]] = [
        {"warren-error": "E", "warren-source": "rabbitmq:gone"},
        {"warren-error": "E", "warren-source": "sqlite:in"},
        {"warren-error": "E"},
        {},
        {"warren-error": "E", "warren-source": "rabbitmq:in", "warren-properties": "%%%"},
    ]

    async def main() -> None:
        at = broker(vhost)
        await write(rabbitmq.queue("in", broker=at))
        dead = rabbitmq.queue("p.dead", broker=at)
        connection = await dead.open()
        letters = [Metadata(id=str(i), headers=each, key="k") for i, each in enumerate(headers)]
        await connection.write(Outgoing([b"%d" % i for i in range(5)], letters.__getitem__))
        await connection.close()
        moved, left = await rabbitmq.replay("p.dead", broker=at)
        assert moved == 1
        assert left.pop("it is no dead letter of a pipeline") == 2
        assert left.pop("it came from sqlite:in, which is no queue of a RabbitMQ broker") == 1
        ((reason, count),) = left.items()
        assert reason.startswith("the queue 'gone' leads to no queue")
        assert count == 1
        (back,) = await drain(rabbitmq.queue("in", broker=at))
        assert (back.body, back.metadata.id, back.metadata.key, back.metadata.headers) == (b"4", "4", "k", {})
        assert sorted(each.body for each in await drain(dead)) == [b"0", b"1", b"2", b"3"]

    run(main)


def test_what_fails_again_meanwhile_does_not_go_round(vhost: str) -> None:
    async def main() -> None:
        dead = await fill(vhost, 1500)
        at = broker(vhost)
        flow = rabbitmq.queue("in", int, broker=at) | map(fail) | rabbitmq.queue("out", broker=at)
        running = asyncio.ensure_future(Pipeline("p", flow).start())
        assert await rabbitmq.replay("p.dead", broker=at) == (1500, {})
        running.cancel()
        await asyncio.wait([running])
        rest = await drain(dead) + await drain(rabbitmq.queue("in", broker=at))
        assert {int(each.body) for each in rest} == set(range(1500))

    run(main)


def test_a_queue_that_is_not_there_has_no_letters(vhost: str) -> None:
    async def main() -> None:
        with pytest.raises(TopologyError, match=r"queue 'p.dead' on amqp://.* is not there, so there are no dead letters"):
            await rabbitmq.replay("p.dead", broker=broker(vhost))

    run(main)


def test_letters_can_be_sent_to_a_queue_of_choice(vhost: str) -> None:
    async def main() -> None:
        at = broker(vhost)
        await write(rabbitmq.queue("in", broker=at), 1, 2)
        flow = rabbitmq.queue("in", int, broker=at) | map(fail) | dead_letter("mine") | rabbitmq.queue("out", broker=at)
        await Pipeline("p", flow).start(until_empty=True)
        assert await rabbitmq.replay("mine", broker=at) == (2, {})

    run(main)
