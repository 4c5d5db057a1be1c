"""Which files a process may read and write: Landlock, of Linux 5.13 and newer."""

import ctypes
import os
import struct
import sys

from .system import LIBC, SandboxError, failed

# System calls, with the same numbers on every processor.
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
# Rights, from linux/landlock.h, and all of them by the version of its interface.
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
RIGHTS_OF_ABI = {
    1: (1 << 13) - 1,
    2: (1 << 14) - 1,
    3: (1 << 15) - 1,
    4: (1 << 15) - 1,
    5: (1 << 16) - 1,
}
TCP, SCOPES = 0b11, 0b11  # bind and connect; abstract sockets and signals


def readable_places() -> list[str]:
    """Python's own files, those of packages, and the libraries that they need."""
    packages = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    places = [
        sys.prefix,
        sys.base_prefix,
        *packages,
        "/usr/lib",
        "/usr/lib64",
        "/lib",
        "/lib64",
        "/usr/share/zoneinfo",
        "/dev/urandom",
        "/dev/zero",
        "/dev/null",
    ]
    return [place for place in dict.fromkeys(places) if os.path.exists(place)]


def allow_files(read: list[str], write: str) -> None:
    """Let this process read below `read`, read and write below `write`, and open nothing else."""
    abi = LIBC.syscall(CREATE_RULESET, None, 0, 1)
    if abi < 1:
        raise SandboxError("this system has no Landlock")
    rights = RIGHTS_OF_ABI[min(abi, max(RIGHTS_OF_ABI))]
    attributes = struct.pack("=QQQ", rights, TCP if abi >= 4 else 0, SCOPES if abi >= 6 else 0)
    length = 24 if abi >= 6 else 16 if abi >= 4 else 8
    rules = LIBC.syscall(CREATE_RULESET, attributes, ctypes.c_size_t(length), 0)
    if rules < 0:
        raise failed("Landlock")
    for place in read:
        add_rule(rules, place, READ_FILE | READ_DIR)
    add_rule(rules, "/dev/null", READ_FILE | WRITE_FILE)
    add_rule(rules, write, rights & ~EXECUTE)
    if LIBC.syscall(RESTRICT_SELF, rules, 0) != 0:
        raise failed("Landlock")
    os.close(rules)


def add_rule(rules: int, place: str, rights: int) -> None:
    folder = os.open(place, os.O_PATH | os.O_CLOEXEC)
    if not os.path.isdir(place):
        rights &= READ_FILE | WRITE_FILE
    beneath = struct.pack("=Qi", rights, folder)
    if LIBC.syscall(ADD_RULE, rules, 1, beneath, 0) != 0:
        raise failed(f"Landlock, {place}")
    os.close(folder)
