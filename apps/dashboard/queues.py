"""Queues and dead letters as a page shows them: what the command line does, for a browser."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import aclosing
from typing import Any

import msgspec

from warren.apps.peek import peeked
from warren.apps.showing import cut, record
from warren.apps.where import parse
from warren.connectors import address as addresses
from warren.connectors import rabbitmq, sqlite
from warren.connectors.rabbitmq.admin import BrokerAdmin
from warren.connectors.sqlite.admin import FileAdmin
from warren.core.admin import ERROR, SOURCE, Admin, Chosen, Pace
from warren.core.errors import AddressError, ConnectorError
from warren.core.health import QueueHealth
from warren.core.message import Metadata
from warren.pipelines import Pipeline
from warren.pipelines.plan import outlets

__all__ = ["Caution", "Queues", "admins_at", "admins_of"]

_MOST = 1000
_WITHIN = 10.0


class Caution(Exception):
    """A look would not leave the messages as they are, so whoever looks must say that they know."""


def admins_at(places: Iterable[str]) -> dict[str, Admin]:
    """What looks after the queues at these addresses, by a name without a password. Raises `AddressError`."""
    return {addresses.parse(address).text.partition("?")[0]: addresses.admin(address)[0] for address in places}


def admins_of(pipeline: Pipeline) -> dict[str, Admin]:
    """What looks after the queues that a pipeline reads and writes, as far as it can be done from outside of it."""
    found: dict[str, Admin] = {}
    for end in (*pipeline.flow.source.inlets(), *outlets(pipeline.flow)):
        if isinstance(end, sqlite.Queue):
            found[f"sqlite:{end.path}"] = FileAdmin(end.path)
        elif isinstance(end, rabbitmq.Queue | rabbitmq.Exchange):
            found[str(end.broker.servers[0])] = BrokerAdmin(end.broker)
    return found


class Queues:
    """The queues of some brokers and files. ``known`` tells names, for a broker that does not list its queues."""

    def __init__(self, admins: Mapping[str, Admin], known: Callable[[], Collection[str]]) -> None:
        self.admins = admins
        self._known = known

    async def all(self) -> list[dict[str, Any]]:
        """How every queue stands; for a place that cannot say, the reason."""
        found: list[dict[str, Any]] = []
        for place, admin in self.admins.items():
            try:
                async with asyncio.timeout(_WITHIN):
                    queues = await self._listed(admin)
                found += [{"place": place, **msgspec.to_builtins(each)} for each in queues]
            except (ConnectorError, TimeoutError) as error:
                found.append({"place": place, "error": str(error) or f"no answer within {_WITHIN:g} s"})
        return found

    async def _listed(self, admin: Admin) -> list[QueueHealth]:
        try:
            return list(await admin.queues())
        except ConnectorError as error:
            found = []
            for name in sorted(self._known()):
                try:
                    found.append(await admin.queue(name))
                except ConnectorError:
                    continue
            if not found:
                raise error from None
            return found

    async def letters(self, place: str, queue: str, where: str, limit: int, *, aware: bool) -> list[dict[str, Any]]:
        """The first messages that wait in a queue and are meant, without their bodies."""
        admin = self._at(place)
        await self._careful(admin, queue, aware)
        async with aclosing(peeked(admin, queue, _chosen(where, None), min(limit, _MOST))) as messages:
            return [_row(metadata) async for metadata, _ in messages]

    async def letter(self, place: str, queue: str, id: str, *, aware: bool) -> dict[str, Any]:
        """One message with its body. Raises `AddressError` where it is not there any more."""
        admin = self._at(place)
        await self._careful(admin, queue, aware)
        async with aclosing(peeked(admin, queue, lambda each: each.id == id, 1)) as messages:
            async for metadata, body in messages:
                return record(metadata, body)
        raise AddressError(f"there is no message {id!r} in {queue!r} any more")

    async def replay(
        self,
        place: str,
        queue: str,
        where: str,
        ids: Collection[str] | None,
        *,
        rate: float | None,
        rehearse: bool,
        aware: bool,
    ) -> dict[str, Any]:
        """Send letters back to where they came from; with ``rehearse`` only say how many would go where."""
        admin, chosen = self._at(place), _chosen(where, ids)
        Pace(rate)
        await self._careful(admin, queue, aware)
        if rehearse:
            would: Counter[str] = Counter()
            async with aclosing(peeked(admin, queue, lambda each: ERROR in each.headers and chosen(each), None)) as letters:
                async for metadata, _ in letters:
                    would[metadata.headers.get(SOURCE, "")] += 1
            return {"would": dict(would)}
        done = await admin.replay(queue, chosen, limit=None, rate=rate)
        return {"moved": done.moved, "left": dict(done.left), "repeated": done.repeated}

    async def drop(self, place: str, queue: str, where: str, ids: Collection[str] | None, *, aware: bool) -> dict[str, Any]:
        """Remove messages for good."""
        admin, chosen = self._at(place), _chosen(where, ids)
        await self._careful(admin, queue, aware)
        return {"dropped": await admin.drop(queue, chosen)}

    def _at(self, place: str) -> Admin:
        if place not in self.admins:
            raise AddressError(f"this dashboard looks after no queues at {cut(place, 80)}")
        return self.admins[place]

    async def _careful(self, admin: Admin, queue: str, aware: bool) -> None:
        if not aware and (caution := await admin.caution(queue)):
            raise Caution(caution)


def _chosen(where: str, ids: Collection[str] | None) -> Chosen:
    fits = parse(where) if where.strip() else lambda message: True
    if ids is None:
        return fits
    wanted = frozenset(ids)
    return lambda message: message.id in wanted and fits(message)


def _row(metadata: Metadata) -> dict[str, Any]:
    headers = metadata.headers
    try:
        failed = float(headers.get("warren-last-failed", metadata.timestamp))
    except ValueError:
        failed = metadata.timestamp
    told = {
        name: headers.get(f"warren-{name}", "") for name in ("error", "reason", "stage", "source", "pipeline", "attempts")
    }
    return {"id": metadata.id, "key": metadata.key, "age": time.time() - failed if failed else None, **told}
