"""A submission's function, called from the judge: it looks like the function and runs in a worker.

A call sends the arguments as data and brings back the result; what the function changed in its
arguments is changed in the caller's too, and a gradient that is asked of the result is computed
where the function ran. So the checks of a notebook run here as they are.

What goes wrong on the other side arrives as one of four: `Raised` (an ordinary exception of the
function, also of the built-in class that it had), `Stopped` (SystemExit and the like), `Lost` (the
worker had to be ended), and `Unusable` (what it sent is no answer). The last three are no
`Exception`: a check that expects an exception must not take them for it.
"""

import builtins
import os
import re
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from json import dumps
from pathlib import Path

import psutil
import torch

from . import sandbox, wire

ROOT = Path(__file__).resolve().parents[1]
START = "import sys; sys.path[:0] = {paths!r}; from grading import worker; worker.main({control})"
POLL = 0.05  # seconds between two looks at a worker that is busy
NAME = r"[A-Za-z_]{1,40}"  # of an exception
LONGEST_TEXT = 300  # characters of an exception's
LONGEST_MESSAGE = 2 * 2**20  # bytes of a reply, its tensors left out
ENDED = "the process ended: os._exit, a crash or a limit of the system"
PATIENCE = 5  # seconds for the template, which is never busy
MOST_THREADS = 256


@dataclass(frozen=True)
class Limits:
    """What one answer to the judge may take. cpu and wall in seconds, for each call and for each
    cell · memory, reply, file and folder in bytes · files: in the worker's folder · total_cpu:
    seconds of a worker's whole life
    """

    cpu: float = 10
    wall: float = 30
    total_cpu: int = 120
    memory: int = 3 * 2**30
    reply: int = 32 * 2**20
    file: int = 16 * 2**20
    folder: int = 64 * 2**20
    files: int = 2000


class Raised(Exception):
    """The function raised. `kind` is the exception's own name, `line` where in its cell, if that is
    known."""

    kind, line = "", None


class Stopped(BaseException):
    """The function tried to end the program. Carries what Raised does."""

    kind, line = "", None


class Lost(BaseException):
    """The worker is gone. `result`: timeout or crashed · `doubtful`: this machine may have brought
    it about."""

    def __init__(self, result: str, reason: str, doubtful: bool = False):
        super().__init__(reason)
        self.result, self.doubtful = result, doubtful


class Unusable(BaseException):
    """What came back is no answer."""


class Unsendable(BaseException):
    """A check gave the function something that does not travel: a fault of the course, not of the
    submission."""


# What checks may expect a function to raise, and so must arrive as such.
EXPECTED = {
    kind.__name__: kind
    for kind in (
        ArithmeticError,
        AssertionError,
        AttributeError,
        FloatingPointError,
        ImportError,
        IndexError,
        KeyError,
        LookupError,
        MemoryError,
        NameError,
        NotImplementedError,
        OverflowError,
        RecursionError,
        RuntimeError,
        TypeError,
        ValueError,
        ZeroDivisionError,
    )
}


def exception_of(told: dict) -> BaseException:
    """The exception that the worker told of; Raised is mixed with its built-in class."""
    known = told["raised"] if isinstance(told["raised"], str) else ""
    base = getattr(builtins, known, None)
    if (
        isinstance(base, type)
        and issubclass(base, BaseException)
        and not issubclass(base, Exception)
    ):
        error = Stopped()
    elif known in EXPECTED:
        error = type("Raised", (Raised, EXPECTED[known]), {})(*texts(told))
    else:
        error = Raised(*texts(told))
    name = told.get("name")  # one that a learner made up could carry the inputs out
    error.kind = (
        name
        if isinstance(name, str) and re.fullmatch(NAME, name)
        else known
        if base
        else "Exception"
    )
    error.line = line if type(line := told.get("line")) is int and 0 < line < 10**6 else None
    return error


