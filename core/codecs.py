"""Codecs: bytes to values and back, chosen by content type.

========================================= ================================================================
``application/json``, ``…+json``, or none any type msgspec knows, and pydantic models
``application/msgpack``                   the same
``application/vnd.apache.arrow.stream``   a Polars ``DataFrame``, a pyarrow ``Table`` or ``RecordBatch``; with
                                          ``; compression=zstd`` behind it they are written packed
``text/plain``                            ``str`` and what msgspec can convert text to
``application/octet-stream``              bytes as they are; says nothing else, so a declared type is read as JSON
========================================= ================================================================

More are added with `register`, or by packages through the entry point group ``warren.codecs`` (docs/plugins.md); these
replace none that is there.
"""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, Protocol, get_args, get_origin

import msgspec

from warren.core import plugins
from warren.core.arrow import ARROW, ARROW_LZ4, ARROW_ZSTD, ArrowCodec, is_frame
from warren.core.errors import DecodeError, EncodeError, GraphError, shorten

__all__ = [
    "ARROW",
    "ARROW_LZ4",
    "ARROW_ZSTD",
    "BYTES",
    "JSON",
    "MSGPACK",
    "TEXT",
    "Codec",
    "converter",
    "decode_error",
    "decoder",
    "encode",
    "encoder",
    "explain",
    "register",
    "to_plain",
]

JSON = "application/json"
MSGPACK = "application/msgpack"
BYTES = "application/octet-stream"
TEXT = "text/plain"

_OFFSET = re.compile(r"\(byte (\d+)\)")


class Codec(Protocol):
    """Reads and writes one content type."""

    @property
    def content_types(self) -> Sequence[str]:
        """The content types it reads, in lower case and without parameters; the first is the one it writes."""
        ...

    def decoder(self, type: Any) -> Callable[[bytes], Any]:
        """The fastest callable from bytes to ``type``, raising what it likes; `TypeError` where it knows no such type."""
        ...

    def encoder(self) -> Callable[[Any], bytes]:
        """The fastest callable from a value to bytes; it raises what it likes."""
        ...


class _Json:
    content_types = (JSON, "text/json")

    def decoder(self, type: Any) -> Callable[[bytes], Any]:
        if is_frame(type):
            raise TypeError(f"a data frame is sent as {ARROW}")
        if _has_model(type):
            if hasattr(type, "model_validate_json"):
                return type.model_validate_json  # type: ignore[no-any-return]  # a pydantic class
            return _adapter(type).validate_json  # type: ignore[no-any-return]  # a pydantic type adapter
        return msgspec.json.Decoder(type).decode

    def encoder(self) -> Callable[[Any], bytes]:
        return _json_encode


class _Msgpack:
    content_types = (MSGPACK, "application/x-msgpack", "application/vnd.msgpack")

    def decoder(self, type: Any) -> Callable[[bytes], Any]:
        if is_frame(type):
            raise TypeError(f"a data frame is sent as {ARROW}")
        if _has_model(type):
            validate = _adapter(type).validate_python
            return lambda body: validate(msgspec.msgpack.decode(body))
        return msgspec.msgpack.Decoder(type).decode

    def encoder(self) -> Callable[[Any], bytes]:
        return _msgpack_encode


class _Text:
    content_types = (TEXT,)

    def decoder(self, type: Any) -> Callable[[bytes], Any]:
        if type is str or type is Any:
            return bytes.decode
        if is_frame(type) or _has_model(type):
            raise TypeError("text is read as str, a number, a date or an enum")
        return lambda body: msgspec.convert(body.decode(), type, strict=False)

    def encoder(self) -> Callable[[Any], bytes]:
        return lambda value: str(value).encode()


class _Bytes:
    content_types = (BYTES,)

    def decoder(self, type: Any) -> Callable[[bytes], Any]:
        return decoder(type, "")

    def encoder(self) -> Callable[[Any], bytes]:
        return bytes


_codecs: dict[str, Codec] = {}


def register(codec: Codec) -> Codec:
    """Add a codec, or replace the one for its content types.

    >>> class Upper:
    ...     content_types = ("text/x-upper",)
    ...     def decoder(self, type): return lambda body: body.decode().lower()
    ...     def encoder(self): return lambda value: value.upper().encode()
    >>> codec = register(Upper())
    >>> encode("ab", "text/x-upper"), decoder(str, "text/x-upper")(b"AB")
    ((b'AB', 'text/x-upper'), 'ab')
    """
    for content_type in codec.content_types:
        _codecs[content_type] = codec
    return codec


