"""Which system calls a process may make: a seccomp filter."""

import ctypes
import errno
import os
import platform
import struct

from .system import SandboxError, prctl

PR_SET_SECCOMP = 22  # from linux/prctl.h

# Numbers of system calls on x86_64 and aarch64; -1 if a processor does not have the call.
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
# Landlock does not control what these calls change, and they reach every file of the user. They are
# made to succeed without doing anything, since copying or touching one's own file must not fail.
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
ON_ITSELF_ONLY = {
    "kill": (62, 129),
    "tgkill": (234, 131),
    "tkill": (200, 130),
    "prlimit64": (302, 261),
}
CLONE, CLONE3 = (56, 220), (435, 435)
# Refused with certain arguments, since Landlock does not see them before Linux 6.2 and 6.12:
# (numbers of the call, index of the argument, mask, value that is refused).
WITH_THESE_ARGUMENTS = [
    # open and openat for reading, with O_TRUNC
    ((2, -1), 1, 0o1003, 0o1000),
    ((257, 56), 2, 0o1003, 0o1000),
    # fcntl and ioctl that have signals sent to other processes
    *(((72, 25), 1, 0xFFFFFFFF, command) for command in (8, 10, 15)),
    *(((16, 29), 1, 0xFFFFFFFF, request) for request in (0x8901, 0x8902, 0x5452)),
]
# The column in the tables above, and the number by which seccomp knows the processor.
MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
X32 = 0x40000000  # x86_64 has a second interface; the numbers of its calls begin here
THREAD = 0x00010000  # the flag of clone that makes a thread instead of a process

# Operations and answers of a filter program, from linux/bpf_common.h and linux/seccomp.h
LOAD, EQUAL, AT_LEAST, BITS, RETURN, AND = 0x20, 0x15, 0x35, 0x45, 0x06, 0x54
ALLOW, KILL, DONE = 0x7FFF0000, 0x80000000, 0x00050000
REFUSE, ABSENT = DONE | errno.EPERM, DONE | errno.ENOSYS
# Offsets in struct seccomp_data; an argument has 8 bytes, its low half first.
NUMBER, MACHINE, FIRST_ARGUMENT = 0, 4, 16


def forbid_calls() -> None:
    if platform.machine() not in MACHINES:
        raise SandboxError(f"no list of system calls for {platform.machine()}")
    program = filter_program(*MACHINES[platform.machine()], own=os.getpid())
    lines = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in program))
    head = ctypes.create_string_buffer(struct.pack("@HP", len(program), ctypes.addressof(lines)))
    prctl(PR_SET_SECCOMP, 2, ctypes.addressof(head))


def filter_program(column: int, machine: int, own: int) -> list[tuple[int, int, int, int]]:
    """The filter; each instruction is (code, lines to skip if true, if false, number)."""
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
    # Without clone3, the C library falls back to clone, whose flags a filter can read.
    lines += [(EQUAL, 0, 1, CLONE3[column]), (RETURN, 0, 0, ABSENT)]
    lines += [
        (EQUAL, 0, 4, CLONE[column]),
        (LOAD, 0, 0, FIRST_ARGUMENT),
        (BITS, 0, 1, THREAD),
        (RETURN, 0, 0, ALLOW),
        (RETURN, 0, 0, REFUSE),
    ]
    for numbers, place, mask, value in WITH_THESE_ARGUMENTS:
        if numbers[column] >= 0:
            lines += [
                (EQUAL, 0, 5, numbers[column]),
                (LOAD, 0, 0, FIRST_ARGUMENT + 8 * place),
                (AND, 0, 0, mask),
                (EQUAL, 0, 1, value),
                (RETURN, 0, 0, REFUSE),
                (LOAD, 0, 0, NUMBER),
            ]
    for name, numbers in ON_ITSELF_ONLY.items():
        lines += on_itself_only(numbers[column], (own,) if name in ("kill", "tgkill") else (0, own))
    return [*lines, (RETURN, 0, 0, ALLOW)]


def on_itself_only(number: int, pids: tuple[int, ...]) -> list[tuple[int, int, int, int]]:
    """Allow the call if its first argument is one of `pids`, and refuse it otherwise."""
    tests = [(EQUAL, len(pids) - place, 0, pid) for place, pid in enumerate(pids)]
    return [
        (EQUAL, 0, len(tests) + 3, number),
        (LOAD, 0, 0, FIRST_ARGUMENT),
        *tests,
        (RETURN, 0, 0, REFUSE),
        (RETURN, 0, 0, ALLOW),
    ]
