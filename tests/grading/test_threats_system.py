"""Answers that turn on the machine: rows G04, G09-G12 and G44, each with the layer that stops it.

If a layer is missing, nothing here endangers the machine: what would is first tried in a form that
does no harm.
"""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import sysconfig
import threading
import uuid
from pathlib import Path

import psutil
import pytest
from made import submission
from threats import (
    LAB,
    LIMITS,
    ROOT,
    SECRET,
    SOLVED,
    TIERS,
    answer,
    answers,
    at_each_tier,
    attack,
    cells,
    grade,
    leaves_nothing,
    limited,
    marker_at,
    mistakes,
    needs_t1,
    refuses,
)

from grading.marking import Marker, MarkingSettings
from grading.sandbox import landlock, tiers

# Memory -------------------------------------------------------------------------------------------

MEMORY = {
    "loss": "import torch\nreturn torch.empty(50 * 2**28).fill_(1)",
    "sequence_loss": "kept = []\nwhile True:\n    kept.append(bytes(2**20))",
    "silent_bug": "import mmap\nkept = []\nwhile True:\n    kept.append(mmap.mmap(-1, 2**24))\n"
    "    kept[-1].write(bytes(2**24))",
}


@at_each_tier
def test_g09_memory(tier):
    """G09, rlimit and monitor: no process exceeds its limit on memory, of its own or shared."""
    before = psutil.virtual_memory().available
    attack(tier, answers(**MEMORY), {f"sft.{name}": {"error", "crashed"} for name in MEMORY})
    assert psutil.virtual_memory().available > before - 2**30


def test_g09_memory_of_children():
    """G09, monitor: at T0 a worker may have children, and their memory counts as well."""
    body = """
        import mmap, os, time
        full, filled = os.pipe()
        for _ in range(3):
            if os.fork() == 0:
                shared = mmap.mmap(-1, 200 * 2**20)
                for _ in range(200):
                    shared.write(bytes(2**20))
                os.write(filled, b"x")
                time.sleep(3)
                os._exit(0)
        for _ in range(3):
            os.read(full, 1)
        time.sleep(2)
        RIGHT
        """
    attack("T0", {"sft.loss": answer("sft.loss", body)}, {"sft.loss": "crashed"})


def test_g09_memory_of_orphans():
    """G09, monitor: the memory of processes that are orphaned counts as well."""
    body = """
        import mmap, os, time
        if os.fork() == 0:
            if os.fork() == 0:
                shared = mmap.mmap(-1, 2**29)
                for _ in range(32):
                    shared.write(bytes(2**24))
                time.sleep(1)
            os._exit(0)
        os.wait()
        time.sleep(0.9)
        RIGHT
        """
    attack("T0", {"sft.loss": answer("sft.loss", body)}, {"sft.loss": "crashed"})


def test_g04_processor_time_of_children():
    """G04, monitor: at T0 a worker may have children, and their time counts as well."""
    body = """
        import os, time
        for _ in range(2):
            if os.fork() == 0:
                end = time.time() + 0.8
                while time.time() < end:
                    pass
                os._exit(0)
        time.sleep(1)
        RIGHT
        """
    attack("T0", {"sft.loss": answer("sft.loss", body)}, {"sft.loss": "timeout"}, cpu=0.3)


# Processes ----------------------------------------------------------------------------------------


def test_g10_children_at_t0():
    """G10, fork server: the children of a worker end with it. (T0 does not limit their number.)"""
    body = (
        "import os, time\nfor _ in range(6):\n    if os.fork() == 0:\n        time.sleep(30)\nRIGHT"
    )
    attack("T0", answers(loss=body), {})


@needs_t1
def test_g10_children_at_t1():
    """G10, seccomp: no process and no program can be started."""
    attack(
        "T1",
        refuses(
            "os.fork()",
            "os.forkpty()",
            "subprocess.run(['/bin/true'])",
            "os.system('true') and 1 / 0",
            "os.posix_spawn('/bin/true', ['true'], {})",
            "os.execv('/bin/true', ['true'])",
            "call(58)",
            by="(PermissionError, ZeroDivisionError)",
        ),
        {},
    )


