"""The process that forks workers, and the connection to one worker."""

import os
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import asdict
from json import dumps
from pathlib import Path

import psutil

from . import system, wire
from .failures import ForkServerGone, Lost, NotShutIn, Unusable
from .limits import Limits
from .resources import POLL_SECONDS, ResourceMonitor

ROOT = Path(__file__).resolve().parents[2]
# Ctrl-C reaches the fork server too. Its parent ends it then, and it must not print a traceback.
START = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); "
    "sys.path.insert(0, {root!r}); "
    "from grading.sandbox import worker; worker.main({control})"
)
TIMEOUT_SECONDS = 5  # for the fork server, which is never busy
MAX_MESSAGE = 2 * 2**20  # bytes of a reply, its tensors left out
ENDED = "the process ended: os._exit, a crash or a limit of the system"
# What a worker sees of the environment: nothing of the grader's own.
ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
    # These two put Python's memory into huge pages, if the system has them: a fork then takes a
    # quarter of the time.
    "PYTHONMALLOC": "malloc",
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}


class ForkServer:
    """The process that has everything imported and forks workers. Use as a context manager."""

    def __init__(self, tier: str, limits: Limits):
        self.tier, self.limits = tier, limits

    def __enter__(self) -> "ForkServer":
        system.adopt_orphans()
        self.others = {process.pid for process in psutil.Process().children()}
        self.control, theirs = socket.socketpair()
        code = START.format(root=str(ROOT), control=theirs.fileno())
        self.process = subprocess.Popen(
            [sys.executable, "-s", "-P", "-c", code],
            pass_fds=[theirs.fileno()],
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            cwd=tempfile.gettempdir(),
        )
        theirs.close()
        if self.control.recv(len(wire.READY), socket.MSG_WAITALL) != wire.READY:
            raise RuntimeError("the fork server of the workers did not start: see the error above")
        return self

    def __exit__(self, *error) -> None:
        self.control.close()
        self.process.kill()
        self.process.wait()
        # The fork server would have ended these; what they started themselves comes after them.
        while left := self.left_behind():
            for pid in left:
                with suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)

    def left_behind(self) -> list[int]:
        """Children of this process that came from a worker.

        They were not there before this server, and they do not belong to this process's session.
        """
        return [
            process.pid
            for process in psutil.Process().children()
            if process.pid not in self.others and not is_in_this_session(process.pid)
        ]

    def ask(self, order: bytes, sockets: list[int]) -> int:
        """The fork server's answer, a number. Raises ForkServerGone."""
        self.control.settimeout(TIMEOUT_SECONDS)
        with suppress(OSError):
            socket.send_fds(self.control, [order], sockets)
            answer = self.control.recv(wire.ANSWER_LENGTH, socket.MSG_WAITALL)
            if len(answer) == wire.ANSWER_LENGTH:
                return int(answer)
        raise ForkServerGone

    def worker(self) -> "Connection":
        return Connection(self)


def is_in_this_session(pid: int) -> bool:
    """Whether a process belongs to this one's own session; what a worker starts does not."""
    with suppress(OSError):
        return os.getsid(pid) == os.getsid(0)
    return True


class Connection:
    """One worker and the socket to it.

    Use as a context manager: in the end the worker and everything it started are gone.
    """

    def __init__(self, fork_server: ForkServer):
        self.fork_server, self.limits = fork_server, fork_server.limits

    def __enter__(self) -> "Connection":
        self.folder = tempfile.mkdtemp(prefix="answer-")
        self.channel, theirs = socket.socketpair()
        settings = {
            "tier": self.fork_server.tier,
            "folder": self.folder,
            "limits": asdict(self.limits),
        }
        try:
            self.pid = self.fork_server.ask(dumps(settings).encode(), [theirs.fileno()])
        except BaseException:
            delete(self.folder)
            raise
        finally:
            theirs.close()
        with suppress(psutil.Error):
            self.process = psutil.Process(self.pid)
        if not self.is_shut_in():
            self.close()
            raise NotShutIn("a worker did not get into its sandbox")
        return self

    def __exit__(self, *error) -> None:
        self.close()

    def close(self) -> None:
        self.channel.close()
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        try:
            self.fork_server.ask(b"end", [])
        finally:
            delete(self.folder)

    def is_shut_in(self) -> bool:
        """Whether the worker's first word says so."""
        self.channel.settimeout(self.limits.wall + TIMEOUT_SECONDS)
        with suppress(OSError):
            return self.channel.recv(len(wire.SHUT_IN), socket.MSG_WAITALL) == wire.SHUT_IN
        return False

    def send(self, message: dict, buffers: list[bytes] = ()) -> str:
        """Send an order; returns the id that its answers must carry. Raises Lost."""
        id = secrets.token_hex(8)
        self.channel.settimeout(self.limits.wall)
        try:
            self.channel.sendall(wire.pack(message | {"id": id}, list(buffers)))
        except (BrokenPipeError, ConnectionResetError):
            raise Lost("crashed", ENDED, doubtful=True) from None
        except TimeoutError:
            raise Lost("timeout", "it did not listen", doubtful=True) from None
        return id

    def ask(self, message: dict, buffers: list[bytes] = ()) -> tuple[dict, list[memoryview]]:
        """Send an order and wait for its only answer. Raises Lost and Unusable."""
        return self.receive(self.send(message, buffers))

    def receive(self, id: str) -> tuple[dict, list[memoryview]]:
        """The next answer to the order `id`. Raises Lost and Unusable."""
        monitor = ResourceMonitor(self)
        length = int.from_bytes(self.read(8, monitor), "big")
        if length > self.limits.reply:
            raise Unusable(f"what your function returned is too big: {length / 2**20:.0f} MiB")
        try:
            reply, buffers = wire.unpack(self.read(length, monitor), MAX_MESSAGE)
        except wire.WireError as error:
            raise Unusable(str(error)) from None
        if reply.get("id") != id:
            raise Unusable("an answer to a question that was not asked")
        return reply, buffers

    def read(self, length: int, monitor: ResourceMonitor) -> bytes:
        data = bytearray()
        while len(data) < length:
            monitor.check()
            if select.select([self.channel], [], [], POLL_SECONDS)[0]:
                try:
                    part = self.channel.recv(min(length - len(data), 2**20))
                except ConnectionResetError:
                    part = b""
                if not part:
                    raise Lost("crashed", ENDED, doubtful=True)
                data += part
        return bytes(data)


def delete(folder: str) -> None:
    """Delete a worker's folder, even if it is locked or nested more deeply than any path can be."""
    with suppress(OSError, RecursionError):
        return shutil.rmtree(folder)
    subprocess.run(["chmod", "-R", "u+rwx", folder], stderr=subprocess.DEVNULL)
    subprocess.run(["rm", "-rf", folder], stderr=subprocess.DEVNULL)
