"""Dead letters go back to the queues they came from, as the messages they were."""

from __future__ import annotations

from base64 import b64decode
from collections import Counter
from collections.abc import Callable
from typing import Any

from warren.connectors.rabbitmq import frames
from warren.connectors.rabbitmq.broker import Broker
from warren.connectors.rabbitmq.messages import ERROR, FIRST_FAILED, KEY, PROPERTIES
from warren.connectors.rabbitmq.parking import copied
from warren.connectors.rabbitmq.port import Parcel
from warren.connectors.rabbitmq.queues import look
from warren.connectors.rabbitmq.sink import Publisher
from warren.connectors.rabbitmq.source import RabbitSource
from warren.connectors.rabbitmq.topology import QueueDeclaration
from warren.core.admin import LETTER, Pace, Replayed
from warren.core.errors import TopologyError
from warren.core.message import Batch, Metadata

__all__ = ["Replayed", "replay"]

ROW = "warren-row"
_OURS = "rabbitmq:"
_AT_ONCE = 500


async def replay(
    queue: str,
    *,
    broker: Broker | None = None,
    limit: int | None = None,
    where: Callable[[Metadata], bool] | None = None,
    rate: float | None = None,
    progress: Callable[[Replayed], None] | None = None,
) -> Replayed:
    """Send the dead letters in a queue back to the queues they came from; a letter goes when its message is confirmed there.

    The messages have the properties and headers that they came with, and begin with their first attempt; when they failed
    for the first time stays known. Letters that come while it works are left alone, so what fails again does not go round.

    - ``limit``: how many letters at most
    - ``where``: which of them, by what is known of each
    - ``rate``: how many a second at most
    - ``progress``: hears what is done, before letters go that may be there twice

    A letter stays where it is if it came from elsewhere, its queue is gone, or it is no letter. Killed halfway, it leaves up
    to 500 letters whose messages are back as well: ``repeated`` of the result is how many of those that went may be there
    twice. A classic queue does not tell how often it was interrupted; once is taken for it then.

    Raises `TopologyError` where there is no such queue, and `BrokerError` where the broker cannot be reached.
    """
    broker = Broker.given(broker)
    found = await look(queue, broker)
    if found is None:
        raise TopologyError(
            f"queue {queue!r} on {broker.servers[0]} is not there, so there are no dead letters in it; those of a pipeline "
            f"are in NAME.dead, unless it says otherwise"
        )
    left: Counter[str] = Counter()
    pace = Pace(rate)
    rest = found.ready if limit is None else min(limit, found.ready)
    if not rest:
        return Replayed(0, left)
    moved = again = most = 0

    def done() -> Replayed:
        result = Replayed(moved, left)
        # An interrupted replay had no more under way than it takes at once, however many were handed out to it.
        result.repeated = min(again, _AT_ONCE * most)
        return result

    publisher = Publisher(broker)
    # What stays is held until the end, as it would come again otherwise.
    source = RabbitSource(broker, QueueDeclaration(queue, passive=True), until_empty=True, credit=found.ready)
    try:
        await source.open()
        seen = 0
        while moved < rest and seen < found.ready:
            batch = await source.receive(min(pace.at_once(_AT_ONCE), rest - moved, found.ready - seen))
            if batch is None:
                break
            seen += len(batch)
            parcel, places = _restore(batch, where, left)
            before = [batch.deliveries[place] - 1 for place in places] if batch.deliveries is not None else []
            again += sum(map(bool, before))
            most = max(most, *before, 0)
            if progress is not None:
                progress(done())
            count = await _move(parcel, batch, places, source, publisher, left)
            moved += count
            if count:
                await pace.keep(count)
    finally:
        await source.close()
        await publisher.close()
    return done()


def _restore(batch: Batch, where: Callable[[Metadata], bool] | None, left: Counter[str]) -> tuple[Parcel, list[int]]:
    """The messages of those letters that are meant, and their places in the batch."""
    places: list[int] = []
    keys: list[str] = []
    ids: list[str] = []
    properties: list[bytes] = []
    for i in range(len(batch)):
        letter = batch.metadata(i)
        if where is not None and not where(letter):
            left["not chosen"] += 1
            continue
        target, reason = _target(letter)
        if reason:
            left[reason] += 1
            continue
        places.append(i)
        keys.append(target)
        restored = _restored(letter)
        ids.append(restored.message_id)
        properties.append(frames.write_properties(restored))
    return Parcel("", keys, ids, properties, [batch.bodies[i] for i in places]), places


async def _move(
    parcel: Parcel, batch: Batch, places: list[int], source: RabbitSource, publisher: Publisher, left: Counter[str]
) -> int:
    """Send messages back, and remove their letters; returns how many."""
    refused = await publisher.publish(parcel)
    left.update(str(reason) for reason in refused.values())
    handles = [batch.handles[place] for n, place in enumerate(places) if n not in refused]
    await source.acknowledge(handles)
    await source.flush()
    return len(handles)


def _target(letter: Metadata) -> tuple[str, str]:
    """The queue that a letter goes back to, or why it goes nowhere."""
    came_from = letter.headers.get("warren-source", "")
    if ERROR not in letter.headers or not came_from:
        return "", "it is no dead letter of a pipeline"
    if not came_from.startswith(_OURS):
        return "", f"it came from {came_from}, which is no queue of a RabbitMQ broker"
    return came_from.removeprefix(_OURS), ""


def _restored(letter: Metadata) -> frames.Properties:
    """The properties that the message of a letter had; where they are not known, what the letter says of it."""
    headers = letter.headers
    first = {FIRST_FAILED: headers[FIRST_FAILED]} if FIRST_FAILED in headers else {}
    try:
        origin = b64decode(headers.get(PROPERTIES, ""), validate=True)
        properties = frames.read_properties(copied(origin, first, expires=False)) if origin else None
    except ValueError:
        properties = None
    if properties is None:
        own: dict[str, Any] = {name: value for name, value in headers.items() if name not in LETTER}
        if letter.key is not None:
            own[KEY] = letter.key
        properties = frames.Properties(headers=frames.table(own | first), timestamp=max(0, int(letter.timestamp)))
    elif ROW not in headers:
        return properties._replace(delivery_mode=2)
    # A piece of a message goes by its own name, and was encoded anew.
    return properties._replace(delivery_mode=2, content_type=letter.content_type, message_id=letter.id)