BUILT_IN = tuple(
    plugins.Plugin("codec", name, f"warren.core.{value}")
    for name, value in [
        ("json", "codecs:_Json"),
        ("msgpack", "codecs:_Msgpack"),
        ("arrow", "arrow:ArrowCodec"),
        ("text", "codecs:_Text"),
        ("bytes", "codecs:_Bytes"),
    ]
)
"""The codecs that are always there."""

for _plugin in BUILT_IN:
    register(_plugin.load())


def decoder(type: Any, content_type: str = "") -> Callable[[bytes], Any]:
    """The fastest callable that turns the bytes of one content type into a type; make it once and keep it.

    For JSON and a type msgspec knows it is the bound ``msgspec.json.Decoder(type).decode`` itself, so it raises what
    msgspec raises: hand that to `decode_error`. With the type ``None`` or ``bytes``, bodies stay as they are whatever
    their content type; `typing.Any` takes what the bytes say. No content type means JSON, or Arrow for data frames.

    Raises `DecodeError` for a content type no codec reads, and `GraphError` for a type that its codec cannot give.

    >>> decoder(list[int])(b"[1, 2]")
    [1, 2]
    """
    if type is None or type is bytes:
        return bytes
    codec = _find(content_type or (ARROW if is_frame(type) else JSON))
    if codec is None:
        raise DecodeError(f"no codec reads the content type {content_type!r}: {_remedy()}")
    try:
        return codec.decoder(type)
    except TypeError as error:
        raise GraphError(
            f"{getattr(type, '__name__', type)!s} cannot be read from {content_type or JSON}: {error}; "
            "declare a msgspec.Struct, a dataclass, a TypedDict, a built-in type or a pydantic model"
        ) from error


def encoder(content_type: str = JSON) -> Callable[[Any], bytes]:
    """The fastest callable that turns values into one content type, for writing many; it raises what the codec raises.

    It has no rule of its own for values that are already bytes (JSON writes them as base64 text): `encode` has.

    Raises `EncodeError` for a content type no codec writes.

    >>> list(map(encoder(), [1, "a"]))
    [b'1', b'"a"']
    """
    return _writer(content_type or JSON)[0]


def _writer(content_type: str) -> tuple[Callable[[Any], bytes], str]:
    """The encoder of a content type, and the content type that its messages carry."""
    codec = _find(content_type)
    if codec is None:
        raise EncodeError(f"no codec writes the content type {content_type!r}: {_remedy()}")
    if isinstance(codec, ArrowCodec):
        return codec.encoder(content_type.partition(";")[2]), ARROW
    return codec.encoder(), content_type


def encode(value: Any, content_type: str | None = None) -> tuple[bytes, str]:
    """The bytes of a value, and their content type.

    Bytes pass unchanged. Without a content type, data frames become Arrow and everything else JSON.

    Raises `EncodeError` for a value or a content type that cannot be written.

    >>> encode({"a": 1}), encode(b"raw")
    ((b'{"a":1}', 'application/json'), (b'raw', 'application/octet-stream'))
    """
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value), content_type or BYTES
    chosen = content_type or (ARROW if is_frame(type(value)) else JSON)
    write, sent_as = _writer(chosen)
    try:
        return write(value), sent_as
    except Exception as error:
        raise EncodeError(
            f"a value of type {type(value).__name__} cannot be written as {chosen}: {error}; the value is "
            f"{shorten(value)}. Map it to a msgspec.Struct, a dataclass, a dict, a built-in type or bytes first"
        ) from error


def converter(type: Any) -> Callable[[Any], Any]:
    """The fastest callable from dicts, lists and plain Python values to a type; it raises what msgspec or pydantic raises.

    Raises `GraphError` for a type neither of them knows.

    >>> converter(dict[str, float])({"a": 1})
    {'a': 1.0}
    """
    try:
        if _has_model(type):
            return _adapter(type).validate_python  # type: ignore[no-any-return]  # a pydantic type adapter
        msgspec.json.Decoder(type)
    except TypeError as error:
        raise GraphError(
            f"nothing can be read as {getattr(type, '__name__', type)!s}: {error}; declare a msgspec.Struct, a dataclass, a "
            "TypedDict, a built-in type or a pydantic model"
        ) from error
    return functools.partial(msgspec.convert, type=type)


