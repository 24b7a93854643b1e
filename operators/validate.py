"""`validate`: only values that are what they should be go on, older versions brought up to date."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, overload

import msgspec

from warren.core.chunk import Chunk, apply_each
from warren.core.codecs import converter, explain, to_plain
from warren.core.errors import GraphError, HandlerError, ValidationError, shorten
from warren.core.graph import Operator, name_of
from warren.core.stage import Handler, Stage
from warren.operators.keys import check_function

__all__ = ["validate"]

T = TypeVar("T")

Version = str | Callable[[Any], int]
Upcast = Mapping[int, Callable[[Any], Any]]


@overload
def validate(schema: type[T], *, version: Version | None = ..., upcast: Upcast | None = ...) -> Operator[Any, T]: ...
@overload
def validate(
    schema: Callable[[T], bool | None], *, version: Version | None = ..., upcast: Upcast | None = ...
) -> Operator[T, T]: ...
@overload
def validate(schema: Any, *, version: Version | None = ..., upcast: Upcast | None = ...) -> Operator[Any, Any]: ...
def validate(schema: Any, *, version: Version | None = None, upcast: Upcast | None = None) -> Operator[Any, Any]:
    """Let the values pass that are what ``schema`` says; the others fail, with the field that is wrong.

    ``schema`` is a type, and values go on as it: a msgspec struct with its constraints, a dataclass, a TypedDict, a pydantic
    model. Dicts are read as they are; a struct or another record is taken apart and read anew, so that what was assigned to
    its fields is checked as well. Or it is a function that raises, or answers ``False``, for what is wrong; values then pass
    unchanged.

    With ``upcast``, values of an older version are brought up to date first: ``upcast={1: f, 2: g}`` makes version 2 of
    version 1 by ``f``, and version 3, the newest, of that by ``g``. ``version`` names the field that tells the version, a
    whole number, or is a function that does; a value without that field is of the oldest. The functions answer with the
    newer value, and set its version if it keeps one.

    Keeps the delivery guarantee: what does not pass becomes a failure with `ValidationError`, which goes to the dead
    letters; no `retry` takes it that does not name it.

    Raises `GraphError` for a type that nothing can be read as, for versions with a gap, and where only one of ``version``
    and ``upcast`` is given.

    >>> import msgspec
    >>> from warren import Pipeline
    >>> from warren.connectors import memory
    >>> class Order(msgspec.Struct):
    ...     id: int
    ...     cents: int
    >>> def cents(order: dict) -> dict:
    ...     return {"id": order["id"], "cents": round(order["euros"] * 100)}
    >>> orders = validate(Order, version="v", upcast={1: cents})
    >>> given = [{"v": 2, "id": 1, "cents": 50}, {"id": 2, "euros": 1.5}, {"v": 2, "id": 3, "cents": "much"}]
    >>> result = Pipeline("orders", memory.items([]) | orders | memory.into([])).test(given)
    >>> result.values
    [Order(id=1, cents=50), Order(id=2, cents=150)]
    >>> print(result.dead_letters["orders.dead"][0].reason)
    1:validate(Order): Expected `int`, got `str` - at `$.cents`; the value is {'v': 2, 'id': 3, 'cents': 'much'}
    """
    title = f"validate({getattr(schema, '__name__', None) or repr(schema)}"
    steps = _versions(title, version, upcast)
    if inspect.isroutine(schema) or _is_callable_object(schema):
        check_function(schema, "validate", "give a type, or a function of one value")
        return _Check(schema, steps)
    return _Convert(schema, converter(schema), converter(list[schema]), steps)


def _is_callable_object(schema: Any) -> bool:
    return callable(schema) and not isinstance(schema, type) and getattr(schema, "__origin__", None) is None


class _Upcasts:
    """Brings values up to date."""

    def __init__(self, read: Callable[[Any], Any], upcast: Upcast) -> None:
        self.read = read
        self.upcast = dict(upcast)
        self.oldest = min(upcast)
        self.newest = max(upcast) + 1

    def __call__(self, stage: Stage, value: Any) -> Any:
        version = self.read(value)
        if version is None:
            version = self.oldest
        if not isinstance(version, int) or isinstance(version, bool):
            raise ValidationError(
                f"{stage}: the version {shorten(version)} is no whole number; the value is {shorten(value)}"
            )
        if not self.oldest <= version <= self.newest:
            raise ValidationError(
                f"{stage}: the value is of version {version}, and only {self.oldest} to {self.newest} are known; add to "
                f"upcast= what makes the next version of one; the value is {shorten(value)}"
            )
        for each in range(version, self.newest):
            step = self.upcast[each]
            try:
                newer = step(value)
            except Exception as error:
                raise ValidationError(
                    f"{stage}: {name_of(step)} cannot make version {each + 1} of version {each}: {type(error).__name__}: "
                    f"{error}; the value is {shorten(value)}"
                ) from error
            if newer is None or inspect.iscoroutine(newer):
                if newer is not None:
                    newer.close()
                raise HandlerError(
                    f"{stage}: {name_of(step)} answered {'nothing' if newer is None else 'with a coroutine'}; it must "
                    f"answer with the value as version {each + 1}"
                )
            value = newer
        return value


def _versions(title: str, version: Any, upcast: Any) -> _Upcasts | None:
    if version is None and upcast is None:
        return None
    if version is None or upcast is None:
        missing, given = ("version", "upcast") if version is None else ("upcast", "version")
        raise GraphError(f"{title}, {given}=...): give {missing}= as well, such as version='v', upcast={{1: from_1_to_2}}")
    if not isinstance(upcast, Mapping) or not upcast or not all(type(each) is int for each in upcast):
        raise GraphError(f"{title}, upcast={upcast!r}): give a function for each older version, such as {{1: from_1_to_2}}")
    gaps = set(range(min(upcast), max(upcast))) - set(upcast)
    if gaps:
        raise GraphError(f"{title}, upcast=...): what makes version {min(gaps) + 1} of version {min(gaps)} is missing")
    for each, step in upcast.items():
        remedy = "give a function of one value that makes the next version"
        check_function(step, f"{title}, upcast={{{each}: ...}})", remedy)
    if not (isinstance(version, str) and version):
        wanted = "give the name of a field, or a function that tells the version of a value"
        check_function(version, f"{title}, version=...)", wanted)
    return _Upcasts(version if callable(version) else lambda value: _read(value, version), upcast)


def _read(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)


class _Validate(Operator[Any, Any]):
    def __init__(self, schema: Any, upcasts: _Upcasts | None) -> None:
        self.schema = schema
        self.upcasts = upcasts

    @property
    def name(self) -> str:
        return f"validate({name_of(self.schema) if callable(self.schema) else self.schema})"

    def attach(self, stage: Stage) -> Handler:
        upcasts = self.upcasts
        if upcasts is None:
            return lambda chunk: stage.survivors(chunk, *self.check(stage, chunk.values))

        def handle(chunk: Chunk) -> Chunk:
            current, errors = apply_each(lambda value: upcasts(stage, value), chunk.values)
            left = stage.without(chunk, errors) if errors else chunk
            results, wrong = self.check(stage, current)
            if not wrong:
                return Chunk(results, left.tokens, left.failures, chunk.attempt)
            # A failure carries the value as it came, so that a retry brings it up to date again.
            out = stage.survivors(Chunk(left.values, left.tokens, (), chunk.attempt), results, wrong)
            out.failures = [*left.failures, *out.failures]
            return out

        return handle

    def check(self, stage: Stage, values: Sequence[Any]) -> tuple[list[Any], dict[int, Exception]]:
        """What goes on, and the exceptions by position."""
        raise NotImplementedError


class _Check(_Validate):
    passes = True

    def check(self, stage: Stage, values: Sequence[Any]) -> tuple[list[Any], dict[int, Exception]]:
        def passed(value: Any) -> Any:
            try:
                answer = self.schema(value)
            except Exception as error:
                raise ValidationError(f"{stage}: {explain(error)}; the value is {shorten(value)}") from error
            if answer is None or answer is True:
                return value
            if answer is False:
                raise ValidationError(f"{stage}: the value does not pass; it is {shorten(value)}")
            if inspect.iscoroutine(answer):
                answer.close()
                answer = "a coroutine"
            raise HandlerError(
                f"{stage}: the function answered {shorten(answer)}; it must raise, or answer True or False. To change "
                "values, use map"
            )

        return apply_each(passed, values)


class _Convert(_Validate):
    def __init__(self, schema: Any, one: Callable[[Any], Any], all: Callable[[Any], Any], upcasts: _Upcasts | None) -> None:
        super().__init__(schema, upcasts)
        self.one = one
        self.all = all

    def gives(self, type: Any) -> Any:
        return self.schema

    def check(self, stage: Stage, values: Sequence[Any]) -> tuple[list[Any], dict[int, Exception]]:
        try:
            return self.all(_all_apart(values)), {}
        except Exception:
            results, errors = apply_each(lambda value: self.one(_apart(value)), values)
        for i, error in errors.items():
            errors[i] = ValidationError(f"{stage}: {explain(error)}; the value is {shorten(values[i])}")
            errors[i].__cause__ = error
        return results, errors


def _all_apart(values: Sequence[Any]) -> Any:
    kinds = set(map(type, values))
    if kinds <= {dict}:
        return values
    if all(issubclass(kind, msgspec.Struct) for kind in kinds):
        return msgspec.to_builtins(values, enc_hook=to_plain)
    return list(map(_apart, values))


def _apart(value: Any) -> Any:
    """A record as a dict; nothing checks what is assigned to its fields, and it would pass as it is."""
    if isinstance(value, dict | list | str | int | float | None):
        return value
    return msgspec.to_builtins(value, enc_hook=to_plain)
