"""The C library, and the processes that belong to this one."""

import contextlib
import ctypes
import os
import signal
import sys
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)

# From linux/prctl.h
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


class SandboxError(Exception):
    """The system does not offer what a tier needs."""


def prctl(*arguments: int) -> None:
    if LIBC.prctl(*(ctypes.c_ulong(argument) for argument in (*arguments, 0, 0, 0, 0)[:5])) != 0:
        raise failed(f"prctl {arguments[0]}")


def failed(call: str) -> SandboxError:
    """The error for a call of the C library that has just failed."""
    return SandboxError(f"{call}: {os.strerror(ctypes.get_errno())}")


def adopt_orphans() -> None:
    """Make this process the parent of all orphans among its descendants, if the system can.

    It stays so as long as the process lives.
    """
    if sys.platform == "linux":
        prctl(PR_SET_CHILD_SUBREAPER, 1)


def end_with_the_parent() -> None:
    """Have the system kill this process when its parent ends, if the system can."""
    if sys.platform == "linux":
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def end_children() -> int:
    """Kill and reap all children, and theirs as they are orphaned; returns how many there were."""
    ended = 0
    while True:
        for pid in children():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return ended
        ended += 1


def children() -> list[int]:
    place = Path(f"/proc/self/task/{os.getpid()}/children")
    return list(map(int, place.read_text().split())) if place.exists() else []