def texts(told: dict) -> tuple[str, ...]:
    return (told["text"][:LONGEST_TEXT],) if isinstance(told.get("text"), str) else ()


# Workers ------------------------------------------------------------------------------------------


class Template:
    """The process that has everything imported and makes workers. Use as a context manager."""

    def __init__(self, tier: str, limits: Limits):
        self.tier, self.limits = tier, limits

    def __enter__(self):
        sandbox.adopt()
        self.strangers = {process.pid for process in psutil.Process().children()}
        self.control, other = socket.socketpair()
        paths = [str(ROOT), str(ROOT / "labs")]
        code = START.format(paths=paths, control=other.fileno())
        self.process = subprocess.Popen(
            [sys.executable, "-s", "-P", "-c", code],
            pass_fds=[other.fileno()],
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            cwd=tempfile.gettempdir(),
        )
        other.close()
        if self.control.recv(5, socket.MSG_WAITALL) != b"ready":
            raise RuntimeError("the template of the workers did not start: see the error above")
        return self

    def __exit__(self, *error):
        self.control.close()
        self.process.kill()
        self.process.wait()
        while (
            left := self.left_behind()
        ):  # whom the template would have ended; what they started comes after them
            for pid in left:
                with suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)

    def left_behind(self) -> list[int]:
        """Children of this process that are neither its own nor of its session: they came from a
        worker."""
        return [
            process.pid
            for process in psutil.Process().children()
            if process.pid not in self.strangers and not in_this_session(process.pid)
        ]

    def ask(self, order: bytes, sockets: list[int]) -> int:
        """The template's answer, a number. Raises Lost if it is gone."""
        self.control.settimeout(PATIENCE)
        with suppress(OSError):
            socket.send_fds(self.control, [order], sockets)
            if len(answer := self.control.recv(16, socket.MSG_WAITALL)) == 16:
                return int(answer)
        raise TemplateGone

    def worker(self) -> "Connection":
        return Connection(self)


def in_this_session(pid: int) -> bool:
    """Whether a process is of this one's own session; what a worker starts is not."""
    with suppress(OSError):
        return os.getsid(pid) == os.getsid(0)
    return True


class NotShutIn(Exception):
    """A worker did not get into its sandbox: a fault of this machine, not of a submission."""


class TemplateGone(BaseException):
    """A submission has ended the process that makes the workers, which only tier T0 allows it."""


