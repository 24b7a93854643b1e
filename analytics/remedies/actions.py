"""What a remedy can do; each can be undone, but for a page."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

import msgspec

from warren.core.breaker import Switch
from warren.core.clock import Duration, seconds
from warren.core.errors import GraphError
from warren.core.hooks import Controls
from warren.core.knobs import Dial
from warren.core.weights import Weights

__all__ = ["Action", "change", "open_circuit", "page", "pause", "resume", "scale", "shift"]

T = TypeVar("T")

_log = logging.getLogger("warren.remedies")


class Action(Protocol):
    """One thing that is set to something else, and back again."""

    @property
    def name(self) -> str:
        """What it is called in records."""
        ...

    @property
    def to(self) -> Any:
        """What it is set to."""
        ...

    def allowed(self, value: Any) -> bool:
        """Whether it may be set to that."""
        ...

    def now(self, controls: Controls) -> Any:
        """What it is set to now."""
        ...

    def set(self, controls: Controls, value: Any, why: dict[str, Any]) -> None:
        """Set it; ``why`` is what there is to tell of it. It must not wait."""
        ...


class _Source:
    def __init__(self, source: str | None, to: str) -> None:
        self.source, self.to = source, to

    @property
    def name(self) -> str:
        return f"{'pause' if self.to == 'paused' else 'resume'}({self.source or ''})"

    def allowed(self, value: Any) -> bool:
        return value in ("paused", "reading")

    def now(self, controls: Controls) -> str:
        return "paused" if controls.paused(self.source) else "reading"

    def set(self, controls: Controls, value: Any, why: dict[str, Any]) -> None:
        controls.pause(self.source, on=value == "paused")


def pause(source: str | None = None) -> Action:
    """Read nothing more from a source, by its name as ``explain()`` has it, or from any.

    Keeps the delivery guarantee: messages in hand go on, the others stay where they are. What the source was asked for
    already may still come. Steps that wait for event time wait for a paused source as for a silent one.

    >>> pause("memory:orders").name
    'pause(memory:orders)'
    """
    return _Source(source, "paused")


def resume(source: str | None = None) -> Action:
    """Read from a source again.

    >>> resume().to
    'reading'
    """
    return _Source(source, "reading")


class _Changed:
    def __init__(
        self, name: str, get: Callable[[], Any], set: Callable[[Any], None], to: Any, allowed: Callable[[Any], bool]
    ) -> None:
        self.name, self.to = name, to
        self._get, self._set, self._allowed = get, set, allowed

    def allowed(self, value: Any) -> bool:
        return self._allowed(value)

    def now(self, controls: Controls) -> Any:
        return self._get()

    def set(self, controls: Controls, value: Any, why: dict[str, Any]) -> None:
        self._set(value)


def change(
    name: str, get: Callable[[], T], set: Callable[[T], None], to: T, *, allowed: Sequence[T] | None = None
) -> Action:
    """Change what can be read and set while a pipeline runs: where a route leads, how large a pool of your own is.

    ``allowed`` are the values it may have; ``to`` and what it had before unless given. Raises `GraphError` where ``to`` is
    not one of them.

    >>> region = {"now": "eu"}
    >>> shift = change("region", lambda: region["now"], lambda to: region.update(now=to), "us", allowed=["eu", "us"])
    >>> shift.allowed("us"), shift.allowed("mars")
    (True, False)
    """
    if allowed is not None and to not in allowed:
        raise GraphError(f"change({name!r}, to={to!r}): it is none of the values that are allowed, {list(allowed)}")
    return _Changed(name, get, set, to, lambda value: allowed is None or value in allowed)


def open_circuit(switch: Switch) -> Action:
    """Open the circuits of `circuit_breaker` steps that were given this switch: they make no calls.

    >>> open_circuit(Switch()).name
    'open_circuit'
    """

    def set(value: bool) -> None:
        switch.open = value

    return _Changed("open_circuit", lambda: switch.open, set, True, (False, True).__contains__)


def shift(weights: Weights, target: Hashable, to: float = 0.0) -> Action:
    """Send less to a target of a route, or nothing: that share of what would go there.

    What is on its way there goes on. Where no target is left, the route goes on as before.

    Raises `GraphError` where ``to`` is no share from 0 to 1.

    >>> shift(Weights(), "eu").name
    'shift(eu)'
    """
    Weights()[target] = to

    def set(weight: float) -> None:
        weights[target] = weight

    return _Changed(f"shift({target})", lambda: weights[target], set, float(to), lambda value: 0 <= value <= 1)


def scale(dial: Dial, to: int) -> Action:
    """Have more or fewer calls at once: those of ``map(call, concurrency=dial)``.

    What is under way goes on. Raises `GraphError` where ``to`` is out of the bounds of the dial.

    >>> from warren.core.knobs import Knob
    >>> scale(Dial(Knob("concurrency", 1, 64, start=16)), 32).to
    32
    """
    Dial(dial.knob).value = to

    def set(value: int) -> None:
        dial.value = value

    return _Changed(
        f"scale({dial.knob.name})", lambda: dial.value, set, to, range(dial.knob.low, dial.knob.high + 1).__contains__
    )


class _Straight(HTTPRedirectHandler):
    """A POST that is led elsewhere would arrive there as a GET without its body."""

    def redirect_request(self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, newurl: Any) -> None:
        return None


class _Page:
    to = "told"

    def __init__(self, address: str, timeout: float, tries: int) -> None:
        self.address, self.timeout, self.tries = address, timeout, tries
        # The rest of the address is often a secret.
        self.host = urlsplit(address).hostname
        self.name = f"page({self.host})"

    def allowed(self, value: Any) -> bool:
        return bool(value == "told")

    def now(self, controls: Controls) -> str:
        return "not told"

    def set(self, controls: Controls, value: Any, why: dict[str, Any]) -> None:
        if value == "told":
            body = msgspec.json.encode(why)
            threading.Thread(target=self._send, args=(body,), name="warren-page", daemon=True).start()

    def _send(self, body: bytes) -> None:
        headers = {"Content-Type": "application/json", "User-Agent": "warren"}
        for left in reversed(range(self.tries)):
            try:
                request = Request(self.address, body, headers, method="POST")
                with build_opener(_Straight).open(request, timeout=self.timeout) as answer:
                    answer.read(1)
                return
            except Exception as error:
                if not left:
                    _log.error("%s was not told in %d tries: %r", self.host, self.tries, error)
                    return
                time.sleep(self.timeout / 5)


def page(address: str, *, timeout: Duration = "5s", tries: int = 3) -> Action:
    """Tell somebody by a web hook: a POST of JSON with the pipeline, the remedy, the reason and the figures.

    It is sent from a thread of its own, so the pipeline never waits for it; what is under way when the program ends is lost.
    Where it cannot be sent in so many ``tries``, each at most ``timeout`` long, that is logged.

    Raises `GraphError` for an address that is none.

    >>> page("https://hooks.example.com/T0/secret").name
    'page(hooks.example.com)'
    """
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise GraphError("page(...): give an address that begins with https:// or http://, and names a host")
    limit = seconds(timeout)
    if not limit > 0 or isinstance(tries, bool) or not isinstance(tries, int) or not 1 <= tries <= 20:
        raise GraphError(f"page(timeout={timeout!r}, tries={tries!r}): give a time above 0, and from 1 to 20 tries")
    return _Page(address, limit, tries)
