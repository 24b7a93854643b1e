"""One queue file in this process: one thread, one connection, one transaction for all that is asked at the same time."""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal, TypeVar

import msgspec

from warren.connectors.records import Records, joined
from warren.connectors.sqlite.faults import BUSY_SECONDS, storage_error
from warren.connectors.sqlite.locks import Lock, is_dead
from warren.connectors.sqlite.tables import Claim, Tables
from warren.connectors.sqlite.wal import use_wal

__all__ = ["Seat", "Store", "Synchronous", "Wait"]

Synchronous = Literal["full", "normal"]
"""``full``: what was written survives a power cut. ``normal``: it survives a killed process."""

R = TypeVar("R")

_POLL = 0.025


class _Job:
    """Something to do in the thread, and the future that waits for it."""

    __slots__ = ("future", "loop", "run")

    def __init__(self, run: Callable[[Tables], Any]) -> None:
        self.run = run
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self.loop.create_future()


class _Publish(_Job):
    __slots__ = ("queue", "records")

    def __init__(self, queue: int, records: Records) -> None:
        super().__init__(lambda tables: tables.publish(queue, records, time.time()))
        self.queue = queue
        self.records = records


class Seat:
    """Who holds messages of one queue: its number is known once it has asked for some."""

    def __init__(self, queue: int) -> None:
        self.queue = queue
        self.owner: int | None = None


class Wait(_Job):
    """A receiver that waits for messages, until it is revoked."""

    __slots__ = ("due", "limit", "revoked", "seat", "until_empty")

    def __init__(self, seat: Seat, limit: int, until_empty: bool) -> None:
        super().__init__(self._attempt)
        self.seat = seat
        self.limit = limit
        self.until_empty = until_empty
        self.revoked = False
        self.due: float | None = None

    def look(self, tables: Tables) -> Claim | None:
        """Why there is nothing to take now; ``None`` where there is something."""
        assert self.seat.owner is not None
        found = tables.look(self.seat.queue, self.seat.owner, time.time(), self.until_empty)
        self.due = found.due if found is not None else None
        return found

    def _attempt(self, tables: Tables) -> Claim:
        assert self.seat.owner is not None
        found = self.look(tables)
        if found is None:
            found = Claim(tables.claim(self.seat.queue, self.seat.owner, self.limit, time.time()))
        return found


class _Stop(_Job):
    __slots__ = ()