@pytest.mark.parametrize("tier", TIERS[-1:])
def test_g10_threads(tier):
    """G10, monitor: threads with small stacks escape the limit on memory, so they are counted."""
    body = (
        "import threading, time\nthreading.stack_size(32768)\nfor _ in range(1500):\n"
        "    threading.Thread(target=time.sleep, args=(2,), daemon=True).start()\ntime.sleep(0.3)\nRIGHT"
    )
    attack(tier, answers(loss=body), {"sft.loss": {"crashed", "error"}})


DAEMON = """
import os, signal, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for number in range(1, 32):
            if number not in (signal.SIGKILL, signal.SIGSTOP):
                signal.signal(number, signal.SIG_IGN)
        time.sleep(20)
    os._exit(0)
os.wait()
"""


def test_g11_a_daemon_at_t0():
    """G11, fork server: orphans become the fork server's own, and end with the worker."""
    attack("T0", answers(loss=DAEMON + "RIGHT"), {})


def test_g11_a_daemon_that_holds_the_line():
    """G11, monitor: the channel stays open though the worker is gone; the wait has an end."""
    attack(
        "T0", answers(loss=DAEMON + "os._exit(0)"), {"sft.loss": {"timeout", "crashed"}}, wall=0.5
    )


# The grader's own processes -----------------------------------------------------------------------


@contextlib.contextmanager
def unstuck_after(marker, seconds):
    """Kill the fork server after a while, so that no marker waits; yields what was killed."""
    killed = []

    def kill():
        killed.append(marker.fork_server.process.pid)
        marker.fork_server.process.kill()

    timer = threading.Timer(seconds, kill)
    timer.start()
    yield killed
    timer.cancel()


@pytest.mark.parametrize("number", ["SIGKILL", "SIGSTOP"])
def test_g12_signals_to_the_fork_server_at_t0(monkeypatch, number):
    """G12, marker: at T0 a worker can end the fork server; the marker starts another one.

    A person has to look at the submission.
    """
    marker = marker_at("T0")
    body = (
        f"import os, signal, time\nos.kill(os.getppid(), signal.{number})\ntime.sleep(0.1)\nRIGHT"
    )
    monkeypatch.setattr("grading.sandbox.fork_server.TIMEOUT_SECONDS", 2)
    with unstuck_after(marker, 40) as killed, limited(marker, wall=1):
        record = grade(marker, submission(LAB, cells(loss=body)))
    assert not killed, "the marker waited for a fork server that was stopped"
    assert record.status == "needs review" and record.earned == 0
    leaves_nothing(marker)


def test_an_interrupt_ends_a_call_but_not_the_fork_server():
    """G12, fork server: Ctrl-C is the marker's affair; in a worker it is as in a notebook."""
    server = marker_at("T0").fork_server.process
    os.kill(server.pid, signal.SIGINT)
    body = "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nRIGHT"
    record = attack("T0", answers(loss=body), {"sft.loss": "error"})
    assert "KeyboardInterrupt" in mistakes(record, "sft.loss")[0]
    assert marker_at("T0").fork_server.process is server and server.poll() is None


def test_g12_a_daemon_that_ends_the_fork_server(tmp_path):
    """G12, marker: a daemon that ends the fork server at T0 does not outlive it."""
    body = (
        DAEMON.replace(
            "time.sleep(20)",
            f"""os.fork()
        open({str(tmp_path)!r} + "/" + str(os.getpid()), "w").close()
        time.sleep(20)""",
        )
        + "time.sleep(0.3)\nos.kill(os.getppid(), signal.SIGKILL)\ntime.sleep(1)\nRIGHT"
    )
    record = grade(marker_at("T0"), submission(LAB, cells(loss=body)))
    assert record.status == "needs review", mistakes(record, "sft.loss")
    living = [int(file.name) for file in tmp_path.iterdir() if is_alive(int(file.name))]
    for pid in living:
        os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
    assert len([*tmp_path.iterdir()]) == 2 and living == []
    leaves_nothing(marker_at("T0"))


