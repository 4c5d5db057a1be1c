"""What a worker may not do, in tiers. A record names the tier that it was made in.

    T0   any system: own session, own folder and HOME, no variable of the environment, limits on processor time, memory,
         files and their size
    T1   Linux from 5.13 on, no rights needed: Landlock lets it read Python's own files and write in its own folder;
         seccomp lets it make no process, no program, no socket, and no signal for others; no
         capability is left
    T2   where the system allows it: T1 in namespaces of its own, so that there is no network to reach either

The limits are the system's. What they do not count, shared memory and many small files, the judge
watches.
"""

import contextlib
import ctypes
import errno
import os
import platform
import resource
import signal
import struct
import sys
import tempfile
from pathlib import Path

from .errors import GradingError

TIERS = ("T0", "T1", "T2")
LIBC = ctypes.CDLL(None, use_errno=True)

# prctl and unshare, from linux/prctl.h and linux/sched.h
PR_SET_PDEATHSIG, PR_SET_SECCOMP, PR_CAPBSET_DROP, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = (
    1,
    22,
    24,
    36,
    38,
)
NEWNS, NEWUTS, NEWIPC, NEWUSER, NEWNET = 0x00020000, 0x04000000, 0x08000000, 0x10000000, 0x40000000


class TierUnmet(GradingError):
    """This machine does not have the sandbox that was asked for."""


class SandboxError(Exception):
    """The system does not give what a tier needs."""


def available() -> str:
    """The strongest tier that this machine gives, tried out in a child."""
    return next((tier for tier in reversed(TIERS) if tier == "T0" or can_enter(tier)), "T0")