class Store:
    """One queue file, shared by all who opened it in this process in the same way."""

    _open: ClassVar[dict[tuple[Any, ...], Store]] = {}
    _guard: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, key: tuple[Any, ...], path: str, synchronous: Synchronous, lease: float) -> None:
        self.path = path
        self._key = key
        self._synchronous = synchronous
        self._lease = lease
        self._users = 0
        self._inbox: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._lock = Lock(path)
        self._seats: dict[int, Seat] = {}
        self._waits: list[Wait] = []
        self._durable = True
        self._reaped = 0.0
        self._renewed = 0.0
        self._thread = threading.Thread(target=self._main, name=f"warren-sqlite {path}", daemon=True)
        self._thread.start()

    @classmethod
    def acquire(cls, path: str, synchronous: Synchronous, lease: float) -> Store:
        """The store of a file; every `acquire` needs one `release`."""
        path = os.path.realpath(path)
        # A forked child has the parent's stores, but not their threads.
        key = (os.getpid(), path, synchronous, lease)
        with cls._guard:
            store = cls._open.get(key)
            if store is None:
                store = cls._open[key] = cls(key, path, synchronous, lease)
            store._users += 1
            return store

    async def release(self) -> None:
        """Give the store up; the last user's release closes the file."""
        with self._guard:
            self._users -= 1
            if self._users:
                return
            del self._open[self._key]
        stop = _Stop(lambda tables: None)
        self._inbox.put(stop)
        await stop.future

    def call(self, run: Callable[[Tables], R]) -> asyncio.Future[R]:
        """Do something in the next transaction; done when that is on the disk."""
        job = _Job(run)
        self._inbox.put(job)
        return job.future

    def publish(self, queue: int, records: Records) -> asyncio.Future[None]:
        """Write messages in the next transaction; done when they are on the disk."""
        job = _Publish(queue, records)
        self._inbox.put(job)
        return job.future

    def wait(self, seat: Seat, limit: int, until_empty: bool) -> Wait:
        """Wait for messages; the future's `Claim` has them, or says that none will come or that it was revoked."""
        wait = Wait(seat, limit, until_empty)
        self._inbox.put(wait)
        return wait

    def revoke(self, wait: Wait) -> None:
        """Let a receiver's future end soon, with messages only where it has them already."""
        wait.revoked = True
        self._inbox.put(None)

    def _main(self) -> None:
        try:
            self._db = self._connect()
            self._tables = Tables(self._db)
            self._tables.create()
        except (sqlite3.Error, OSError) as error:
            self._refuse(storage_error(error, self.path))
            return
        stopping: list[_Job] = []
        while not stopping:
            jobs = self._take()
            stopping = [job for job in jobs if isinstance(job, _Stop)]
            self._waits += [job for job in jobs if isinstance(job, Wait)]
            try:
                self._keep_alive()
            except (sqlite3.Error, OSError) as error:
                self._fail(self._waits, storage_error(error, self.path))
                self._waits = []
            self._work([job for job in jobs if not isinstance(job, Wait | _Stop)])
        self._disconnect()
        self._answer([(job, None, None) for job in stopping])

    def _refuse(self, error: Exception) -> None:
        """Answer everyone with the reason why the file cannot be opened."""
        if hasattr(self, "_db"):
            self._db.close()
        while True:
            job = self._inbox.get()
            if isinstance(job, _Stop):
                self._answer([(job, None, None)])
                return
            if job is not None:
                self._fail([job], error)

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None)
        self._db = db
        use_wal(db)
        db.execute(f"PRAGMA synchronous = {self._synchronous}")
        # Freed pages are written over by the next messages, so wiping them first would be work done twice.
        db.execute("PRAGMA secure_delete = OFF")
        db.execute("PRAGMA journal_size_limit = 67108864")
        return db

    def _disconnect(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            self._db.close()
        self._lock.release()

    def _take(self) -> list[_Job]:
        """Everything that is asked for now; waits for it as long as nothing has to be looked after."""
        timeout: float | None = None
        if self._waits:
            now = time.time()
            timeout = max(0.0, min([_POLL, *(wait.due - now for wait in self._waits if wait.due is not None)]))
        elif self._seats:
            timeout = self._lease / 3
        jobs: list[_Job] = []
        try:
            job = self._inbox.get(timeout=timeout)
            while True:
                if job is not None:
                    jobs.append(job)
                job = self._inbox.get_nowait()
        except queue.Empty:
            return jobs

    def _keep_alive(self) -> None:
        """Seat new receivers, renew leases, and take messages back from owners that are gone."""
        now = time.time()
        new = [wait for wait in self._waits if wait.seat.owner is None]
        if new:
            self._lock.acquire()
            until = now + self._lease
            owners = self._transact(lambda: [self._tables.enter(self._lock.name, until) for _ in new], durable=False)
            for wait, owner in zip(new, owners, strict=True):
                wait.seat.owner = owner
                self._seats[owner] = wait.seat
            self._reaped = 0.0
        if self._seats and not 0 <= now - self._renewed < self._lease / 3:
            self._renewed = now
            until = now + self._lease
            self._transact(lambda: self._tables.renew(self._seats, self._lock.name, until), durable=False)
        if self._waits and not 0 <= now - self._reaped < _POLL:
            self._reaped = now
            others = self._tables.others(self._lock.name)
            # A process may have been several owners under its one lock, which is gone once it has been looked at.
            dead = {lock for lock in {lock for _, lock, _ in others} if is_dead(self.path, lock)}
            gone = [owner for owner, lock, lease in others if lease < now or lock in dead]
            if gone:
                self._transact(lambda: self._tables.leave(*gone), durable=False)

    def leave(self, seat: Seat) -> asyncio.Future[None]:
        """Give back what a seat holds."""

        def run(tables: Tables) -> None:
            if seat.owner is not None:
                tables.leave(seat.owner)
                self._seats.pop(seat.owner, None)

        return self.call(run)

    def _work(self, jobs: Sequence[_Job]) -> None:
        """One transaction for all jobs, and for the receivers that find something."""
        revoked = [wait for wait in self._waits if wait.revoked]
        waits = [wait for wait in self._waits if not wait.revoked]
        answers: list[tuple[_Job, Any, Exception | None]] = [(wait, Claim(empty=True), None) for wait in revoked]
        if not jobs:
            waits, idle = self._ready(waits, answers), waits
        else:
            idle = waits
        everyone: list[_Job] = [*jobs, *waits]
        if everyone:
            try:
                answers += self._transact(lambda: self._run_all(jobs, waits), durable=bool(jobs))
            except Exception as error:  # whatever it is, those who wait for an answer get it
                # One of them may be at fault, so each gets a transaction of its own.
                answers += [self._alone(job) for job in everyone] if len(everyone) > 1 else [(everyone[0], None, error)]
        answers = [each for each in answers if not _is_still_waiting(each)]
        answered = {id(job) for job, _, _ in answers}
        self._waits = [wait for wait in idle if id(wait) not in answered]
        self._answer(answers)

    def _ready(self, waits: list[Wait], answers: list[tuple[_Job, Any, Exception | None]]) -> list[Wait]:
        """The receivers that would find something: a look costs no lock."""
        ready = []
        for wait in waits:
            try:
                found = wait.look(self._tables)
            except sqlite3.Error as error:
                answers.append((wait, None, error))
                continue
            if found is None:
                ready.append(wait)
            elif found.empty:
                answers.append((wait, found, None))
        return ready

    def _run_all(self, jobs: Sequence[_Job], waits: Sequence[Wait]) -> list[tuple[_Job, Any, Exception | None]]:
        tables = self._tables
        published: dict[int, list[Records]] = {}
        for job in jobs:
            if isinstance(job, _Publish):
                published.setdefault(job.queue, []).append(job.records)
        for queue_, parts in published.items():
            tables.publish(queue_, joined(parts), time.time())
        return [(job, None if isinstance(job, _Publish) else job.run(tables), None) for job in [*jobs, *waits]]

    def _alone(self, job: _Job) -> tuple[_Job, Any, Exception | None]:
        try:
            return job, self._transact(lambda: job.run(self._tables), durable=not isinstance(job, Wait)), None
        except Exception as error:  # whatever it is, the one who waits for an answer gets it
            return job, None, error

    def _transact(self, work: Callable[[], R], *, durable: bool) -> R:
        # A claim that a power cut undoes is handed out again, so it need not wait for the disk.
        if self._synchronous == "full" and durable is not self._durable:
            self._db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._durable = durable
        self._db.execute("BEGIN IMMEDIATE")
        try:
            result = work()
            self._db.execute("COMMIT")
        except BaseException:
            self._tables.forget()
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        return result

    def _fail(self, jobs: Sequence[_Job], error: Exception) -> None:
        self._answer([(job, None, error) for job in jobs])

    def _answer(self, answers: Sequence[tuple[_Job, Any, Exception | None]]) -> None:
        loops: dict[asyncio.AbstractEventLoop, list[tuple[_Job, Any, Exception | None]]] = {}
        for job, result, error in answers:
            if isinstance(error, sqlite3.Error | msgspec.MsgspecError):
                error = storage_error(error, self.path)
            loops.setdefault(job.loop, []).append((job, result, error))
        for loop, mine in loops.items():
            with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits any more
                loop.call_soon_threadsafe(_deliver, mine)


def _is_still_waiting(answer: tuple[_Job, Any, Exception | None]) -> bool:
    job, result, error = answer
    return isinstance(job, Wait) and error is None and result.batch is None and not result.empty


def _deliver(answers: Sequence[tuple[_Job, Any, Exception | None]]) -> None:
    for job, result, error in answers:
        if not job.future.done():
            if error is not None:
                job.future.set_exception(error)
            else:
                job.future.set_result(result)