def is_alive(pid):
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


SIGNALS = [
    "os.kill(os.getppid(), 0)",
    "os.kill(os.getppid(), 9)",
    "os.kill(0, 9)",
    "os.killpg(os.getpgid(os.getppid()), 9)",
    "call(200, os.getppid(), 9)",
    "call(234, os.getppid(), os.getppid(), 9)",
    "call(129, os.getppid(), 9, bytes(128))",
    "os.pidfd_open(os.getppid())",
    "call(101, 16, os.getppid(), 0, 0)",
    "call(302, os.getppid(), 0, bytes(16), 0)",
    "call(310, os.getppid(), 0, 0, 0, 0, 0)",
]


@needs_t1
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers are x86_64's")
def test_g12_signals_at_t1():
    """G12, seccomp: no signal to others, no look into others, by whatever call."""
    pid = marker_at("T1").fork_server.process.pid
    attack("T1", refuses(*SIGNALS), {})
    attack(
        "T1", refuses("os.kill(-1, 9)"), {}
    )  # the calls above were refused, or this would not be reached
    assert (
        marker_at("T1").fork_server.process.pid == pid
        and marker_at("T1").fork_server.process.poll() is None
    )


@needs_t1
def test_g12_signals_through_a_file():
    """G12, Landlock: files that signal others on input (F_SETOWN, F_SETSIG, O_ASYNC) do nothing."""
    marker = marker_at("T1")
    body = (
        "import fcntl, os\nread, write = os.pipe()\nfcntl.fcntl(read, fcntl.F_SETOWN, os.getppid())\n"
        "fcntl.fcntl(read, 10, 15)\nfcntl.fcntl(read, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)\n"
        "os.write(write, b'x')\nRIGHT"
    )
    pid = marker.fork_server.process.pid
    attack("T1", answers(loss=body), {"sft.loss": {"passed", "error"}})
    assert marker.fork_server.process.pid == pid and marker.fork_server.process.poll() is None


class OldLandlock:
    """The C library on Linux 5.13, where Landlock does not cover truncation, ports and signals."""

    def __init__(self, real):
        self.real = real

    def __getattr__(self, name):
        return getattr(self.real, name)

    def syscall(self, number, *rest):
        return (
            1
            if number == landlock.CREATE_RULESET and rest[0] is None
            else self.real.syscall(number, *rest)
        )