def decode_error(error: Exception, body: bytes, where: str) -> DecodeError:
    """What a codec raised for a body, as one sentence with the reason, the field or the byte, and a view of the body.

    >>> try: decoder(dict[str, int])(b'{"a": "x"}')
    ... except Exception as error: print(decode_error(error, b'{"a": "x"}', "orders"))
    orders: a message cannot be decoded: Expected `int`, got `str` - at `$[...]`; the body is b'{"a": "x"}'
    """
    if isinstance(error, DecodeError):
        return error
    reason, offset = _reason(error, body)
    start = max(0, offset - 40) if len(body) > 100 else 0
    view = (
        f"the body is {shorten(body)}"
        if not start
        else f"from byte {start} the body is {shorten(body[start : start + 100])}"
    )
    decoded = DecodeError(f"{where}: a message cannot be decoded: {reason}; {view}")
    decoded.__cause__ = error
    return decoded


def explain(error: Exception) -> str:
    """What msgspec, pydantic or a codec says of a value that does not fit, in one line that names the field.

    >>> try: converter(dict[str, int])({"a": "x"})
    ... except Exception as error: print(explain(error))
    Expected `int`, got `str` - at `$[...]`
    """
    errors: Any = getattr(error, "errors", None)
    if callable(errors):
        details: Any = errors()
        first, *more = details
        path = "$" + "".join(f"[{at}]" if isinstance(at, int) else f".{at}" for at in first["loc"])
        return f"{first['msg']} - at `{path}`" + (f" (and {len(more)} more)" if more else "")
    return str(error) or type(error).__name__


def _reason(error: Exception, body: bytes) -> tuple[str, int]:
    """Why a body could not be decoded, and near which byte (0 where that is not known)."""
    if isinstance(error, UnicodeDecodeError):
        # A codec hands one text of the body to the UTF-8 decoder, which counts from the start of that text.
        offset = max(0, body.find(error.object)) + error.start
        return f"it is not UTF-8: {error.reason} (byte {offset})", offset
    text = explain(error)
    if text == "Input data was truncated":
        return f"{text} (byte {len(body)})", len(body)
    found = _OFFSET.search(text)
    return text, int(found[1]) if found else 0


def _find(content_type: str) -> Codec | None:
    codec = _codecs.get(content_type)
    if codec is not None:
        return codec
    name = content_type.partition(";")[0].strip().lower()
    if name.endswith("+json"):
        name = JSON
    if name not in _codecs:
        added = [each for each in plugins.installed("codec") if not each.fault and name in each.load().content_types]
        plugin = plugins.choose(f"a codec for {name}", added)
        if plugin is not None:
            _codecs[name] = plugin.load()
    return _codecs.get(name)


def _remedy() -> str:
    known = ", ".join(codec.content_types[0] for codec in dict.fromkeys(_codecs.values()))
    broken = "".join(f"; {each!r} does not load: {each.fault}" for each in plugins.installed("codec") if each.fault)
    return f"use one of {known}, or add a codec with warren.core.codecs.register{broken}"


def _has_model(type_: Any) -> bool:
    """Whether a type is, or contains, a pydantic model."""
    if get_origin(type_) is not None:
        return any(map(_has_model, get_args(type_)))
    return hasattr(type_, "__pydantic_validator__")


def _adapter(type_: Any) -> Any:
    import pydantic

    return pydantic.TypeAdapter(type_)


def _to_json(value: Any) -> Any:
    """What JSON knows for a value msgspec does not know."""
    if hasattr(value, "__pydantic_serializer__"):
        return msgspec.Raw(value.model_dump_json().encode())
    return to_plain(value)


def to_plain(value: Any) -> Any:
    """What a value that msgspec does not know stands for in dicts, lists and numbers; `TypeError` where it is nothing."""
    if hasattr(value, "__pydantic_serializer__"):
        return value.model_dump()
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.generic):
        return value.item()
    if numpy is not None and isinstance(value, numpy.ndarray):
        return value.tolist()
    raise TypeError(f"objects of type {type(value).__name__} are unknown to it")


_json_encode = msgspec.json.Encoder(enc_hook=_to_json).encode
_msgpack_encode = msgspec.msgpack.Encoder(enc_hook=to_plain).encode