def environment() -> dict[str, str]:
    """The variables that a worker sees: none of the judge's own.

    The last two put Python's memory into big pages, where the system has them: then a fork takes a
    quarter of the time.
    """
    return {
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "PYTHONHASHSEED": "0",
        "PYTHONMALLOC": "malloc",
        "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    }


class Connection:
    """One worker and the line to it. Use as a context manager: at the end the worker and all it
    started are gone."""

    def __init__(self, template: Template):
        self.template, self.limits = template, template.limits

    def __enter__(self):
        self.folder = tempfile.mkdtemp(prefix="answer-")
        self.line, other = socket.socketpair()
        settings = {
            "tier": self.template.tier,
            "folder": self.folder,
            "limits": asdict(self.limits),
        }
        try:
            self.pid = self.template.ask(dumps(settings).encode(), [other.fileno()])
        except BaseException:
            delete(self.folder)
            raise
        finally:
            other.close()
        with suppress(psutil.Error):
            self.process = psutil.Process(self.pid)
        self.line.settimeout(self.limits.wall + PATIENCE)
        with suppress(OSError):
            if self.line.recv(len(wire.SHUT_IN), socket.MSG_WAITALL) == wire.SHUT_IN:
                return self
        self.__exit__()
        raise NotShutIn("a worker did not get into its sandbox")

    def __exit__(self, *error):
        self.line.close()
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        try:
            self.template.ask(b"end", [])
        finally:
            delete(self.folder)

    def send(self, message: dict, buffers: list[bytes] = ()) -> str:
        """Send an order; returns the number that its answers must bear."""
        id = secrets.token_hex(8)
        self.line.settimeout(self.limits.wall)
        try:
            self.line.sendall(wire.pack(message | {"id": id}, list(buffers)))
        except (BrokenPipeError, ConnectionResetError):
            raise Lost("crashed", ENDED, doubtful=True) from None
        except TimeoutError:
            raise Lost("timeout", "it did not listen", doubtful=True) from None
        return id

    def ask(self, message: dict, buffers: list[bytes] = ()) -> tuple[dict, list[memoryview]]:
        """Send an order and wait for its one answer."""
        return self.receive(self.send(message, buffers))

    def receive(self, id: str) -> tuple[dict, list[memoryview]]:
        """The next answer to the order `id`. Raises Lost and Unusable."""
        watch = Watch(self)
        length = int.from_bytes(self.read(8, watch), "big")
        if length > self.limits.reply:
            raise Unusable(f"what your function returned is too big: {length / 2**20:.0f} MiB")
        try:
            message, buffers = wire.unpack(self.read(length, watch), LONGEST_MESSAGE)
        except wire.WireError as error:
            raise Unusable(str(error)) from None
        if message.get("id") != id:
            raise Unusable("an answer to a question that was not asked")
        return message, buffers

    def read(self, length: int, watch: "Watch") -> bytes:
        data = bytearray()
        while len(data) < length:
            watch.look()
            if select.select([self.line], [], [], POLL)[0]:
                try:
                    part = self.line.recv(min(length - len(data), 2**20))
                except ConnectionResetError:
                    part = b""
                if not part:
                    raise Lost("crashed", ENDED, doubtful=True)
                data += part
        return bytes(data)


class Watch:
    """Looks after a worker while the judge waits for one answer."""

    def __init__(self, connection: Connection):
        self.of, self.limits, self.began = connection, connection.limits, time.monotonic()
        self.cpu = self.seconds()

    def seconds(self) -> float:
        """Seconds of processor time so far; 0 for a worker that is gone."""
        with suppress(psutil.Error):
            return sum(sum(process.cpu_times()[:4]) for process in self.processes())
        return 0.0

    def processes(self) -> list[psutil.Process]:
        """The worker and, where a tier lets it have them, its children."""
        with suppress(psutil.Error, AttributeError):
            if self.of.template.tier == "T0":
                return psutil.Process(self.of.template.process.pid).children(recursive=True)
            return [self.of.process]
        return []

    def written(self) -> int:
        """Bytes that the worker wrote to files in its whole life, where the system tells."""
        counters = getattr(self.of.process, "io_counters", None)
        return counters().write_chars if counters else 0

    def look(self) -> None:
        """Raise Lost for a worker that has used up a limit."""
        waited = time.monotonic() - self.began
        if waited < POLL / 2:
            return
        if self.seconds() - self.cpu > self.limits.cpu:
            raise Lost("timeout", f"it computed for more than {self.limits.cpu:g} s")
        if waited > self.limits.wall:
            raise Lost("timeout", f"it took more than {self.limits.wall:g} s", doubtful=True)
        with suppress(psutil.Error):
            processes = self.processes()
            if memory_of(processes) > self.limits.memory:
                raise Lost(
                    "crashed", f"it took more than {self.limits.memory / 2**30:.1f} GiB of memory"
                )
            if sum(process.num_threads() for process in processes) > MOST_THREADS:
                raise Lost("crashed", f"it started more than {MOST_THREADS} threads")
            if (
                max(self.written(), nameless(self.of.pid, self.of.folder, self.limits.file))
                > self.limits.folder
            ):
                raise Lost("crashed", "it wrote too much")
        number, size = contents(self.of.folder, self.limits.files)
        if number > self.limits.files or size > self.limits.folder:
            raise Lost("crashed", "it wrote too much to its folder")


def memory_of(processes: list[psutil.Process]) -> int:
    """Bytes that they hold; of what forks share with each other, each its part."""
    if len(processes) == 1:
        return processes[0].memory_info().rss
    return sum(process.memory_full_info().pss for process in processes)


def contents(folder: str, most: int) -> tuple[int, int]:
    """How many files are below a folder, counted up to a little more than `most`, and their bytes.

    By descriptors and not by paths, which may be longer than the system takes.
    """
    number, size, waiting = 0, 0, []
    with suppress(OSError):
        waiting.append(os.open(folder, os.O_RDONLY | os.O_DIRECTORY))
    while waiting:
        place = waiting.pop()
        try:
            for entry in os.scandir(place):
                number += 1
                size += entry.stat(follow_symlinks=False).st_blocks * 512
                if number <= most and entry.is_dir(follow_symlinks=False):
                    waiting.append(
                        os.open(
                            entry.name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=place
                        )
                    )
        except OSError:
            number += 1  # closed, or gone in the meantime
        finally:
            os.close(place)
    return number, size


def nameless(pid: int, folder: str, largest: int) -> int:
    """Bytes in files of the folder that were deleted while a process still holds them, where the
    system tells.

    largest: what a file is taken for that is only held by a piece of memory
    """
    size = 0
    with suppress(OSError):
        for number in os.listdir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                if os.readlink(f"/proc/{pid}/fd/{number}").endswith("(deleted)"):
                    size += os.stat(f"/proc/{pid}/fd/{number}").st_blocks * 512
    with suppress(OSError):
        held = {
            line.split(maxsplit=5)[4]
            for line in Path(f"/proc/{pid}/maps").read_text(errors="replace").splitlines()
            if folder in line and line.endswith("(deleted)")
        }
        size += len(held) * largest
    return size


def delete(folder: str) -> None:
    """Delete a worker's folder, however it left it: closed, or deeper than any path can say."""
    with suppress(OSError, RecursionError):
        return shutil.rmtree(folder)
    subprocess.run(["chmod", "-R", "u+rwx", folder], stderr=subprocess.DEVNULL)
    subprocess.run(["rm", "-rf", folder], stderr=subprocess.DEVNULL)


# The function -------------------------------------------------------------------------------------


class Student:
    """The function that answers an exercise, in the worker at the other end of `connection`."""

    def __init__(self, connection: Connection):
        self.connection, self.calls = connection, 0

    def __call__(self, *arguments, **keywords):
        sent = Sent(arguments, keywords)
        told, buffers = self.connection.ask(
            {"order": "call", "arguments": sent.arguments, "keywords": sent.keywords}, sent.buffers
        )
        if told.get("raised") is not None:
            raise exception_of(told)
        call, self.calls = self.calls, self.calls + 1
        try:
            sent.take_over(told, buffers)
            results = []
            value = wire.decode(told["value"], buffers, sent.reader(results, buffers))
            return with_gradients(
                value, results, sent.learned, lambda *gradients: self.backward(call, gradients)
            )
        except (wire.WireError, KeyError, TypeError, ValueError, IndexError, RuntimeError) as error:
            raise Unusable(
                f"what your function returned cannot be read ({type(error).__name__})"
            ) from None

    def backward(self, call: int, gradients: tuple) -> list:
        sent = []
        order = {
            "order": "backward",
            "call": call,
            "gradients": [wire.encode(each, sent) for each in gradients],
        }
        told, buffers = self.connection.ask(order, sent)
        if told.get("raised") is not None:
            raise exception_of(told)
        try:
            return [wire.decode(gradient, buffers) for gradient in told["gradients"]]
        except (wire.WireError, KeyError, TypeError) as error:
            raise Unusable(f"a gradient that cannot be read ({type(error).__name__})") from None


class Sent:
    """The arguments of one call: as data for the worker, and as objects that change when it says
    so."""

    def __init__(self, arguments: tuple, keywords: dict):
        self.buffers, self.tensors, self.lists, self.models, self.learned = [], [], [], [], []
        self.arguments = [self.encode(argument) for argument in arguments]
        self.keywords = {name: self.encode(argument) for name, argument in keywords.items()}

    def encode(self, value) -> list:
        return wire.encode(value, self.buffers, self.special)

    def special(self, value):
        if isinstance(value, torch.Tensor) and wire.travels(value):
            self.tensors.append(value)
            if value.requires_grad:
                self.learned.append(value)
            return [
                "variable",
                wire.encode(value.detach(), self.buffers),
                value.requires_grad,
                wire.encode(value.grad if value.is_leaf else None, self.buffers),
            ]
        if type(value) is list:
            self.lists.append(value)
            return ["changeable", [self.encode(element) for element in value]]
        if hasattr(value, "recipe"):
            parameters = list(value.parameters())
            self.models.append(parameters)
            self.learned += [parameter for parameter in parameters if parameter.requires_grad]
            return [
                "model",
                value.recipe,
                [
                    [wire.encode(parameter.detach(), self.buffers), parameter.requires_grad]
                    for parameter in parameters
                ],
            ]
        if value is not None and type(value) not in (bool, int, float, str, tuple):
            raise Unsendable(f"a {type(value).__name__} cannot be given to a submission's function")

    def take_over(self, told: dict, buffers: list[memoryview]) -> None:
        """Change the arguments as the function changed its own."""
        for values, changes in (
            (self.tensors, told["tensors"]),
            *zip(self.models, told["models"], strict=True),
        ):
            if changes == "other parameters":
                raise Unusable("your function changed which parameters the model has")
            for tensor, change in zip(values, changes, strict=True):
                if change is not None:
                    self.change(tensor, *change, buffers)
        for mine, now in zip(self.lists, told["lists"], strict=True):
            if now is not None:
                mine[:] = wire.decode(now, buffers, self.reader([], buffers))

    def change(self, tensor: torch.Tensor, numbers, requires_grad: bool, gradient, buffers) -> None:
        tensor.data = wire.decode(numbers, buffers)
        if tensor.is_leaf:
            tensor.requires_grad_(bool(requires_grad))
            tensor.grad = wire.decode(gradient, buffers)

    def reader(self, results: list, buffers: list[memoryview]):
        """For wire.decode: an argument that was returned is that argument; a result with a gradient
        is kept."""

        def special(kind, rest):
            if kind == "argument":
                return self.tensors[rest[0]]
            if kind == "result" and rest[0] == len(results):
                results.append(wire.tensor_of(*rest[1:], buffers))
                return results[-1]
            raise wire.WireError("a value of no known kind")

        return special


class Elsewhere(torch.autograd.Function):
    """Results that were computed in a worker, as a function of its arguments."""

    @staticmethod
    def forward(ctx, backward, count, *tensors):
        ctx.backward_there, ctx.others = backward, len(tensors) - count
        return tuple(tensor.clone() for tensor in tensors[:count])

    @staticmethod
    def backward(ctx, *gradients):
        found = ctx.backward_there(*gradients)
        if len(found) != ctx.others:
            raise Unusable("gradients of other arguments than those that were given")
        return None, None, *[None] * len(gradients), *found


def with_gradients(value, results: list, learned: list, backward):
    """The value, its results with a gradient replaced by such that ask the worker for theirs."""
    if not results:
        return value
    if learned:
        linked = Elsewhere.apply(backward, len(results), *results, *learned)
    # the gradient of a tensor that the function made itself leads to nothing that the judge holds
    else:
        linked = [result.requires_grad_() for result in results]
    return replaced(value, {id(old): new for old, new in zip(results, linked)})


def replaced(value, by: dict):
    if type(value) in (list, tuple):
        return type(value)(replaced(element, by) for element in value)
    return by.get(id(value), value)
