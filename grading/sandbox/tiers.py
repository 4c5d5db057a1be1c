"""What a worker may not do, in tiers. A record names the tier in which it was made.

    T0   any system: a session, a folder and a HOME of its own, no environment variables of the
         grader's, limits on processor time, memory, files and their size
    T1   Linux 5.13 or newer, without special rights: Landlock lets it read only Python's own files
         and write only in its folder; seccomp lets it start no process and no program, open no
         socket and send no signal to others; it has no capabilities
    T2   where the system allows it: T1 in namespaces of its own, so there is no network either

The system enforces the limits. Shared memory and many small files are not covered by them: those
are watched from outside, by resources.ResourceMonitor.
"""

import contextlib
import os
import resource
import struct
import sys
import tempfile

from ..errors import GradingError
from .landlock import allow_files, readable_places
from .seccomp import forbid_calls
from .system import LIBC, end_with_the_parent, failed, prctl

TIERS = ("T0", "T1", "T2")

# From linux/prctl.h and linux/sched.h
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
CAPABILITY_VERSION_3 = 0x20080522  # from linux/capability.h


class TierUnmet(GradingError):
    """This machine does not offer the sandbox that was asked for."""


def available() -> str:
    """The strongest tier that this machine offers, tried out in a child process."""
    return next((tier for tier in reversed(TIERS) if tier == "T0" or can_enter(tier)), "T0")


def tier_for(required: str | None) -> str:
    """The tier of a run: T1 where there is one, or more if more is required. Raises TierUnmet."""
    best = available()
    if required and TIERS.index(required) > TIERS.index(best):
        raise TierUnmet(
            f"This machine gives tier {best} and {required} is required: grade on Linux 5.13 or "
            "newer, or lower --require-tier; nothing was graded."
        )
    return max(required or "T0", min(best, "T1"))


def can_enter(tier: str) -> bool:
    if sys.platform != "linux":
        return False
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            shut(tier, "/tmp")
            os._exit(0)
        os._exit(1)
    return os.waitpid(child, 0)[1] == 0


def enter(tier: str, folder: str, limits: dict, keep: int) -> None:
    """Shut the calling process in for good.

    Of its open files only `keep` stays open; standard input and output lead to /dev/null.
    """
    os.setsid()
    end_with_the_parent()
    devnull = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(devnull, stream)
    os.closerange(3, keep)
    os.closerange(keep + 1, 4096)
    os.chdir(folder)
    os.environ.update(HOME=folder, TMPDIR=folder)
    tempfile.tempdir = folder
    for name, limit in {
        "RLIMIT_CPU": limits["total_cpu"],
        "RLIMIT_DATA": limits["memory"],
        "RLIMIT_CORE": 0,
        "RLIMIT_FSIZE": limits["file"],
        "RLIMIT_NOFILE": 64,
    }.items():
        # A system may have a lower hard limit, or none of that name.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(getattr(resource, name), (limit, limit))
    shut(tier, folder)


def shut(tier: str, folder: str) -> None:
    """Apply what goes beyond T0. Raises SandboxError if the system does not offer it."""
    if tier == "T2":
        leave_namespaces()
    if tier in ("T1", "T2"):
        prctl(PR_SET_NO_NEW_PRIVS, 1)
        allow_files(read=readable_places(), write=folder)
        drop_capabilities()
        forbid_calls()


# Namespaces ---------------------------------------------------------------------------------------


def leave_namespaces() -> None:
    """Give this process an empty network, and share nothing with other processes but the files."""
    flags = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS
    if LIBC.unshare(flags) != 0:
        raise failed("unshare")


# Capabilities -------------------------------------------------------------------------------------


def drop_capabilities() -> None:
    """Give up all capabilities, so that root in here is a user like any other."""
    for capability in range(64):
        LIBC.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    header, none = struct.pack("=Ii", CAPABILITY_VERSION_3, 0), bytes(24)
    if LIBC.capset(header, none) != 0:
        raise failed("capset")
