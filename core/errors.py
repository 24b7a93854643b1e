"""Every error warren raises, drawn once.

WarrenError
├── GraphError            a pipeline that cannot work, refused when it is built
├── AddressError          an address or a name that leads nowhere
├── PluginError           a plugin that does not load, or one of several with the same name; an ImportError too
├── ConnectorError        a source or a sink that cannot do its part; the pipeline stops, nothing is acknowledged
│   ├── StorageError      a file, folder or disk that cannot be read or written
│   ├── BrokerError       a broker that cannot be reached, or refuses
│   ├── TopologyError     a queue or an exchange that is missing, or is there and differs
│   └── PartialWriteError some messages of one write could not be written; the others are safe
├── CircuitOpenError      a call that was not made, as those before it failed; one message's failure, worth a retry
├── RetryBudgetError      a message that was not tried again, as too many others were; one message's failure
├── StateError            what steps remember and the pipeline do not fit each other, or cannot be kept
├── DataError             recordings or figures that cannot answer what is asked of them
├── StalledError          every credit is held by steps that wait for more messages
├── ShutdownError         the deadline passed with messages still in flight; they went back to their source
└── MessageError          one message that cannot go on; it becomes a failure and never ends the stream
    ├── DecodeError       the bytes are not what the source's type says
    ├── EncodeError       a value the sink's codec cannot write
    ├── HandlerError      a handler that answered with the wrong type
    ├── UnroutableError   no branch for a message, and no default
    ├── LateError         an event older than the window that would have held it
    ├── PoisonError       a message delivered too often without ever being settled
    ├── ValidationError   a value that is not what its pipeline demands
    └── RejectedError     a message a step sent to the dead letters on purpose
"""

from __future__ import annotations

import hashlib
import traceback
from collections.abc import Mapping
from typing import Any

__all__ = [
    "AddressError",
    "BrokerError",
    "CircuitOpenError",
    "ConnectorError",
    "DataError",
    "DecodeError",
    "EncodeError",
    "GraphError",
    "HandlerError",
    "LateError",
    "MessageError",
    "PartialWriteError",
    "PluginError",
    "PoisonError",
    "RejectedError",
    "RetryBudgetError",
    "ShutdownError",
    "StalledError",
    "StateError",
    "StorageError",
    "TopologyError",
    "UnroutableError",
    "ValidationError",
    "WarrenError",
    "exception_types",
    "fingerprint",
    "shorten",
]


class WarrenError(Exception):
    """The root of every error warren raises on purpose."""


class GraphError(WarrenError):
    """A pipeline that cannot work: the sentence names the step and the remedy."""


class AddressError(WarrenError):
    """An address, module or pipeline name that leads nowhere."""


class PluginError(WarrenError, ImportError):
    """What another package adds to warren cannot be used: it does not load, or its name says several things."""


class DataError(WarrenError):
    """Recordings, series or figures cannot answer what is asked of them: the sentence says what is missing or wrong."""


class ConnectorError(WarrenError):
    """A source or a sink cannot do its part; the pipeline stops and its unsettled messages go back to their source."""


class StorageError(ConnectorError):
    """A file, folder or disk cannot be read or written: corrupt, read-only, missing or full."""


class BrokerError(ConnectorError):
    """A broker cannot be reached, refuses the login, or speaks another protocol."""


class TopologyError(ConnectorError):
    """A queue or an exchange is missing, or is there with other properties than the pipeline declares."""


class PartialWriteError(ConnectorError):
    """Some messages of one write could not be written; every other message of that write is durably written.

    ``errors`` maps the position of each refused message in the write to the reason.
    """

    def __init__(self, errors: Mapping[int, Exception]) -> None:
        super().__init__(f"{len(errors)} message(s) of one write were refused; the first: {next(iter(errors.values()))}")
        self.errors = dict(errors)


class CircuitOpenError(WarrenError):
    """A call was not made, because those before it failed; `retry` tries the message again, as after any exception."""


class RetryBudgetError(WarrenError):
    """A message was not tried again, because too many others were; what it failed with is the cause."""


class StalledError(WarrenError):
    """Every credit is held by steps that wait for more messages, so none can come; nothing is lost."""


class StateError(WarrenError):
    """What steps remember cannot be kept, or does not fit the pipeline that wants to go on with it; nothing is lost."""


class ShutdownError(WarrenError):
    """The shutdown deadline passed with messages still in flight; they went back to their source."""


class MessageError(WarrenError):
    """One message cannot go on. It becomes a failure that `retry` or the dead letters take; the stream goes on."""


class DecodeError(MessageError):
    """The bytes of a message are not what the type of its source says."""


class EncodeError(MessageError):
    """A value cannot be written by the codec of a sink."""


class HandlerError(MessageError):
    """A handler answered with a type its step cannot use."""


class UnroutableError(MessageError):
    """`route` has no branch for a message and no default."""


class LateError(MessageError):
    """An event arrived after the window that would have held it was closed."""


class PoisonError(MessageError):
    """A message was delivered too often without ever being settled: it probably kills its worker."""


class ValidationError(MessageError):
    """A value is not what `validate` demands, or of a version it does not know."""


class RejectedError(MessageError):
    """A step sent a message to the dead letters on purpose."""


def shorten(value: object, limit: int = 120) -> str:
    """`repr` of a value, cut so that it fits an error sentence.

    >>> shorten("x" * 500, limit=10)
    "'xxxxxx..."
    """
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def exception_types(on: object, step: str) -> tuple[type[Exception], ...]:
    """The exception types that the ``on=`` of a step names, one or a tuple; `GraphError` where it names anything else.

    >>> exception_types(ValueError, "retry")
    (<class 'ValueError'>,)
    """
    kinds: tuple[Any, ...] = on if isinstance(on, tuple) else (on,)
    if not kinds or not all(isinstance(kind, type) and issubclass(kind, Exception) for kind in kinds):
        raise GraphError(f"{step}(on={on!r}): give an exception type or a tuple of them")
    return kinds


_BETWEEN = frozenset(("warren.core.handling",))
"""What may stand between a step and the function that it calls."""


def fingerprint(error: BaseException) -> str:
    """Twelve hexadecimal digits that are equal for failures of one kind: the error's type and where it was raised.

    The error's text is left out, as it often carries the value; what caused it counts.

    >>> fingerprint(ValueError("a")) == fingerprint(ValueError("b"))
    True
    >>> len(fingerprint(ValueError("a")))
    12
    """
    # Whether calls are followed or not does not make them errors of another kind.
    walked = (each for each in traceback.walk_tb(error.__traceback__) if each[0].f_globals.get("__name__") not in _BETWEEN)
    frames = traceback.StackSummary.extract(walked, lookup_lines=False)[-3:]
    places = "|".join(f"{frame.filename.rsplit('/', 1)[-1]}:{frame.name}" for frame in frames)
    kinds = [type(error)] if error.__cause__ is None else [type(error), type(error.__cause__)]
    text = "|".join([*(f"{kind.__module__}.{kind.__qualname__}" for kind in kinds), places])
    return hashlib.blake2s(text.encode(), digest_size=6).hexdigest()