def tier_for(required: str | None) -> str:
    """The tier of a run: T1 where there is one, or more if more is required. Raises TierUnmet."""
    best = available()
    if required and TIERS.index(required) > TIERS.index(best):
        raise TierUnmet(
            f"This machine gives tier {best} and {required} is required: grade on Linux 5.13 or newer, "
            f"or lower --require-tier; nothing was graded."
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
    """Shut the calling process in, for good; of its open files `keep` stays, and input and output
    lead nowhere."""
    os.setsid()
    end_with_the_parent()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    os.closerange(3, keep)
    os.closerange(keep + 1, 4096)
    os.chdir(folder)
    os.environ.update(HOME=folder, TMPDIR=folder)
    tempfile.tempdir = folder
    for name, most in {
        "RLIMIT_CPU": limits["total_cpu"],
        "RLIMIT_DATA": limits["memory"],
        "RLIMIT_CORE": 0,
        "RLIMIT_FSIZE": limits["file"],
        "RLIMIT_NOFILE": 64,
    }.items():
        with contextlib.suppress(
            ValueError, OSError
        ):  # a system may have a lower limit, or none of that name
            resource.setrlimit(getattr(resource, name), (most, most))
    shut(tier, folder)


def shut(tier: str, folder: str) -> None:
    """What goes beyond T0. Raises SandboxError where the system does not give it."""
    if tier == "T2":
        leave_namespaces()
    if tier in ("T1", "T2"):
        prctl(PR_SET_NO_NEW_PRIVS, 1)
        allow_files(read=readable(), write=folder)
        drop_capabilities()
        forbid_calls()


def prctl(*arguments: int) -> None:
    if LIBC.prctl(*(ctypes.c_ulong(argument) for argument in (*arguments, 0, 0, 0, 0)[:5])) != 0:
        raise SandboxError(f"prctl {arguments[0]}: {os.strerror(ctypes.get_errno())}")


# Namespaces ---------------------------------------------------------------------------------------


def leave_namespaces() -> None:
    """A network without a way out, and nothing shared with other processes but the files."""
    if LIBC.unshare(NEWUSER | NEWNS | NEWNET | NEWIPC | NEWUTS) != 0:
        raise SandboxError(f"unshare: {os.strerror(ctypes.get_errno())}")


# Files: Landlock ----------------------------------------------------------------------------------

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # the same numbers on every processor
READ_FILE, READ_DIR, WRITE_FILE, TRUNCATE = 1 << 2, 1 << 3, 1 << 1, 1 << 14
RIGHTS_OF_ABI = {
    1: (1 << 13) - 1,
    2: (1 << 14) - 1,
    3: (1 << 15) - 1,
    4: (1 << 15) - 1,
    5: (1 << 16) - 1,
}
TCP, SCOPES = 0b11, 0b11  # bind and connect; abstract sockets and signals


def readable() -> list[str]:
    """Python's own files, the packages', and the libraries they need."""
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
    """From here on the process reads below `read`, reads and writes below `write`, and opens
    nothing else."""
    abi = LIBC.syscall(CREATE_RULESET, None, 0, 1)
    if abi < 1:
        raise SandboxError("this system has no Landlock")
    rights = RIGHTS_OF_ABI[min(abi, max(RIGHTS_OF_ABI))]
    attributes = struct.pack("=QQQ", rights, TCP if abi >= 4 else 0, SCOPES if abi >= 6 else 0)
    length = 24 if abi >= 6 else 16 if abi >= 4 else 8
    rules = LIBC.syscall(CREATE_RULESET, attributes, ctypes.c_size_t(length), 0)
    if rules < 0:
        raise SandboxError(f"Landlock: {os.strerror(ctypes.get_errno())}")
    for place in read:
        add_rule(rules, place, READ_FILE | READ_DIR)
    add_rule(rules, "/dev/null", READ_FILE | WRITE_FILE)
    add_rule(rules, write, rights & ~1)  # all but to execute
    if LIBC.syscall(RESTRICT_SELF, rules, 0) != 0:
        raise SandboxError(f"Landlock: {os.strerror(ctypes.get_errno())}")
    os.close(rules)


def add_rule(rules: int, place: str, rights: int) -> None:
    folder = os.open(place, os.O_PATH | os.O_CLOEXEC)
    if not os.path.isdir(place):
        rights &= READ_FILE | WRITE_FILE
    beneath = struct.pack("=Qi", rights, folder)
    if LIBC.syscall(ADD_RULE, rules, 1, beneath, 0) != 0:
        raise SandboxError(f"Landlock, {place}: {os.strerror(ctypes.get_errno())}")
    os.close(folder)


# Capabilities -------------------------------------------------------------------------------------


def drop_capabilities() -> None:
    """Leave none, so that root in here is a user like any other."""
    for capability in range(64):
        LIBC.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    header, nothing = struct.pack("=Ii", 0x20080522, 0), bytes(24)
    if LIBC.capset(header, nothing) != 0:
        raise SandboxError(f"capset: {os.strerror(ctypes.get_errno())}")


# Calls: seccomp -----------------------------------------------------------------------------------

# Call numbers of x86_64 and of aarch64; -1 where a processor does not have the call.
FORBIDDEN = {
    "fork": (57, -1),
    "vfork": (58, -1),
    "execve": (59, 221),
    "execveat": (322, 281),
    "ptrace": (101, 117),
    "socket": (41, 198),
    "socketpair": (53, 199),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "shmat": (30, 196),
    "msgget": (68, 186),
    "semget": (64, 190),
    "mq_open": (240, 180),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "bpf": (321, 280),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "mount_setattr": (442, 442),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "fanotify_init": (300, 262),
    "personality": (135, 92),
    "quotactl": (179, 60),
    "shmctl": (31, 195),
    "msgctl": (71, 187),
    "msgsnd": (69, 189),
    "msgrcv": (70, 188),
    "semctl": (66, 191),
    "semop": (65, 193),
    "semtimedop": (220, 192),
    "inotify_init": (253, -1),
    "inotify_init1": (294, 26),
    "inotify_add_watch": (254, 27),
    "setpriority": (141, 140),
    "ioprio_set": (251, 30),
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119),
    "sched_setaffinity": (203, 122),
    "sched_setattr": (314, 274),
    "mq_unlink": (241, 181),
    "mq_timedsend": (242, 182),
    "mq_timedreceive": (243, 183),
    "syslog": (103, 116),
    "io_setup": (206, 0),
    "truncate": (76, 45),
    "openat2": (437, 437),
}
# Landlock does not look after what these change, and they reach all files of the user. They do
# nothing and say that all is well, since copying and touching a file of one's own must not fail.
WITHOUT_EFFECT = {
    "chmod": (90, -1),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, -1),
    "fchown": (93, 55),
    "lchown": (94, -1),
    "fchownat": (260, 54),
    "utime": (132, -1),
    "utimes": (235, -1),
    "futimesat": (261, -1),
    "utimensat": (280, 88),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "setxattrat": (463, 463),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "removexattrat": (466, 466),
    "file_setattr": (469, 469),
}
TO_ITSELF_ALONE = {
    "kill": (62, 129),
    "tgkill": (234, 131),
    "tkill": (200, 130),
    "prlimit64": (302, 261),
}
CLONE, CLONE3 = (56, 220), (435, 435)
# Before Linux 6.2 and 6.12 Landlock does not see these: (call, place of the argument, mask, value
# that is refused).
IN_THIS_FORM = [
    ((2, -1), 1, 0o1003, 0o1000),
    ((257, 56), 2, 0o1003, 0o1000),  # open to read, and empty
    *(((72, 25), 1, 0xFFFFFFFF, command) for command in (8, 10, 15)),  # fcntl: signals for others
    *(((16, 29), 1, 0xFFFFFFFF, request) for request in (0x8901, 0x8902, 0x5452)),
]  # ioctl: the same
MACHINES = {
    "x86_64": (0, 0xC000003E),
    "aarch64": (1, 0xC00000B7),
}  # column above, and the number that seccomp calls it
X32 = 0x40000000  # call numbers of x86_64's other interface begin here
THREAD = 0x00010000  # the flag of clone that makes a thread and not a process

