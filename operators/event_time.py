"""How far event time has come, where the values tell their times."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import suppress
from math import inf
from typing import NamedTuple

from warren.core.receipt import Token
from warren.core.stage import Feed, Stage

__all__ = ["EventTime"]

# Virtual schedulers round to microseconds, so a timer may fire that much too early.
_TICK = 1e-6


class EventTime:
    """The event time of one step: the least over its sources of the newest time that came, less ``lateness``.

    A source that gave nothing for ``idle`` seconds (``None``: never mind) holds it back no longer, nor does one that has
    ended, once all it gave has come; where none holds it, the one furthest on tells. It does not pass a message that is held
    back for a retry, and never goes back. Call `hear` for each chunk, then `advance` with the times of its values, before
    anything of it is settled.

    ``watermark`` is how far it has come, to begin with in an earlier run.
    """

    def __init__(self, stage: Stage, *, lateness: float = 0.0, idle: float | None = None, watermark: float = -inf) -> None:
        self.run = stage.run
        self.ledger = stage.ledger
        self.lateness = lateness
        self.idle = inf if idle is None else idle
        self.watermark = watermark
        feeds: Sequence[Feed | None] = stage.run.sources
        # Whatever comes is of the only one.
        self._tracks = {feed: _Track(feed, self.run.clock()) for feed in (feeds if len(feeds) > 1 else (None,))}
        self._only = self._tracks.get(None)

    def hear(self, tokens: Sequence[Token]) -> None:
        """Say that values have come."""
        now = self.run.clock()
        if self._only is not None:
            self._only.heard = now
        else:
            for share in self._shares(tokens):
                share.track.heard = now
        # What was held back for a retry has come; if it waited for a later step to say so, event time could not pass it.
        self.ledger.resume(tokens)

    def advance(self, times: Sequence[float], tokens: Sequence[Token]) -> float:
        """Let event time go on to the times of these values; returns the watermark."""
        if self._only is not None:
            self._only.take(max(times), tokens[-1] if isinstance(tokens, range) else self._newest(tokens))
        else:
            for track, origin, places in self._shares(tokens):
                track.take(max(times) if places is None else max(times[place] for place in places), origin)
        return self.look()

    def look(self) -> float:
        """The watermark, now that sources may have fallen silent or ended."""
        floors = self._floors()
        if self._only is not None:
            reached = self._only.reached(floors.get(self._only) if floors else None)
        elif holding := self._holding(floors):
            times = {track: track.reached(floors.get(track)) for track in holding}
            last = min(holding, key=times.__getitem__)
            reached = times[last]
            for track in self._tracks.values():
                track.wait_for(last if times.get(track, -inf) > reached else None)
        else:
            reached = max(track.reached(None) for track in self._tracks.values())
            for track in self._tracks.values():
                track.wait_for(None)
        self.watermark = max(self.watermark, reached - self.lateness)
        return self.watermark

    def wait(self) -> float | None:
        """In how many seconds a source may have fallen silent for ``idle``; ``None`` where none holds event time back."""
        floors = self._floors()
        # A message that is held back for a retry will be heard of.
        return min(
            (max(self._left(track), self.idle if track in floors else 0.0) for track in self._holding(floors)), default=None
        )

    @property
    def disputed(self) -> bool:
        """Whether a source that falls silent may let event time go on to where another one is."""
        return self._only is None and len(self._holding(self._floors())) > 1

    def _left(self, track: _Track) -> float:
        return track.heard + self.idle - self.run.clock()

    def _floors(self) -> dict[_Track, int]:
        """The oldest source token that is held back for a retry, by source."""
        waiting = self.ledger.waiting
        if self._only is not None:
            return {self._only: min(waiting)} if waiting else {}
        floors: dict[_Track, int] = {}
        for origin in waiting:
            for track in self._tracks_of(origin):
                floors[track] = min(origin, floors.get(track, origin))
        return floors

    def _holding(self, floors: dict[_Track, int]) -> list[_Track]:
        """The sources that hold event time back."""
        return [
            track
            for track in self._tracks.values()
            if track in floors or (self._left(track) > _TICK and not self._ended(track))
        ]

    def _ended(self, track: _Track) -> bool:
        if not track.ended and track.feed is not None and track.feed.ended:
            # What it gave last may still be on its way through the steps before.
            newest = track.origins[-1] if track.origins else -1
            theirs = (each.unsettled[-1] for each in self.ledger.deliveries if each.source is track.feed)
            track.ended = next(theirs, -1) <= newest
        return track.ended

    def _tracks_of(self, origin: int) -> Sequence[_Track]:
        """The sources that a source token is of: several where it stands for what a step before made of its state."""
        if self._only is not None:
            return (self._only,)
        delivery = self.ledger.delivery(origin)
        source = None if delivery is None else delivery.source
        track = self._tracks.get(source)  # type: ignore[call-overload]  # it may be anything
        if track is not None:
            return (track,)
        return [self._tracks[feed] for feed in getattr(source, "sources", self._tracks)]

    def _shares(self, tokens: Sequence[Token]) -> Iterator[_Share]:
        """What came of each source: the newest of its tokens, and the places of its values unless all are."""
        first = tokens[0]
        delivery = self.ledger.delivery(first) if isinstance(first, int) else None
        if delivery is not None and (
            isinstance(tokens, range) or all(isinstance(token, int) and token in delivery.tokens for token in tokens)
        ):
            for track in self._tracks_of(delivery.base):
                yield _Share(track, max(tokens), None)  # type: ignore[arg-type,type-var]  # all are int
            return
        places: dict[_Track, dict[int, int]] = {}
        for place, token in enumerate(tokens):
            for origin in self.ledger.origins(token):
                for track in self._tracks_of(origin):
                    places.setdefault(track, {}).setdefault(place, origin)
        for track, origins in places.items():
            yield _Share(track, max(origins.values()), list(origins))

    def _newest(self, tokens: Sequence[Token]) -> int:
        newest: Token | None = None
        with suppress(TypeError):
            newest = max(tokens)  # type: ignore[type-var]  # integers in nearly every case, else it raises
        # A token alone is compared with nothing, so that it raised nothing says nothing.
        return newest if isinstance(newest, int) else max(next(self.ledger.origins(token)) for token in tokens)


class _Track:
    """How far one source has come."""

    def __init__(self, feed: Feed | None, now: float) -> None:
        self.feed = feed
        self.heard = now
        self.ended = False
        self.newest = -inf
        # The newest source token seen after each chunk, rising, and the newest time among tokens up to it.
        self.origins: list[int] = []
        self.maxima: list[float] = []

    def wait_for(self, other: _Track | None) -> None:
        if self.feed is not None:
            self.feed.behind = None if other is None else other.feed

    def take(self, newest: float, origin: int) -> None:
        self.newest = max(self.newest, newest)
        if self.origins and origin <= self.origins[-1]:
            # An older message, tried again: it counts as late as all that came before it.
            self.maxima[-1] = self.newest
        else:
            self.origins.append(origin)
            self.maxima.append(self.newest)

    def reached(self, floor: int | None) -> float:
        """How far it has come before a source token that is held back."""
        if floor is None:
            if len(self.origins) > 1:
                del self.origins[:-1], self.maxima[:-1]
            return self.newest
        older = bisect_left(self.origins, floor)
        return self.maxima[older - 1] if older else -inf


class _Share(NamedTuple):
    track: _Track
    origin: int
    places: Sequence[int] | None
