"""What the pages ask of queues and dead letters over HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from warren.apps.dashboard.queues import Caution, Queues
from warren.core.errors import WarrenError

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["answer", "asked", "read"]

T = TypeVar("T")


class _Meant(msgspec.Struct, forbid_unknown_fields=True):
    """Which messages of a queue a change is for: those with these ``ids``, or all, that ``where`` says."""

    place: str
    queue: str
    where: str = ""
    ids: list[str] | None = None
    rate: float | None = None
    rehearse: bool = False
    aware: bool = False


def asked(app: web.Application, queues: Queues) -> None:
    """Have the questions and changes of the pages answered."""

    async def all(request: web.Request) -> Any:
        return await queues.all()

    async def letters(request: web.Request) -> Any:
        given = request.query
        limit = given.get("limit", "100")
        return await queues.letters(
            *(given.get("place", ""), given.get("queue", ""), given.get("where", "")),
            int(limit) if limit.isdecimal() and int(limit) else 100,
            aware="aware" in given,
        )

    async def letter(request: web.Request) -> Any:
        given = request.query
        place, queue, id = (given.get(name, "") for name in ("place", "queue", "id"))
        return await queues.letter(place, queue, id, aware="aware" in given)

    async def replay(request: web.Request) -> Any:
        meant = await read(request, _Meant)
        chosen = meant.place, meant.queue, meant.where, meant.ids
        return await queues.replay(*chosen, rate=meant.rate, rehearse=meant.rehearse, aware=meant.aware)

    async def drop(request: web.Request) -> Any:
        meant = await read(request, _Meant)
        return await queues.drop(meant.place, meant.queue, meant.where, meant.ids, aware=meant.aware)

    for path, call in {"queues": all, "letters": letters, "letter": letter}.items():
        app.router.add_get(f"/api/{path}", _answered(call))
    for path, call in {"replay": replay, "drop": drop}.items():
        app.router.add_post(f"/api/{path}", _answered(call))


def _answered(call: Callable[[web.Request], Awaitable[Any]]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        try:
            return answer(await call(request))
        except Caution as caution:
            return answer({"caution": str(caution)}, 409)
        except WarrenError as error:
            return answer({"error": str(error)}, 400)

    return handle


async def read(request: web.Request, kind: type[T]) -> T:
    """What was sent, as JSON."""
    from aiohttp import web

    try:
        return msgspec.json.decode(await request.read(), type=kind)
    except msgspec.MsgspecError as error:
        raise web.HTTPBadRequest(text=f"this is not what is asked for: {error}\n") from error


def answer(value: Any, status: int = 200) -> web.Response:
    """A value as JSON."""
    from aiohttp import web

    return web.Response(body=msgspec.json.encode(value, enc_hook=str), status=status, content_type="application/json")
