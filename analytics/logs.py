"""Log lines of a running pipeline, as JSON or for people: each says which message it is of, and none shows what is in it."""

from __future__ import annotations

import logging
import re
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TextIO, TypeAlias, get_args

from warren.core.breaker import State
from warren.core.errors import GraphError, MessageError, fingerprint
from warren.core.handling import Around, Told, beginnings, here
from warren.core.hooks import Status
from warren.core.receipt import Delivery, Kind, Outcome, Token

if TYPE_CHECKING:
    from structlog.typing import Processor

__all__ = ["Form", "Logs", "add_message"]

Form: TypeAlias = Literal["json", "console"]
_Event: TypeAlias = MutableMapping[str, Any]

_log = logging.getLogger("warren.pipeline")

_LONGEST = 1000
"""Characters of a value that a line has."""
_LONGEST_ERROR = 200
"""Characters of the text of an error that was raised while no message was handled."""
_AT_ONCE = 10
"""Lines on dead letters in a second; the others are counted."""
_SECRET = re.compile(r"passw|secret|token|authorization|credential|api.?key|cookie", re.IGNORECASE)
_IN_ADDRESS = re.compile(r"(\w://)(?:[^\s/:@]*:(?!\d{1,5}(?:[/?#\s,;.)'\"]|$))[^\n]*|[^\s]*)@")
"""All that may be a name and a password in an address, blanks and further signs in the password included."""
_BESIDE = re.compile(
    r"\b((?:passw(?:or)?d|pwd|secret|token|api[_-]?key|authorization)\b[\"']?\s*[=:]\s*)"
    r"((?:bearer|basic)\s+)?(\"[^\"]*\"|'[^']*'|[^\s,;&)}]+)",
    re.IGNORECASE,
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def add_message(logger: Any, method: str, event: _Event) -> _Event:
    """A processor for structlog: says of a line which message of which pipeline and step was handled.

    It adds ``pipeline``, ``stage``, ``correlation_id`` (the header ``correlation-id``, or the id of the message) and, where
    there is a trace, ``trace_id`` and ``span_id``; what a line has of its own stays.

    >>> add_message(None, "info", {"event": "hello"})
    {'event': 'hello'}
    """
    handling = here.get()
    if handling is not None:
        told: Told = handling.asked()
        event.setdefault("pipeline", told.pipeline)
        event.setdefault("stage", told.stage)
        if told.metadata is not None:
            event.setdefault("correlation_id", told.metadata.correlation)
    trace, span = _current() or _brought(handling.asked() if handling is not None else None)
    if trace:
        event.setdefault("trace_id", trace)
        event.setdefault("span_id", span)
    return event


def _current() -> tuple[str, str] | None:
    """Trace and span that are current for OpenTelemetry, if anybody uses it."""
    tracing: Any = sys.modules.get("opentelemetry.trace")
    if tracing is None:
        return None
    context = tracing.get_current_span().get_span_context()
    return (f"{context.trace_id:032x}", f"{context.span_id:016x}") if context.is_valid else None


def _brought(told: Told | None) -> tuple[str, str]:
    """Trace and span that a message came with."""
    parts = ("" if told is None or told.metadata is None else told.metadata.trace or "").split("-")
    return (parts[1], parts[2]) if len(parts) > 3 else ("", "")


class Logs:
    """Log lines while a pipeline runs, of it and of all that logs through `logging` or structlog, to standard error.

    It is an observer of a pipeline: ``pipeline.observed(Logs())``. A line that is written while a message is handled, in
    ``async`` functions, threads and processes too, has its correlation and trace ids; ``docs/logs.md`` lists what lines
    have. Needs ``pip install 'warren[logs]'``.

    - ``form``: ``"json"``, a line each, or ``"console"``, for people
    - ``level``: the least severe lines that are written, such as ``"DEBUG"``
    - ``payloads``: whether lines may show the texts of errors that handlers raise, and tracebacks: they often show the
      message. Passwords are left out either way, as far as they can be told
    - ``stream``: where lines go

    Delivery: the pipeline's guarantees do not depend on it.

    Raises `GraphError` where structlog is missing, or a setting cannot work.

    >>> import io
    >>> from warren import Pipeline
    >>> from warren.connectors import memory
    >>> lines = io.StringIO()
    >>> Pipeline("greet", memory.items(["a"]) | memory.into([]), observers=[Logs(stream=lines)]).run()
    >>> [line.partition('"event": "')[2].partition('"')[0] for line in lines.getvalue().splitlines()]
    ['the pipeline runs', 'the pipeline has ended']
    """

    def __init__(
        self, form: Form = "json", *, level: str = "INFO", payloads: bool = False, stream: TextIO | None = None
    ) -> None:
        try:
            import structlog  # noqa: F401 - it is to be missed here, not when the pipeline runs
        except ImportError as error:
            raise GraphError("Logs needs structlog: pip install 'warren[logs]'") from error
        if form not in get_args(Form):
            raise GraphError(f"Logs({form!r}): give 'json' or 'console'")
        known = logging.getLevelNamesMapping()
        if str(level).upper() not in known:
            raise GraphError(f"Logs(level={level!r}): give one of {', '.join(known)}")
        self._settings = form, known[str(level).upper()], payloads
        self._stream = stream
        self._running = 0
        self._undo: Callable[[], None] = lambda: None
        self._begin = partial(_set_up, *self._settings)
        self._name = ""
        self._ended: Counter[Kind] = Counter()
        self._second = 0
        self._said = self._unsaid = 0

    def started(self, run: Status) -> None:
        """A pipeline begins to open its ends: lines are written from now on."""
        self._running += 1
        if self._running == 1:
            self._undo = _set_up(*self._settings, self._stream)
            beginnings.append(self._begin)
        self._name = run.name

    def open(self, pipeline: str) -> None:
        """Its ends are open."""
        _log.info("the pipeline runs", extra={"pipeline": pipeline})

    def settled(self, delivery: Delivery, tokens: Sequence[int], outcome: Outcome, at: float) -> None:
        """Messages of one delivery reached their end ``at`` seconds since 1970."""
        self._ended[outcome.kind] += len(tokens)
        if outcome.kind is Kind.DEAD_LETTERED and outcome.failure is not None:
            for token in tokens:
                self._lost(delivery, token, outcome, outcome.failure.error, outcome.failure.stage)

    def _lost(self, delivery: Delivery, token: int, outcome: Outcome, error: Exception, stage: str) -> None:
        second = int(time.monotonic())
        if second != self._second:
            self._rest()
            self._second, self._said = second, 0
        if self._said >= _AT_ONCE:
            self._unsaid += 1
            return
        self._said += 1
        metadata = delivery.batch.metadata(token - delivery.base)
        _, span = trace = _brought(Told(self._name, stage, metadata))
        about = {
            "pipeline": self._name,
            "stage": stage,
            "correlation_id": metadata.correlation,
            "queue": outcome.route,
            "attempts": delivery.attempt(token),
            "error": type(error).__qualname__,
            "fingerprint": fingerprint(error),
            **({"trace_id": trace[0], "span_id": span} if span else {}),
        }
        _log.warning("a message became a dead letter", extra=about)

    def _rest(self) -> None:
        if self._unsaid:
            _log.warning("%d more message(s) became dead letters", self._unsaid, extra={"pipeline": self._name})
        self._unsaid = 0

    def handled(
        self, stage: str, taken: int, given: int, failed: int, start: float, end: float, credit: int, depth: int | None
    ) -> None:
        """A step took a chunk."""

    def around(self, stage: str, tokens: Sequence[Token]) -> Around:
        """Nothing is entered around calls: lines find out themselves which message is handled."""
        return {}

    def switched(self, stage: str, state: State) -> None:
        """The circuit breaker of a stage is in this state now."""
        level = logging.WARNING if state == "open" else logging.INFO
        _log.log(level, "the circuit breaker is %s", state, extra={"pipeline": self._name, "stage": stage})

    def close(self) -> None:
        """The pipeline has ended. Closing again does nothing."""
        if not self._running:
            return
        self._rest()
        ended = {kind.name.lower(): count for kind, count in sorted(self._ended.items())}
        _log.info("the pipeline has ended", extra={"pipeline": self._name, **ended})
        self._ended.clear()
        self._running -= 1
        if not self._running:
            beginnings.remove(self._begin)
            self._undo()


def _set_up(form: Form, level: int, payloads: bool, stream: TextIO | None = None) -> Callable[[], None]:
    """Have lines of `logging` and structlog written in one form; returns what undoes it."""
    import structlog
    from structlog.processors import JSONRenderer, TimeStamper
    from structlog.stdlib import (
        BoundLogger,
        ExtraAdder,
        LoggerFactory,
        PositionalArgumentsFormatter,
        ProcessorFormatter,
        add_log_level,
        add_logger_name,
        filter_by_level,
    )

    first: list[Processor] = [structlog.contextvars.merge_contextvars, add_message, add_log_level, add_logger_name]
    last: list[Processor] = [TimeStamper(fmt="iso", utc=True), partial(_safe, payloads)]
    renderer = JSONRenderer(default=repr) if form == "json" else structlog.dev.ConsoleRenderer(colors=False)
    formatter = ProcessorFormatter(
        foreign_pre_chain=[ExtraAdder(), *first, *last],
        processors=[ProcessorFormatter.remove_processors_meta, renderer],
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    before, configured = root.level, structlog.get_config() if structlog.is_configured() else None
    root.addHandler(handler)
    root.setLevel(level)
    if configured is None:
        # Whoever has configured structlog knows why; `add_message` is there for them.
        structlog.configure(
            [filter_by_level, *first, PositionalArgumentsFormatter(), *last, ProcessorFormatter.wrap_for_formatter],
            logger_factory=LoggerFactory(),
            wrapper_class=BoundLogger,
        )

    def undo() -> None:
        root.removeHandler(handler)
        root.setLevel(before)
        if configured is None:
            structlog.reset_defaults()

    return undo


def _safe(payloads: bool, logger: Any, method: str, event: _Event) -> _Event:
    """Leave out of a line what is nobody's business: texts of errors that may show messages, and passwords."""
    info = event.pop("exc_info", None)
    error = info if isinstance(info, BaseException) else (sys.exc_info() if info is True else info or (None,) * 3)[1]
    if error is not None:
        event["error"] = type(error).__qualname__
        event["fingerprint"] = fingerprint(error)
        event["at"] = [f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno} {frame.name}" for frame in _frames(error)]
        if payloads:
            event["exception"] = "".join(traceback.format_exception(error))
        elif here.get() is None and not isinstance(error, MessageError):
            event["reason"] = _cut(_text(error), _LONGEST_ERROR)
    for name in ("asctime", "message"):
        # Other handlers leave them on a record; the event says it.
        event.pop(name, None)
    longest = None if payloads else _LONGEST
    for key, value in event.items():
        # What begins so is structlog's own, and no part of a line.
        if not key.startswith("_"):
            event[key] = _clean(key, value, longest)
    return event


def _clean(key: Any, value: Any, longest: int | None) -> Any:
    """A value as a line may have it."""
    if isinstance(key, str) and _SECRET.search(key):
        return "***"
    if isinstance(value, Mapping):
        return {_text(name): _clean(name, each, longest) for name, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(None, each, longest) for each in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    text = _hidden(_text(value))
    return text if longest is None else _cut(text, longest)


def _frames(error: BaseException) -> list[traceback.FrameSummary]:
    return list(traceback.StackSummary.extract(traceback.walk_tb(error.__traceback__), lookup_lines=False))[-5:]


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception:
        return f"<{type(value).__name__}>"


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[:longest]}… ({len(text):,} characters)"


def _hidden(text: str) -> str:
    """A text without passwords, and in one line.

    >>> _hidden("amqp://shop:p@ss/w:rd@host:5672 is away"), _hidden("password='a b', x")
    ('amqp://***@host:5672 is away', 'password=***, x')
    """
    text = _BESIDE.sub(r"\1***", _IN_ADDRESS.sub(r"\1***@", text))
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], text)
