"""Errors as services, drivers and parsers word them, by class; numbers, ids, hosts and names differ from one to the next."""

import random
import string
from collections.abc import Iterator

__all__ = ["SAID", "said"]

SAID: dict[str, tuple[str, list[tuple[str, str]]]] = {
    "refused": (
        "transient",
        [
            ("ConnectionRefusedError", "[Errno 111] Connect call failed ('{ip}', {port})"),
            ("ConnectionRefusedError", "[Errno 111] Connection refused: {host}:{port}"),
        ],
    ),
    "reset": (
        "transient",
        [
            ("ConnectionResetError", "[Errno 104] Connection reset by peer"),
            ("ConnectionResetError", "connection to {host}:{port} was reset by peer after {n} bytes"),
        ],
    ),
    "read timeout": (
        "transient",
        [
            ("ReadTimeout", "HTTPSConnectionPool(host='{host}', port=443): Read timed out. (read timeout={n})"),
            ("ReadTimeout", "HTTPConnectionPool(host='{ip}', port={port}): Read timed out. (read timeout={f})"),
        ],
    ),
    "deadlock": (
        "transient",
        [
            (
                "DeadlockDetected",
                "deadlock detected DETAIL: Process {n} waits for ShareLock on transaction {n}; blocked by process {n}. "
                "Process {n} waits for ShareLock on transaction {n}; blocked by process {n}.",
            ),
            ("DeadlockDetected", "deadlock detected CONTEXT: while updating tuple ({n},{n}) in relation {word}_{word}"),
        ],
    ),
    "rate limit": (
        "overload",
        [
            ("RateLimitError", "HTTP 429 Too Many Requests: rate limit of {n} requests per minute reached for key {id}"),
            ("RateLimitError", "HTTP 429 Too Many Requests: retry after {n} seconds (request {uuid})"),
        ],
    ),
    "pool": (
        "overload",
        [
            ("PoolTimeout", "QueuePool limit of size {n} overflow {n} reached, connection timed out, timeout {f}"),
            ("PoolTimeout", "QueuePool limit reached: {n} connections in use by {word}, timeout {f}"),
        ],
    ),
    "service unavailable": (
        "transient",
        [
            ("HTTPStatusError", "Server error '503 Service Unavailable' for url 'https://{host}/v1/{word}/{n}'"),
            ("HTTPStatusError", "Server error '503 Service Unavailable' for url 'http://{ip}:{port}/{word}?id={uuid}'"),
        ],
    ),
    "no customer": (
        "poison",
        [
            ("ValueError", "order {n} has no customer"),
            ("ValueError", "order {id} has no customer (region {word})"),
        ],
    ),
    "bad json": (
        "poison",
        [
            ("DecodeError", "JSON is malformed: invalid character (byte {n})"),
            ("DecodeError", "JSON is malformed: expected ',' or '}}' (byte {n})"),
        ],
    ),
    "missing field": (
        "poison",
        [
            ("ValidationError", "Object missing required field `{word}`"),
            ("ValidationError", "Object missing required field `{word}` - at `$.{word}[{n}].{word}`"),
        ],
    ),
    "wrong type": (
        "poison",
        [
            ("ValidationError", "Expected `int`, got `str` - at `$.{word}`"),
            ("ValidationError", "Expected `float | null`, got `object` - at `$.{word}[...].{word}`"),
        ],
    ),
    "denied": (
        "permanent",
        [
            ("InsufficientPrivilege", "permission denied for table {word}"),
            ("InsufficientPrivilege", "permission denied for schema {word}_{n}"),
        ],
    ),
    "no table": (
        "permanent",
        [
            ("UndefinedTable", 'relation "{word}_{n}" does not exist LINE {n}: SELECT * FROM {word}'),
            ("UndefinedTable", 'relation "{word}" does not exist'),
        ],
    ),
    "no file": (
        "permanent",
        [
            ("FileNotFoundError", "[Errno 2] No such file or directory: '/var/lib/{word}/{uuid}.csv'"),
            ("FileNotFoundError", "[Errno 2] No such file or directory: '/srv/{word}/{n}/{word}.parquet'"),
        ],
    ),
    "certificate": (
        "permanent",
        [
            (
                "SSLCertVerificationError",
                "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: certificate has expired (_ssl.c:{n})",
            ),
            (
                "SSLCertVerificationError",
                "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: Hostname mismatch, certificate is not valid "
                "for '{host}'. (_ssl.c:{n})",
            ),
        ],
    ),
    "duplicate": (
        "poison",
        [
            (
                "UniqueViolation",
                'duplicate key value violates unique constraint "{word}_pkey" DETAIL: Key (id)=({n}) already exists.',
            ),
            (
                "UniqueViolation",
                'duplicate key value violates unique constraint "{word}_{word}_key" DETAIL: Key ({word})=({uuid}) '
                "already exists.",
            ),
        ],
    ),
    "unauthorised": (
        "permanent",
        [
            ("HTTPStatusError", "Client error '401 Unauthorized' for url 'https://{host}/v1/{word}/{n}'"),
            ("HTTPStatusError", "Client error '401 Unauthorized' for url 'https://{host}/{word}?page={n}'"),
        ],
    ),
    "name resolution": (
        "transient",
        [
            ("gaierror", "[Errno -3] Temporary failure in name resolution"),
            ("gaierror", "[Errno -3] Temporary failure in name resolution for {host}"),
        ],
    ),
}
"""Of each class what to do about it, and how it is worded."""

_WORDS = [
    "orders",
    "customers",
    "invoices",
    "payments",
    "shipments",
    "events",
    "users",
    "carts",
    "prices",
    "stock",
    "returns",
    "tickets",
    "labels",
    "routes",
]
_HOSTS = ("db-{n}.eu-west.internal", "api.{word}.example.com", "{word}-{n}.svc", "cache{n}.corp.lan", "mq-{n}.cluster.local")


def _filled(text: str, draw: random.Random) -> str:
    def field(name: str) -> str:
        if name == "host":
            return _filled(draw.choice(_HOSTS), draw)
        return {
            "ip": lambda: ".".join(str(draw.randrange(1, 255)) for _ in range(4)),
            "port": lambda: str(draw.randrange(1000, 65000)),
            "n": lambda: str(draw.randrange(1, 10 ** draw.randrange(1, 8))),
            "f": lambda: f"{draw.uniform(0.5, 60):.2f}",
            "id": lambda: draw.choice("CKO") + "".join(draw.choices(string.digits + "ABCDEF", k=draw.randrange(5, 10))),
            "uuid": lambda: "-".join("".join(draw.choices("0123456789abcdef", k=k)) for k in (8, 4, 4, 4, 12)),
            "word": lambda: draw.choice(_WORDS),
        }[name]()

    parts = string.Formatter().parse(text)
    return "".join(said + (field(name) if name else "") for said, name, _, _ in parts)


def said(each: int, seed: int = 0) -> Iterator[tuple[str, str, str]]:
    """So many failures of each class: the class, the type and the text."""
    draw = random.Random(seed)
    for name, (_, wordings) in SAID.items():
        for i in range(each):
            type, text = wordings[i % len(wordings)]
            yield name, type, _filled(text, draw)
