"""Cores that do not sleep between two frames: one that has slept runs the next frame's networks slower."""

from __future__ import annotations

import ctypes
import os

from edge.errors import EngineError

LOCK_BYTES = 64  # more than a pthread_spinlock_t; whoever waits for one does not sleep


def keep_awake() -> None:
    """A thread on each core that this process may use waits for a lock that is never given back, until the process
    ends: outside Python, and below all other threads of this process (SCHED_IDLE). Another service has to share such a
    core with it evenly, as the kernel weighs services before it looks at their threads.

    Raises EngineError where the box allows no such thread.
    """
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    lock = ctypes.c_void_p(libc.malloc(ctypes.c_size_t(LOCK_BYTES)))  # never freed: the threads outlive Python
    libc.pthread_spin_init(lock, 0)
    libc.pthread_spin_lock(lock)
    for core in sorted(os.sched_getaffinity(0)):
        code = _wait_on(core, lock, libc)
        if code:
            why = f"awake = true: core {core} cannot be kept from sleeping: {os.strerror(code)}"
            raise EngineError(f"{why}; leave out awake")


def _wait_on(core: int, lock: ctypes.c_void_p, libc: ctypes.CDLL) -> int:
    """0, or the error's number."""
    thread, priority = ctypes.c_ulong(), ctypes.c_int(0)
    only = (ctypes.c_uint8 * (core // 64 * 8 + 8))()  # a cpu_set_t, as long as this core needs it
    only[core // 8] = 1 << core % 8
    code: int = (
        libc.pthread_create(ctypes.byref(thread), None, libc.pthread_spin_lock, lock)
        or libc.pthread_setaffinity_np(thread, ctypes.c_size_t(len(only)), only)
        or libc.pthread_setschedparam(thread, os.SCHED_IDLE, ctypes.byref(priority))
    )
    return code
