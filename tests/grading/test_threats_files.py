"""Answers that misuse files and connections, and read what is not theirs: rows G13-G18."""

import contextlib
import ctypes
import os
import subprocess
import sysconfig
import textwrap
import uuid
from pathlib import Path

import pytest
from made import submission
from threats import (
    CANARY,
    LAB,
    REFUSED,
    ROOT,
    SECRET,
    TIERS,
    answer,
    answers,
    at_each_tier,
    attack,
    cells,
    folder,
    grade,
    limited,
    marker_at,
    mistakes,
    needs_t1,
    refuses,
)

# Files --------------------------------------------------------------------------------------------


def places(tmp_path):
    """Files that no submission may write: by what they stand for."""
    name = f"written-{uuid.uuid4().hex}"
    return [
        tmp_path / "results.json",
        ROOT / "grading" / f"{name}.py",
        ROOT / "labs" / f"{name}.py",
        ROOT / "tests" / f"{name}.py",
        Path(sysconfig.get_path("purelib")) / f"{name}.pth",
        Path("/tmp") / name,
        Path.home() / name,
        Path("/dev/shm") / name,
        folder() / name,
    ]


@needs_t1
def test_g13_writing_outside_the_folder(tmp_path):
    """G13, Landlock: files are written, moved, linked, cut or deleted only in the own folder."""
    there, new = tmp_path / "there", places(tmp_path)
    there.write_text("as it was")
    tries = [f"open({str(path)!r}, 'w')" for path in new] + [
        f"os.mkdir({str(path)!r})" for path in new
    ]
    tries += [
        each.format(repr(str(there)), repr(str(tmp_path / "moved")))
        for each in (
            "open({0}, 'a')",
            "open({0}, 'r+')",
            "os.truncate({0}, 0)",
            "os.unlink({0})",
            "os.rename({0}, {1})",
            "os.symlink({0}, {1})",
            "os.mkfifo({1})",
            "os.rename({0}, 'mine')",
            "os.open({0}, os.O_RDONLY | os.O_TRUNC)",
        )
    ]
    tries += [f"os.link({str(there)!r}, 'mine')", "os.mknod('device', 0o60600, os.makedev(7, 0))"]
    attack("T1", refuses(*tries, by="(PermissionError, OSError)"), {})
    assert there.read_text() == "as it was" and not [
        path for path in new if path.exists() and path.is_file()
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


@needs_t1
@pytest.mark.parametrize(
    "change",
    [
        "os.chmod({0}, 0o600)",
        "os.utime({0}, (1, 1))",
        "os.setxattr({0}, 'user.note', b'x')",
        "os.removexattr({0}, 'user.old')",
        "os.chown({0}, os.getuid(), os.getgid())",
    ],
)
def test_g13_what_landlock_lets_through(tmp_path, change):
    """G13, seccomp: a worker cannot change a file's permissions, times or attributes.

    Otherwise it could lock the grader's own files, or leave notes for the next submission on files
    of others.
    """
    there = tmp_path / "there"
    there.write_text("as it was")
    there.chmod(0o644)
    with contextlib.suppress(OSError):
        os.setxattr(there, "user.old", b"x")

    def state():
        known = there.stat()
        return known.st_mode, known.st_mtime, known.st_ctime_ns, os.listxattr(there)

    before = state()
    attack(
        "T1",
        answers(
            loss=f"import os\ntry:\n    {change.format(repr(str(there)))}\n"
            "except OSError:\n    pass\nRIGHT"
        ),
        {},
    )
    assert state() == before


@needs_t1
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers are x86_64's")
def test_g13_memory_and_queues_of_others():
    """G13, seccomp: a worker deletes no shared memory of System V that belongs to others."""
    libc = ctypes.CDLL(None, use_errno=True)
    shared = libc.shmget(0, 4096, 0o1600)
    try:
        attack(
            "T1",
            {"sft.loss": answer("sft.loss", f"libc.shmctl({shared}, 0, None)\nRIGHT", REFUSED)},
            {},
        )
        assert libc.shmctl(shared, 2, ctypes.create_string_buffer(256)) >= 0, "it was deleted"
    finally:
        libc.shmctl(shared, 0, None)


@at_each_tier
def test_g13_home_and_temporary_files_are_the_workers_own(tier):
    """G13, sandbox: HOME and the folder for temporary files can be used, and are then deleted."""
    body = """
        import os, tempfile
        from pathlib import Path
        for place in (Path.home(), Path(tempfile.gettempdir())):
            assert place.resolve() == Path.cwd(), place
        Path.home().joinpath(".cache").mkdir(exist_ok=True)
        Path("torch.py").write_text("raise SystemExit")
        with tempfile.TemporaryDirectory() as made, tempfile.NamedTemporaryFile() as file:
            Path(made, "file").write_text("x")
        RIGHT
        """
    attack(tier, {"sft.loss": answer("sft.loss", body)}, {})


FILLERS = {
    "loss": "with open('big', 'wb') as file:\n    while True:\n        file.write(bytes(2**20))",
    "sequence_loss": "import time\nfor number in range(2000):\n    open(str(number), 'w').close()\n"
    "time.sleep(1)\nRIGHT",
    "mask_prompt": "import time\nfor number in range(20):\n    open(str(number), 'wb').write(bytes(2**20))\n"
    "time.sleep(1)\nRIGHT",
}


@at_each_tier
def test_g14_a_full_disk(tier):
    """G14, rlimit and monitor: one large file, many small ones, many of medium size; all go."""
    attack(tier, answers(**FILLERS), {f"sft.{name}": {"crashed", "error"} for name in FILLERS})


HIDDEN = {
    "open": """
        file = open("x", "wb")
        os.unlink("x")
        file.write(bytes(2**20))
        file.flush()
        kept.append(file)
        """,
    "mapped": """
        with open("x", "w+b") as file:
            file.write(bytes(2**20))
            file.flush()
            os.unlink("x")
            assert libc.mmap(None, 4096, 1, 1, file.fileno(), 0) > 0
        """,
    "without a name": """
        kept.append(os.open(".", os.O_TMPFILE | os.O_RDWR))
        os.write(kept[-1], bytes(2**20))
        """,
    "written through a mapping": """
        with open("x", "w+b") as file:
            os.unlink("x")
            os.ftruncate(file.fileno(), 2**20)
            with mmap.mmap(file.fileno(), 2**20) as pages:
                pages.write(bytes(2**20))
            assert libc.mmap(None, 4096, 1, 1, file.fileno(), 0) > 0
        """,
    "reserved": """
        with open("x", "w+b") as file:
            os.unlink("x")
            os.posix_fallocate(file.fileno(), 0, 2**20)
            assert libc.mmap(None, 4096, 1, 1, file.fileno(), 0) > 0
        """,
}


@pytest.mark.parametrize("way", HIDDEN)
def test_g14_a_full_disk_without_a_file(way):
    """G14, monitor: files that were deleted while they are in use take room as well."""
    body = (
        "import ctypes, mmap, os, time\nkept, libc = [], ctypes.CDLL(None)\n"
        "libc.mmap.restype = ctypes.c_ssize_t\n"
        f"for _ in range(24):\n{textwrap.indent(textwrap.dedent(HIDDEN[way]), '    ')}\ntime.sleep(0.5)\nRIGHT"
    )
    attack(TIERS[-1], answers(loss=body), {"sft.loss": {"crashed", "error"}})


def test_g14_folders_within_folders():
    """G14, marker: a folder 1500 levels deep is counted and deleted, and harms only its learner."""
    body = "import os\nfor _ in range(1500):\n    os.mkdir('a' * 50)\n    os.chdir('a' * 50)\nRIGHT"
    marker = marker_at("T0")
    with limited(marker, files=2000):
        record = grade(marker, submission(LAB, cells(loss=body)))
    left = [*folder().glob("answer-*")]
    subprocess.run(["rm", "-rf", *map(str, left)])
    assert record.status == "graded", record.reason
    assert left == []


# Connections --------------------------------------------------------------------------------------

CONNECTIONS = [
    "socket.socket()",
    "socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
    "socket.socketpair()",
    "socket.socket(socket.AF_INET6)",
    "socket.socket(socket.AF_UNIX)",
    "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
    "socket.create_connection(('127.0.0.1', 22), 1)",
    "socket.create_server(('', 0))",
]


@needs_t1
def test_g15_connections():
    """G15, seccomp: no socket of any family; names are not resolved, pages not fetched."""
    attack("T1", refuses(*CONNECTIONS), {})
    names = [
        "socket.getaddrinfo('example.org', 80)",
        "__import__('urllib.request').request.urlopen('http://example.org')",
    ]
    attack("T1", refuses(*names, by="OSError"), {})


@needs_t1
def test_g15_news_of_other_folders(tmp_path):
    """G15, seccomp: a worker is not told which files others make (inotify)."""
    body = f"assert libc.inotify_add_watch(libc.inotify_init(), {os.fsencode(tmp_path)!r}, 0x100) < 0\nRIGHT"
    attack("T1", {"sft.loss": answer("sft.loss", body, REFUSED)}, {})


@needs_t1
def test_g15_a_download():
    """G15, marker: an answer that depends on a download ends in words that say what is missing."""
    body = "import urllib.request\nurllib.request.urlopen('https://example.org/model')"
    record = attack("T1", answers(loss=body), {"sft.loss": "error"})
    assert "URLError" in mistakes(record, "sft.loss")[0]


# Reading ------------------------------------------------------------------------------------------


@needs_t1
def test_g16_reading_outside(tmp_path):
    """G16, Landlock: neither the course nor other submissions, nor what other processes are."""
    other = tmp_path / "other.ipynb"
    other.write_text("the answer of another learner")
    files = [
        other,
        ROOT / "README.md",
        ROOT / "labs" / "checks" / "sft.py",
        ROOT / "labs" / "methods" / "sft.py",
        ROOT / "grading" / "marking.py",
        ROOT / "tests" / "grading" / "made.py",
        Path("/etc/passwd"),
        Path("/proc/self/status"),
        Path("/proc/self/mem"),
        Path("/proc/1/cmdline"),
    ]
    tries = [f"open({str(path)!r}).read()" for path in files]
    folders = [tmp_path, ROOT, Path.home(), *map(Path, ("/", "/tmp", "/proc", "/proc/self/fd"))]
    tries += [f"os.listdir({str(path)!r})" for path in folders]
    tries += [
        "open(f'/proc/{os.getppid()}/environ').read()",
        "open(f'/proc/{os.getppid()}/mem', 'rb')",
        "__import__('inspect').getsource(__import__('methods.sft').sft.sft_loss)",
    ]
    attack("T1", refuses(*tries, by="(PermissionError, FileNotFoundError, OSError)"), {})


@at_each_tier
def test_g16_no_variable_of_the_grader(tier):
    """G16, fork server: a worker and its parent have nothing of the grader's environment."""
    body = f"""
        import os, sys
        from pathlib import Path
        texts = [repr(dict(os.environ)), repr(sys.argv), repr(sys.path)]
        for place in ("/proc/self/environ", f"/proc/{{os.getppid()}}/environ"):
            try:
                texts.append(Path(place).read_text())
            except OSError:
                pass
        assert not any({CANARY[:-1]!r} + {CANARY[-1]!r} in text or "trap-" in text for text in texts)
        RIGHT
        """
    attack(tier, {"sft.loss": answer("sft.loss", body)}, {})


def test_g16_the_secret_is_not_in_a_workers_memory():
    """G16, fork server: a worker that searches all of its memory does not find the secret."""
    body = f"""
        import builtins
        found = made = 0
        if not hasattr(builtins, "searched"):  # once: every search leaves more copies of the words
            builtins.searched = True
            wanted = {bytes(reversed(SECRET))!r}[::-1]
            control = {os.urandom(len(SECRET))!r}[::-1]  # words of the same making, in no record
            with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", buffering=0) as memory:
                for line in maps:
                    start, end = (int(part, 16) for part in line.split()[0].split("-"))
                    if " rw" in line and end - start < 2**26:
                        memory.seek(start)
                        chunk = memory.read(end - start)
                        found, made = found + chunk.count(wanted), made + chunk.count(control)
        assert found <= max(4, made), (found, made)  # it has just made the words itself
        RIGHT
        """
    attack("T0", {"sft.loss": answer("sft.loss", body)}, {}, cpu=10, wall=20)


@needs_t1
def test_g17_imports_of_checks_and_tests():
    """G17, Landlock: no part of the course, the grader or the tests can be imported later."""
    modules = [
        "checks.sft",
        "checks.ppo",
        "grading.marking",
        "grading.run",
        "grading.records.store",
        "grading.sandbox.fork_server",
        "made",
        "threats",
        "tests",
        "conftest",
        "test_threats",
        "tools.mutants",
        "mutants",
    ]
    attack(
        "T1",
        refuses(
            *(f"__import__({name!r})" for name in modules), by="(ImportError, PermissionError)"
        ),
        {},
    )


@at_each_tier
def test_g18_nothing_shadows_python(tier):
    """G18, worker: Python starts without the folder, user packages and the grader's environment."""
    body = """
        import importlib, os, sys
        assert sys.flags.safe_path and sys.flags.no_user_site
        assert {name for name in os.environ if name[:6] == "PYTHON"} == {"PYTHONHASHSEED", "PYTHONMALLOC"}
        assert all(path.startswith((sys.prefix, sys.base_prefix)) for path in sys.path), sys.path
        for name in ("colorsys", "sitecustomize", "conftest"):
            open(f"{name}.py", "w").write("raise SystemExit('shadowed')")
        importlib.invalidate_caches()
        import colorsys
        RIGHT
        """
    attack(tier, {"sft.loss": answer("sft.loss", body)}, {})
