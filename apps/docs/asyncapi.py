"""A pipeline as an AsyncAPI 3.0 document: servers, channels, operations, messages and their schemas."""

from __future__ import annotations

import re
from typing import Any

from warren.apps.docs.contents import Contents, End
from warren.apps.docs.schemas import title_of

__all__ = ["document"]

_BINDING = {"bindingVersion": "0.3.0"}
_LETTER = {
    "warren-error": "The class of the error.",
    "warren-reason": "What the error says.",
    "warren-stage": "The step that failed.",
    "warren-fingerprint": "The same for errors that are alike.",
}


def document(told: Contents, version: str = "1.0.0") -> dict[str, Any]:
    """The AsyncAPI document of a pipeline, as plain values.

    >>> from warren import Pipeline
    >>> from warren.apps.docs.contents import contents
    >>> from warren.connectors import memory
    >>> made = document(contents(Pipeline("orders", memory.queue("in", str) | memory.queue("out"))))
    >>> made["asyncapi"], list(made["operations"])
    ('3.0.0', ['read-in', 'write-out', 'dead-letter-orders.dead'])
    """
    return _Document(told, version).made


class _Document:
    def __init__(self, told: Contents, version: str) -> None:
        self.told = told
        pipeline = told.pipeline
        self.made: dict[str, Any] = {
            "asyncapi": "3.0.0",
            "info": {"title": pipeline.name, "version": version, "description": str(pipeline.explain())},
            "defaultContentType": "application/json",
            "servers": {},
            "channels": {},
            "operations": {},
            "components": {"messages": {}, "schemas": told.schemas.named},
        }
        for end in told.ends:
            self.operation(end)

    def operation(self, end: End) -> None:
        channel, message = self.channel(end), self.message(end)
        self.made["channels"][channel]["messages"][message] = {"$ref": f"#/components/messages/{message}"}
        name = {"reads": "read", "writes": "write", "dead letters": "dead-letter"}[end.role]
        summary = {
            "reads": "Read; acknowledged when everything made of a message is safe.",
            "writes": "Written; a message counts as written when that is confirmed.",
            "dead letters": "What failed and no step took.",
        }
        made: dict[str, Any] = {
            "action": "receive" if end.role == "reads" else "send",
            "channel": {"$ref": f"#/channels/{channel}"},
            "summary": summary[end.role],
            "messages": [{"$ref": f"#/channels/{channel}/messages/{message}"}],
        }
        if end.place.operation:
            binding = {"ack": True} if end.role == "reads" else end.place.operation
            made["bindings"] = {_family(end): {**binding, **_BINDING}}
        self.made["operations"].setdefault(operation := f"{name}-{channel}", made)
        messages = self.made["operations"][operation]["messages"]
        messages += [each for each in made["messages"] if each not in messages]

    def channel(self, end: End) -> str:
        name = _key(end.name.partition(":")[2] or end.name)
        servers = [{"$ref": f"#/servers/{server}"} for server in self.servers(end)]
        made: dict[str, Any] = {"address": end.place.address, "title": end.name, "servers": servers, "messages": {}}
        if end.place.channel:
            made["bindings"] = {_family(end): {**end.place.channel, **_BINDING}}
        known, first, number = self.made["channels"], name, 1
        while {**known.setdefault(name, made), "messages": {}} != {**made, "messages": {}}:
            number += 1
            name = f"{first}-{number}"
        return name

    def servers(self, end: End) -> list[str]:
        place, names = end.place, []
        for host in place.hosts or ("localhost",):
            made = {"host": host, "protocol": place.protocol}
            if place.path:
                made["pathname"] = f"/{place.path.lstrip('/')}"
            if place.protocol.startswith("amqp"):
                made["protocolVersion"] = "0.9.1"
            servers, number = self.made["servers"], 1
            while servers.setdefault(name := f"{_key(place.protocol)}-{number}", made) != made:
                number += 1
            names.append(name)
        return names

    def message(self, end: End) -> str:
        schemas, title = self.told.schemas, title_of(end.type)
        made: dict[str, Any] = {"title": title, "payload": schemas.of(end.type)}
        if (content_type := schemas.content_type(end.type)) is not None:
            made["contentType"] = content_type
        if end.role == "dead letters":
            made["title"] = f"{title}, as it came"
            made["description"] = "A body that could not be decoded is one too, and is then none of these."
            title = f"dead-{title}"
            headers = {name: {"type": "string", "description": said} for name, said in _LETTER.items()}
            made["headers"] = {"type": "object", "properties": headers}
        known, name, number = self.made["components"]["messages"], _key(title), 1
        while known.setdefault(name, made) != made:
            number += 1
            name = f"{_key(title)}-{number}"
        return name


def _family(end: End) -> str:
    """The name of the protocol's bindings, which are the same with TLS."""
    return end.place.protocol.removesuffix("s") if end.place.protocol == "amqps" else end.place.protocol


def _key(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-") or "it"
