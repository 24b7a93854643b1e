"""``warren publish``: lines of JSON become messages."""

from __future__ import annotations

import asyncio
import base64
import os
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, BinaryIO

import click
import msgspec

from warren.apps.showing import as_json, say
from warren.connectors import address as addresses
from warren.core.codecs import BYTES, JSON, TEXT, encode
from warren.core.errors import DecodeError, GraphError, PartialWriteError
from warren.core.graph import Outlet
from warren.core.message import Metadata, Outgoing
from warren.core.wakeful import run
from warren.core.words import plural

__all__ = ["message", "publish"]

_BYTES = 1 << 16


class _Record(msgspec.Struct, forbid_unknown_fields=False):
    """A message with what is known of it; what ``peek --json`` prints besides is left aside."""

    body: msgspec.Raw = msgspec.Raw()
    text: str | None = None
    base64: str | None = None
    id: str = ""
    key: str | None = None
    headers: Mapping[str, str] = {}
    content_type: str = ""


_read = msgspec.json.Decoder(_Record).decode
_check = msgspec.json.Decoder(Any).decode


@click.command(
    epilog="\b\nExamples:\n  warren publish sqlite:///var/orders.db?queue=orders orders.ndjson\n"
    "  warren peek ADDRESS --json | warren publish OTHER --records"
)
@click.argument("address")
@click.argument("file", type=click.File("rb"), default="-")
@click.option("--records", is_flag=True, help="Each line holds body (or text, or base64), and may hold key, headers and id.")
@as_json
def publish(address: str, file: BinaryIO, records: bool, as_json: bool) -> None:
    """Publish each line of FILE, or of the standard input, as a JSON message to ADDRESS.

    Done when the last one is confirmed. A line that is no JSON ends it; the lines before it are published.
    """
    outlet = run(_outlet(address))
    sent = 0

    async def write() -> None:
        nonlocal sent
        connection = await outlet.open()
        try:
            async for lines in _lines(file):
                values: list[bytes] = []
                known: list[Metadata] = []
                problem: Exception | None = None
                for number, line in lines:
                    try:
                        body, metadata = message(line, records)
                    except (ValueError, msgspec.MsgspecError) as error:
                        problem = DecodeError(f"line {number} is no message: {error}; correct it and publish from there on")
                        break
                    values.append(body)
                    known.append(metadata)
                if values:
                    try:
                        await connection.write(Outgoing(values, known.__getitem__))
                    except PartialWriteError as error:
                        sent += len(values) - len(error.errors)
                        raise
                    sent += len(values)
                if problem is not None:
                    raise problem
        finally:
            await connection.close()

    try:
        run(write())
    finally:
        if as_json:
            say({"published": sent})
        else:
            click.echo(f"{plural(sent, 'message is', 'messages are')} published.", err=True)


async def _outlet(address: str) -> Outlet[Any]:
    """What writes to an address; a queue must be there, as a misspelt name would otherwise become one."""
    parts = addresses.parse(address)
    if "queue" not in parts.options:
        return addresses.sink(address)
    admin, queue = addresses.admin(address)
    await admin.queue(queue)
    return admin.outlet(queue)


def message(line: bytes, records: bool) -> tuple[bytes, Metadata]:
    """A line as a message: its value, or a record of one. Raises `ValueError` and msgspec's errors where it is none."""
    if not records:
        _check(line)
        return line, Metadata(content_type=JSON)
    record = _read(line)
    given = [each for each in (bytes(record.body) or None, record.text, record.base64) if each is not None]
    if len(given) != 1:
        raise ValueError("it needs one of body, text and base64")
    if record.text is not None:
        body, kind = record.text.encode(), record.content_type or TEXT
    elif record.base64 is not None:
        body, kind = base64.b64decode(record.base64, validate=True), record.content_type or BYTES
    else:
        body, kind = encode(_check(record.body), record.content_type or JSON)
    return body, Metadata(id=record.id, key=record.key, headers=record.headers, content_type=kind)


async def _lines(file: BinaryIO) -> AsyncIterator[list[tuple[int, bytes]]]:
    """Lines as they come, with their numbers; empty ones are left out."""
    loop = asyncio.get_running_loop()
    came: asyncio.Queue[bytes | Exception] = asyncio.Queue(maxsize=4)

    take = _taker(file)

    def read() -> None:
        # A thread of its own, without the lock of a buffer: one that waits for a silent pipe must not keep the program
        # from ending.
        try:
            while True:
                data = take()
                asyncio.run_coroutine_threadsafe(came.put(data), loop).result()
                if not data:
                    return
        except Exception as error:
            if not loop.is_closed():
                asyncio.run_coroutine_threadsafe(came.put(error), loop)

    threading.Thread(target=read, daemon=True).start()
    number, rest = 1, b""
    while True:
        data = await came.get()
        if isinstance(data, Exception):
            raise GraphError(f"the input cannot be read: {data}") from data
        *lines, rest = (rest + data).split(b"\n") if data else (rest, b"")
        if found := [(n, line) for n, line in enumerate(lines, number) if line.strip()]:
            yield found
        number += len(lines)
        if not data:
            return


def _taker(file: BinaryIO) -> Callable[[], bytes]:
    """What gives the bytes that are there, and waits where there are none."""
    try:
        number = file.fileno()
    except OSError:
        return lambda: file.read(_BYTES)
    return lambda: os.read(number, _BYTES)
