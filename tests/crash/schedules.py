"""Two threads under one scheduler: only one runs at a time, and where they change places is chosen, not left to chance.

A thread may lose its place before each of its calls, at each call of storage, at each lock that it takes and where it
waits. ``every_schedule`` runs a scene again and again, each time with one more choice made differently, until every
schedule with at most so many preemptions was run (a switch away from a thread that could have gone on; Musuvathi and
Qadeer, "Iterative context bounding", PLDI 2007). Waiting with a timeout ends only when no thread can go on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

PATIENCE_S: Final = 60.0
"""After which a thread that should have come back counts as stuck."""


class Stuck(AssertionError):
    """No thread can go on, and none waits with a timeout: a deadlock."""


class _Thread:
    def __init__(self, work: Callable[[], None]) -> None:
        self.go = threading.Semaphore(0)
        self.ready: Callable[[], bool] = lambda: True
        """Whether what it waits for has come."""
        self.timed = False
        """Whether it waits with a timeout."""
        self.timed_out = False
        self.done = False
        self.error: BaseException | None = None
        self.work = work
        self.real: threading.Thread | None = None


class Choice(NamedTuple):
    """A place where threads may change."""

    options: tuple[int, ...]
    """Threads that can go on, the one that runs first if it is among them."""
    taken: int
    preempts: bool
    """Whether any option but the first would be a preemption."""


class Scheduler:
    """Runs the works to their ends in the order that ``prefix`` says; from there on without a preemption."""

    def __init__(self, prefix: Sequence[int]) -> None:
        self.choices: list[Choice] = []
        self._prefix = prefix
        self._threads: list[_Thread] = []
        self._finished = threading.Semaphore(0)
        self._by_ident: dict[int, _Thread] = {}
        self.failure: BaseException | None = None

    def run(self, works: Sequence[Callable[[], None]]) -> None:
        """Runs all works; raises what one of them raised."""
        self._threads = [_Thread(work) for work in works]
        for thread in self._threads:
            thread.real = threading.Thread(target=self._body, args=(thread,), daemon=True)
            thread.real.start()
        self._pass_on(None)
        assert self._finished.acquire(timeout=PATIENCE_S), "a thread is stuck outside of the scheduler"
        if self.failure is not None:
            raise self.failure
        for thread in self._threads:
            assert thread.real is not None
            thread.real.join(PATIENCE_S)
            if thread.error is not None:
                raise thread.error

    def _body(self, thread: _Thread) -> None:
        self._by_ident[threading.get_ident()] = thread
        thread.go.acquire()
        try:
            thread.work()
        except BaseException as error:
            thread.error = error
        thread.done = True
        self._pass_on(thread)

    def point(self) -> None:
        """Here another thread may come."""
        thread = self._by_ident.get(threading.get_ident())
        if thread is not None:
            self._pass_on(thread)

    def wait(self, ready: Callable[[], bool], *, timed: bool = False) -> bool:
        """Until ``ready``; False if it was timed and nothing else could go on."""
        thread = self._by_ident.get(threading.get_ident())
        if thread is None:
            assert ready(), "nobody is there to wait for"
            return True
        thread.ready, thread.timed, thread.timed_out = ready, timed, False
        self._pass_on(thread)
        thread.ready, thread.timed = lambda: True, False
        return not thread.timed_out

    def _pass_on(self, current: _Thread | None) -> None:
        alive = [thread for thread in self._threads if not thread.done]
        if not alive:
            self._finished.release()
            return
        able = [thread for thread in alive if thread.ready()]
        if not able:
            able = [thread for thread in alive if thread.timed][:1]
            if not able:
                self.failure = Stuck("no thread can go on")
                self._finished.release()
                threading.Event().wait()  # the thread is a daemon, and the run has failed
            able[0].timed_out = True
        if current in able:
            able.sort(key=lambda thread: thread is not current)
        options = tuple(self._threads.index(thread) for thread in able)
        position = len(self.choices)
        taken = min(self._prefix[position], len(options) - 1) if position < len(self._prefix) else 0
        self.choices.append(Choice(options, taken, current in able))
        chosen = able[taken]
        if chosen is not current:
            chosen.go.release()
            if current is not None and not current.done:
                current.go.acquire()


def every_schedule(scene: Callable[[Scheduler], None], preemptions: int) -> Iterator[None]:
    """Runs the scene under every schedule with at most so many preemptions; yields after each."""
    waiting: list[tuple[list[int], int]] = [([], 0)]
    while waiting:
        prefix, used = waiting.pop()
        scheduler = Scheduler(prefix)
        try:
            scene(scheduler)
        except BaseException as error:
            error.add_note(f"under the schedule {[choice.taken for choice in scheduler.choices]}")
            raise
        yield
        for position in range(len(prefix), len(scheduler.choices)):
            choice = scheduler.choices[position]
            cost = used + choice.preempts
            if cost <= preemptions:
                taken = [earlier.taken for earlier in scheduler.choices[:position]]
                waiting += [([*taken, other], cost) for other in range(1, len(choice.options))]


class Lock:
    """In place of threading.RLock."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._owner: int | None = None
        self._depth = 0

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        me = threading.get_ident()
        if self._owner != me:
            self._scheduler.point()
            if not self._scheduler.wait(lambda: self._owner is None, timed=timeout >= 0):
                return False
            self._owner = me
        self._depth += 1
        return True

    def release(self) -> None:
        assert self._owner == threading.get_ident()
        self._depth -= 1
        if not self._depth:
            self._owner = None

    def _is_owned(self) -> bool:
        return self._owner == threading.get_ident()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: Any) -> None:
        self.release()


class Condition(Lock):
    """In place of threading.Condition; only ``wait_for``."""

    def wait_for(self, predicate: Callable[[], bool], timeout: float | None = None) -> bool:
        depth, self._depth, self._owner = self._depth, 0, None
        came = self._scheduler.wait(lambda: predicate() and self._owner is None, timed=timeout is not None)
        if not came:
            self._scheduler.wait(lambda: self._owner is None)
        self._depth, self._owner = depth, threading.get_ident()
        return predicate()

    def notify_all(self) -> None:
        """Nothing: whoever waits is asked at each change of places."""


class Threading:
    """What a module sees of ``threading`` in a scene."""

    get_ident = staticmethod(threading.get_ident)
    TIMEOUT_MAX = threading.TIMEOUT_MAX

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    def RLock(self) -> Lock:
        return Lock(self._scheduler)

    def Condition(self) -> Condition:
        return Condition(self._scheduler)