LOAD, EQUAL, AT_LEAST, BITS, RETURN, AND = 0x20, 0x15, 0x35, 0x45, 0x06, 0x54
ALLOW, KILL, DONE = 0x7FFF0000, 0x80000000, 0x00050000
REFUSE, ABSENT = DONE | errno.EPERM, DONE | errno.ENOSYS
NUMBER, MACHINE, FIRST = (
    0,
    4,
    16,
)  # places in what a filter is shown; an argument has 8 bytes, its low half first


def forbid_calls() -> None:
    if platform.machine() not in MACHINES:
        raise SandboxError(f"no list of system calls for {platform.machine()}")
    program = filter_program(*MACHINES[platform.machine()], own=os.getpid())
    lines = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in program))
    head = ctypes.create_string_buffer(struct.pack("@HP", len(program), ctypes.addressof(lines)))
    prctl(PR_SET_SECCOMP, 2, ctypes.addressof(head))


def filter_program(column: int, machine: int, own: int) -> list[tuple[int, int, int, int]]:
    """The filter, a line an instruction: (code, lines to skip if true, if false, number)."""
    lines = [
        (LOAD, 0, 0, MACHINE),
        (EQUAL, 1, 0, machine),
        (RETURN, 0, 0, KILL),
        (LOAD, 0, 0, NUMBER),
    ]
    if column == 0:
        lines += [(AT_LEAST, 0, 1, X32), (RETURN, 0, 0, KILL)]
    for calls, answer in ((FORBIDDEN, REFUSE), (WITHOUT_EFFECT, DONE)):
        for number in (numbers[column] for numbers in calls.values() if numbers[column] >= 0):
            lines += [(EQUAL, 0, 1, number), (RETURN, 0, 0, answer)]
    lines += [
        (EQUAL, 0, 1, CLONE3[column]),
        (RETURN, 0, 0, ABSENT),
    ]  # the C library then uses clone
    lines += [
        (EQUAL, 0, 4, CLONE[column]),
        (LOAD, 0, 0, FIRST),
        (BITS, 0, 1, THREAD),
        (RETURN, 0, 0, ALLOW),
        (RETURN, 0, 0, REFUSE),
    ]
    for numbers, place, mask, value in IN_THIS_FORM:
        if numbers[column] >= 0:
            lines += [
                (EQUAL, 0, 5, numbers[column]),
                (LOAD, 0, 0, FIRST + 8 * place),
                (AND, 0, 0, mask),
                (EQUAL, 0, 1, value),
                (RETURN, 0, 0, REFUSE),
                (LOAD, 0, 0, NUMBER),
            ]
    for name, numbers in TO_ITSELF_ALONE.items():
        lines += to_itself_alone(
            numbers[column], (own,) if name in ("kill", "tgkill") else (0, own)
        )
    return [*lines, (RETURN, 0, 0, ALLOW)]


def to_itself_alone(number: int, pids: tuple[int, ...]) -> list[tuple[int, int, int, int]]:
    """Allow the call where its first argument is one of `pids`, and refuse it for all else."""
    tests = [(EQUAL, len(pids) - place, 0, pid) for place, pid in enumerate(pids)]
    return [
        (EQUAL, 0, len(tests) + 3, number),
        (LOAD, 0, 0, FIRST),
        *tests,
        (RETURN, 0, 0, REFUSE),
        (RETURN, 0, 0, ALLOW),
    ]


# Around the workers -------------------------------------------------------------------------------


def adopt() -> None:
    """Whoever a child leaves behind becomes a child of this process, where the system can do
    that."""
    if sys.platform == "linux":
        prctl(PR_SET_CHILD_SUBREAPER, 1)


def end_with_the_parent() -> None:
    """Have the system kill this process when its parent has ended."""
    if sys.platform == "linux":
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def end_children() -> int:
    """Kill and bury all children of this process, and theirs as they become ours; how many there
    were."""
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