def signals_by_a_file(pid):
    read, write = os.pipe()
    fcntl.fcntl(read, fcntl.F_SETOWN, pid)
    fcntl.fcntl(read, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
    os.write(write, b"x")


@needs_t1
@pytest.mark.parametrize("attempt", ["truncate", "open", "signal"])
def test_g12_g13_an_older_system(tmp_path, attempt):
    """G12, G13, seccomp: T1 protects alike on old systems, or is not available there."""
    there = Path(sysconfig.get_path("purelib")) / f"readable-{uuid.uuid4().hex}.txt"
    there.write_text("as it was")
    victim = subprocess.Popen(["sleep", "20"])  # SIGIO ends it
    attempts = {
        "truncate": lambda: os.truncate(there, 0),
        "open": lambda: os.open(there, os.O_RDONLY | os.O_TRUNC),
        "signal": lambda: signals_by_a_file(victim.pid),
    }
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            landlock.LIBC = OldLandlock(landlock.LIBC)
            tiers.shut("T1", str(tmp_path))
            attempts[attempt]()
        os._exit(0)
    os.waitpid(child, 0)
    text, ended = there.read_text(), victim.poll()
    there.unlink()
    victim.kill()
    victim.wait()
    assert (text, ended) == ("as it was", None)


@needs_t1
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers are x86_64's")
def test_g12_what_all_processes_share():
    """G12, seccomp: message queues, the kernel's log, and resources that all processes share."""
    attack(
        "T1",
        refuses(
            "call(241, b'nobody')",
            "call(103, 3, ctypes.create_string_buffer(99), 99)",
            "call(206, 8, ctypes.byref(ctypes.c_ulong()))",
        ),
        {},
    )


# The attacks of a worker whose grader has no rights beyond a user's. Prints what has come of each.
AS_A_USER = """
import json, os, sys, tempfile
from pathlib import Path
import psutil
from grading.sandbox import tiers
from made import submission
from threats import LAB, LIMITS, SECRET, cells
from grading.marking import Marker, MarkingSettings
tiers.drop_capabilities()
tempfile.tempdir = sys.argv[1]
ATTACKS = {"affinity": "import os\\nos.sched_setaffinity(os.getppid(), [sorted(os.sched_getaffinity(0))[0]])\\nRIGHT",
           "priority": "import os\\nos.setpriority(os.PRIO_PROCESS, os.getppid(), 3)\\nRIGHT",
           "class": "import os\\nos.sched_setscheduler(os.getppid(), os.SCHED_BATCH, os.sched_param(0))\\nRIGHT",
           "closed folder": "import os\\nos.mkdir('a')\\nopen('a/b', 'w').write('c')\\nos.chmod('a', 0)\\nRIGHT"}
with Marker(MarkingSettings(SECRET, "T1", LIMITS)) as marker:
    server, told = psutil.Process(marker.fork_server.process.pid), {}
    told["before"] = [server.cpu_affinity(), server.nice(), os.sched_getscheduler(server.pid)]
    for name, body in ATTACKS.items():
        record = marker.mark(submission(LAB, cells(loss=body)).encode(), "")
        told[name] = record.status, record.earned
    told["after"] = [server.cpu_affinity(), server.nice(), os.sched_getscheduler(server.pid)]
    told["left"] = os.listdir(sys.argv[1])
print(json.dumps(told))
"""


@needs_t1
def test_g12_g14_a_grader_without_rights(tmp_path):
    """G12, G14, seccomp and marker: the same holds for a grader without special rights.

    No worker slows down the fork server for all later ones, and a folder that is closed to everybody
    is deleted too.
    """
    paths = [str(ROOT), str(ROOT / "labs"), str(ROOT / "tests" / "grading")]
    code = f"import sys; sys.path[:0] = {paths!r}\n{AS_A_USER}"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=100
    )
    told = json.loads(done.stdout or done.stderr[-500:])
    for closed in tmp_path.rglob("*"):
        closed.chmod(0o700)
    assert told["before"] == told["after"]
    assert told["left"] == []


# The strongest tier -------------------------------------------------------------------------------


@pytest.mark.skipif(not tiers.can_enter("T2"), reason="this system gives no namespaces")
def test_t2_is_t1_without_a_network():
    """T2, namespaces: a right submission has its points; what T1 refuses is refused."""
    refusing = refuses(
        "socket.socket()", "os.fork()", "open('/etc/passwd')", "os.kill(os.getppid(), 9)"
    )
    with Marker(MarkingSettings(SECRET, "T2", LIMITS)) as marker:
        records = [
            grade(marker, submission(LAB, answers)) for answers in ("solved", SOLVED | refusing)
        ]
        assert psutil.Process(marker.fork_server.process.pid).children() == []
    assert [(record.earned, record.grader.tier) for record in records] == [(21, "T2")] * 2


def test_a_worker_that_does_not_get_into_its_sandbox(monkeypatch):
    """G44, marker: what goes wrong before any cell has run costs nobody points."""
    marker = marker_at("T0")
    monkeypatch.setattr("grading.sandbox.fork_server.tempfile.mkdtemp", lambda **_: "/nonexistent")
    record = marker.mark(submission(LAB, "solved").encode(), "")
    assert record.status == "needs review", (record.earned, record.notes)
