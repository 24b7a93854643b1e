"""`Alerts`: looks at a running pipeline again and again, and has people told of what is wrong."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from math import inf
from pathlib import Path
from typing import Any

import msgspec

from warren.analytics.alerts.outbox import Outbox
from warren.analytics.alerts.receivers import Receiver, To
from warren.analytics.alerts.rules import Alert, Incident, Notification, Silence
from warren.analytics.remedies.figures import Figures
from warren.analytics.remedies.readings import Collector
from warren.analytics.remedies.watching import Watching
from warren.core.atomic import writing
from warren.core.clock import Duration, seconds
from warren.core.errors import DataError, GraphError
from warren.core.graph import Outlet
from warren.core.hooks import Controls

__all__ = ["Alerts"]

_log = logging.getLogger("warren.alerts")

_KEPT = 10_000
_VERSION = 1


class _Group(msgspec.Struct):
    """What one receiver was told of one group."""

    told: dict[str, Incident] = {}
    """Incidents it believes to go on."""
    changed: float | None = None
    sent: float = -1e18


class _State(msgspec.Struct):
    """How one alert stands."""

    pending: float | None = None
    quiet: float | None = None
    firing: Incident | None = None


class _Saved(msgspec.Struct):
    version: int
    states: dict[str, _State]
    groups: list[tuple[str, list[tuple[str, str]], _Group]]
    waiting: Any


class Alerts(Watching):
    """An observer that looks at its pipeline every so often, and has people told of what is wrong: one `Pipeline` at a time.

    - ``alerts``: when to tell somebody; ``to``: whom, as addresses, sinks or `To`, each told of what it wants
    - ``group_by``: labels; alerts in which they are the same are told together. ``pipeline`` is a label of each
    - ``wait``: how long a group waits for more before it is told; ``repeat``: when it is told of again while it goes on
    - ``silences``: of what nobody is told until when, or a function that gives them; `silence` adds one
    - ``file``: keeps what fires and what is still to be told over a restart
    - ``linger``: how long the end of the pipeline waits for receivers to be told
    - ``every``, ``health`` and ``metrics``: as for `Remedies`

    A notification is sent again until its receiver has it: nothing is lost while that is away, but without ``file`` with the
    program; a receiver may be told twice. A rule that raises changes nothing; the first time is logged, ``errors`` counts
    them. The pipeline never waits for a receiver, but for ``linger`` at its end.

    Raises `GraphError` where a setting cannot work, `AddressError` where an address leads nowhere, and `DataError` where the
    file is none of these.

    >>> from warren import Pipeline
    >>> from warren.analytics.alerts import Alert
    >>> from warren.analytics.remedies import beyond
    >>> from warren.connectors import memory
    >>> alerts = Alerts([Alert("DeadLetters", beyond("dead_share", above=0.05))], to=["https://hooks.example.com/T0/secret"])
    >>> Pipeline("orders", memory.items([]) | memory.into([])).observed(alerts).test([1, 2]).values, alerts.incidents
    ([1, 2], [])
    """

    def __init__(
        self,
        alerts: Sequence[Alert],
        *,
        to: Sequence[str | Outlet[Any] | Receiver | To] = (),
        every: Duration = "10s",
        group_by: Sequence[str] = ("pipeline",),
        wait: Duration = "0s",
        repeat: Duration = "4h",
        silences: Iterable[Silence] | Callable[[], Sequence[Silence]] = (),
        file: str | Path | None = None,
        linger: Duration = "5s",
        health: bool = False,
        metrics: Collector | None = None,
    ) -> None:
        super().__init__(every, health, metrics)
        self._alerts = {each.name: each for each in alerts}
        if len(self._alerts) < len(alerts):
            raise GraphError(f"Alerts({', '.join(each.name for each in alerts)}): give each a name of its own")
        self._to = [each if isinstance(each, To) else To(each) for each in to]
        names = [each.receiver.name for each in self._to]
        if len(set(names)) < len(names):
            raise GraphError(f"Alerts(to=...): {', '.join(names)}: give each receiver once, and a name of its own")
        self.group_by = tuple(group_by)
        self.wait, self.repeat, self.linger = seconds(wait), seconds(repeat), seconds(linger)
        if not self.repeat > 0 or self.linger == inf:
            raise GraphError(f"Alerts(repeat={repeat!r}, linger={linger!r}): give times above 0, such as '4h' and '5s'")
        self._given: Callable[[], Sequence[Silence]] = silences if callable(silences) else lambda: ()
        self._silences: list[Silence] = [] if callable(silences) else list(silences)
        self.errors = 0
        self._file = None if file is None else Path(file)
        self._incidents: deque[Incident] = deque(maxlen=_KEPT)
        self._states = {name: _State() for name in self._alerts}
        self._groups: dict[tuple[str, tuple[tuple[str, str], ...]], _Group] = {}
        self._lock = threading.RLock()
        self._saved = b""
        self._outbox = Outbox([each.receiver for each in self._to], self._save)
        if self._file is not None and self._file.exists():
            self._restore(self._file)

    @property
    def incidents(self) -> list[Incident]:
        """The latest ten thousand, whether anybody was told or not."""
        return list(self._incidents)

    @property
    def firing(self) -> list[Incident]:
        """Those that go on."""
        return [state.firing for state in self._states.values() if state.firing is not None]

    @property
    def waiting(self) -> int:
        """How many notifications receivers have not got yet."""
        return len(self._outbox)

    @property
    def silences(self) -> list[Silence]:
        """Of what nobody is told, and until when."""
        return [*self._silences, *self._given()]

    def silence(self, silence: Silence) -> None:
        """Tell nobody of what a silence covers."""
        self._silences.append(silence)

    def steer(self, controls: Controls) -> None:
        """The pipeline runs: begin to look at it."""
        self._outbox.start()
        super().steer(controls)

    def leave(self, figures: Figures, controls: Controls) -> None:
        """The pipeline has ended: what fires is neither resolved nor forgotten."""
        self._outbox.close(self.linger)
        self._save()
        if self.waiting and self._file is None:
            _log.error("%d notification(s) of %r are lost, as nobody took them and no file=... keeps them", *self._untold())
        elif self.waiting:
            _log.warning("%d notification(s) of %r wait in %s for the next run", *self._untold(), self._file)

    def _untold(self) -> tuple[int, str]:
        return self.waiting, self._pipeline or ""

    def look(self, figures: Figures, controls: Controls) -> None:
        """Ask each rule, and have told what is to be told."""
        with self._lock:
            self._look(figures)
            self._save()
        self._outbox.wake()

    def _look(self, figures: Figures) -> None:
        over = [each for alert in self._alerts.values() if (each := self._judge(alert, figures)) is not None]
        pipeline = self._pipeline or ""
        for to in self._to:
            groups: dict[tuple[tuple[str, str], ...], list[Incident]] = {}
            for incident in (*self.firing, *over):
                if to.wants(incident.labels):
                    key = tuple((label, incident.labels.get(label, "")) for label in self.group_by)
                    groups.setdefault(key, []).append(incident)
            for key in groups.keys() | {key for name, key in self._groups if name == to.receiver.name}:
                group = self._groups.setdefault((to.receiver.name, key), _Group())
                if news := self._news(group, groups.get(key, []), figures.at):
                    notification = Notification(pipeline=pipeline, group=dict(key), incidents=news)
                    self._outbox.put(to.receiver.name, notification)

    def _judge(self, alert: Alert, figures: Figures) -> Incident | None:
        """Ask a rule; what is over now comes back."""
        at, state = figures.at, self._states[alert.name]
        try:
            found = alert.when(figures)
        except Exception as error:
            self.errors += 1
            if self.errors == 1:
                _log.error("%s: it stays as it is, as its rule failed: %r", alert.name, error, exc_info=error)
            return None
        if found:
            # A clock may be turned back.
            state.quiet, state.pending = None, at if state.pending is None else min(state.pending, at)
            if state.firing is None and at - state.pending >= alert.lasting:
                labels = {"pipeline": self._pipeline or "", **alert.labels}
                state.firing = Incident(alert=alert.name, labels=labels, reason="", started=float(at), say=alert.say)
                self._incidents.append(state.firing)
            if state.firing is not None:
                state.firing.reason = found if isinstance(found, str) else "the rule says so"
            return None
        state.pending = None
        if state.firing is None:
            return None
        state.quiet = at if state.quiet is None else min(state.quiet, at)
        if at - state.quiet < alert.keep:
            return None
        over, state.firing, state.quiet = state.firing, None, None
        over.ended = max(at, over.started)
        return over

    def _news(self, group: _Group, incidents: list[Incident], at: float) -> list[Incident]:
        """What is to be told of a group now."""
        going = {each.key: each for each in incidents if each.ended is None and not self._silent(each, at)}
        now = {each.key for each in self.firing}
        for each in incidents:
            # What went by before anybody was told is told with its end, and who was told of one is told when it is over.
            if each.ended is not None and (each.key in group.told or not self._silent(each, at)):
                group.told[each.key] = each
        ended = [each for key, each in group.told.items() if key not in now]
        fresh = going.keys() - group.told.keys()
        group.sent = min(group.sent, at)
        if fresh or ended:
            group.changed = at if group.changed is None else min(group.changed, at)
            if at - group.changed < self.wait:
                return []
        else:
            group.changed = None
            if not going or at - group.sent < self.repeat:
                return []
        group.told = {key: each for key, each in group.told.items() if key in now} | going
        group.changed, group.sent = None, at
        over = [each if each.ended is not None else msgspec.structs.replace(each, ended=at) for each in ended]
        return [msgspec.structs.replace(each) for each in (*going.values(), *over)]

    def _silent(self, incident: Incident, at: float) -> bool:
        return any(silence.covers(incident.labels, at) for silence in self.silences)

    def _save(self) -> None:
        if self._file is None:
            return
        with self._lock:
            groups = [(name, list(key), group) for (name, key), group in self._groups.items()]
            body = msgspec.json.encode(_Saved(_VERSION, self._states, groups, self._outbox.state()))
            if body == self._saved:
                return
            try:
                with writing(self._file) as temporary:
                    temporary.write_bytes(body)
                self._saved = body
            except Exception as error:
                _log.error("what fires, and who is to be told, is not kept: %r", error)

    def _restore(self, file: Path) -> None:
        try:
            found = msgspec.json.decode(file.read_bytes(), type=_Saved)
            if found.version != _VERSION:
                raise DataError(f"it is of version {found.version}")
            self._outbox.restore(found.waiting)
        except (OSError, msgspec.MsgspecError, DataError) as error:
            raise DataError(f"Alerts(file={str(file)!r}): it holds no alerts ({error}); name another file") from error
        for name, state in found.states.items():
            if name in self._states:
                # How long a rule has said so is not known of the time between.
                self._states[name] = _State(firing=state.firing)
        self._groups = {(name, tuple(key)): group for name, key, group in found.groups}
        self._incidents += self.firing
