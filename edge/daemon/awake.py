"""Cores that do not sleep between two frames: one that has slept runs the next frame's networks slower."""

from __future__ import annotations

import ctypes
import os
from threading import Event, Thread


class Awake:
    """A thread on each core that this process may use, of a priority below all others (SCHED_IDLE), that waits for a
    lock and does not sleep while it waits. It has its core only while nobody else wants it."""

    def __init__(self) -> None:
        """Keeps them awake from now on."""
        self._libc = ctypes.CDLL(None)
        self._lock = ctypes.c_int()  # glibc's and musl's pthread_spinlock_t
        self._libc.pthread_spin_init(ctypes.byref(self._lock), 0)
        self._libc.pthread_spin_lock(ctypes.byref(self._lock))
        self.threads = [self._start(core) for core in sorted(os.sched_getaffinity(0))]

    def _start(self, core: int) -> Thread:
        """Its priority is lowered from outside, once it no longer runs Python: it must not hold Python's own lock then,
        which others would wait for."""
        waits = Event()
        thread = Thread(target=self._wait, args=(core, waits), name=f"awake {core}", daemon=True)
        thread.start()
        waits.wait()
        assert thread.native_id is not None, "it runs"
        os.sched_setscheduler(thread.native_id, os.SCHED_IDLE, os.sched_param(0))
        return thread

    def _wait(self, core: int, waits: Event) -> None:
        os.sched_setaffinity(0, {core})
        waits.set()
        self._libc.pthread_spin_lock(ctypes.byref(self._lock))  # ctypes lets go of Python's lock meanwhile
        self._libc.pthread_spin_unlock(ctypes.byref(self._lock))

    def close(self) -> None:
        """Each thread that gets the lock hands it on, and ends."""
        self._libc.pthread_spin_unlock(ctypes.byref(self._lock))
        for thread in self.threads:
            thread.join()
