"""What a worker uses, beyond what the system's own limits cover."""

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from .failures import Lost

if TYPE_CHECKING:
    from .fork_server import Connection

POLL_SECONDS = 0.05  # between two looks at a worker that is busy
MAX_THREADS = 256
BLOCK = 512  # bytes, the unit of st_blocks


class ResourceMonitor:
    """Watches a worker while one answer is awaited."""

    def __init__(self, connection: "Connection"):
        self.connection, self.limits = connection, connection.limits
        self.began, self.cpu_before = time.monotonic(), self.cpu_seconds()

    def check(self) -> None:
        """Raise Lost if the worker has used up a limit."""
        waited = time.monotonic() - self.began
        if waited < POLL_SECONDS / 2:
            return
        if self.cpu_seconds() - self.cpu_before > self.limits.cpu:
            raise Lost("timeout", f"it computed for more than {self.limits.cpu:g} s")
        if waited > self.limits.wall:
            raise Lost("timeout", f"it took more than {self.limits.wall:g} s", doubtful=True)
        with suppress(psutil.Error):
            self.check_processes()
        number, size = contents_of(self.connection.folder, self.limits.files)
        if number > self.limits.files or size > self.limits.folder:
            raise Lost("crashed", "it wrote too much to its folder")

    def check_processes(self) -> None:
        processes = self.processes()
        if memory_of(processes) > self.limits.memory:
            most = f"{self.limits.memory / 2**30:.1f} GiB"
            raise Lost("crashed", f"it took more than {most} of memory")
        if sum(process.num_threads() for process in processes) > MAX_THREADS:
            raise Lost("crashed", f"it started more than {MAX_THREADS} threads")
        pid, folder = self.connection.pid, self.connection.folder
        deleted = size_of_deleted_files(pid, folder, self.limits.file)
        if max(self.bytes_written(), deleted) > self.limits.folder:
            raise Lost("crashed", "it wrote too much")

    def cpu_seconds(self) -> float:
        """Seconds of processor time so far; 0 for a worker that has ended."""
        with suppress(psutil.Error):
            return sum(sum(process.cpu_times()[:4]) for process in self.processes())
        return 0.0

    def processes(self) -> list[psutil.Process]:
        """The worker and, in a tier that lets it have them, its children."""
        with suppress(psutil.Error, AttributeError):
            if self.connection.fork_server.tier == "T0":
                server = psutil.Process(self.connection.fork_server.process.pid)
                return server.children(recursive=True)
            return [self.connection.process]
        return []

    def bytes_written(self) -> int:
        """How much the worker has written to files in its life; 0 if the system does not count."""
        counters = getattr(self.connection.process, "io_counters", None)
        return counters().write_chars if counters else 0


def memory_of(processes: list[psutil.Process]) -> int:
    """Bytes of memory that the processes hold; what forks share is divided among them."""
    if len(processes) == 1:
        return processes[0].memory_info().rss
    return sum(process.memory_full_info().pss for process in processes)


def contents_of(folder: str, most: int) -> tuple[int, int]:
    """How many files are below a folder, counted a little beyond `most`, and their bytes.

    Folders are opened relative to each other, since a path can be longer than the system accepts.
    """
    number, size, waiting = 0, 0, []
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
    with suppress(OSError):
        waiting.append(os.open(folder, os.O_RDONLY | os.O_DIRECTORY))
    while waiting:
        place = waiting.pop()
        try:
            for entry in os.scandir(place):
                number += 1
                size += entry.stat(follow_symlinks=False).st_blocks * BLOCK
                if number <= most and entry.is_dir(follow_symlinks=False):
                    waiting.append(os.open(entry.name, flags, dir_fd=place))
        except OSError:
            number += 1  # closed, or gone in the meantime
        finally:
            os.close(place)
    return number, size


def size_of_deleted_files(pid: int, folder: str, mapped_size: int) -> int:
    """Bytes in deleted files of the folder that a process still holds, if the system tells.

    mapped_size: assumed for a deleted file that only a memory mapping keeps alive
    """
    size = 0
    with suppress(OSError):
        for number in os.listdir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                if os.readlink(f"/proc/{pid}/fd/{number}").endswith("(deleted)"):
                    size += os.stat(f"/proc/{pid}/fd/{number}").st_blocks * BLOCK
    with suppress(OSError):
        mapped = {
            line.split(maxsplit=5)[4]
            for line in Path(f"/proc/{pid}/maps").read_text(errors="replace").splitlines()
            if folder in line and line.endswith("(deleted)")
        }
        size += len(mapped) * mapped_size
    return size
