"""The fork server and its workers, from the inside.

The fork server is a process in which everything is imported; it starts as `main`, in an environment
of its own. For each check it forks a worker, which is shut into the sandbox before it sees any code
of a submission. A worker obeys four orders:

    load        run cells of the notebook, one after the other, and report on each
    answer      pick the function that answers an exercise, and seed the random generators
    call        call it; report what it returned, what it changed in its arguments, what it raised
    backward    the gradients of a call's arguments, from those of its results

It has no say in what an answer is worth, and nothing it sends is trusted once a cell has run.
"""

import __future__

import ast
import builtins
import contextlib
import copy
import functools
import io
import json
import linecache
import operator
import os
import random
import signal
import socket
import sys
import traceback
import types
from collections.abc import Callable

import numpy as np
import torch

from .. import course
from . import stub, system, tiers, wire

MAX_TEXT = 300  # characters of an exception's text
MODELS = {}  # made before the sandbox is entered, and before solutions that they need are withheld
FUTURES = functools.reduce(
    operator.or_, (getattr(__future__, name).compiler_flag for name in __future__.all_feature_names)
)


# The fork server ----------------------------------------------------------------------------------


def main(control: int) -> None:
    """Fork a worker for each socket that arrives on the socket `control`; end with the parent."""
    torch.set_num_threads(1)
    course.load_importable_packages()
    MODELS.update(course.make_models())
    system.adopt_orphans()
    system.end_with_the_parent()
    channel = socket.socket(fileno=control)
    channel.sendall(wire.READY)
    while True:
        order, sockets, _, _ = socket.recv_fds(channel, 65536, 1)
        if not order:
            return
        if sockets:
            answer = fork_worker(channel, sockets[0], json.loads(order))
        else:
            answer = system.end_children()
        channel.sendall(str(answer).encode().ljust(wire.ANSWER_LENGTH))


def fork_worker(channel: socket.socket, connection: int, settings: dict) -> int:
    """The pid of a new worker."""
    pid = os.fork()
    if pid:
        os.close(connection)
        return pid
    try:
        channel.close()
        run_worker(connection, settings)
    finally:
        os._exit(0)


def run_worker(connection: int, settings: dict) -> None:
    tiers.enter(settings["tier"], settings["folder"], settings["limits"], keep=connection)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # as in a notebook
    sys.path[:] = [path for path in sys.path if path.startswith((sys.prefix, sys.base_prefix))]
    sys.stdout = sys.stderr = Nowhere()
    sys.modules[course.PACKAGE] = stub.StubModule(course.PACKAGE)
    channel = socket.socket(fileno=connection)
    channel.sendall(wire.SHUT_IN)
    Worker(channel).obey()


class Nowhere(io.TextIOBase):
    """Accepts what is printed and discards it."""

    def write(self, text):
        return len(text)


# A worker -----------------------------------------------------------------------------------------


class Worker:
    """Obeys the orders that arrive on a channel.

    calls: of each call, the arguments that ask for a gradient, and the results that have one ·
    answers: by exercise, what answers it
    """

    def __init__(self, channel: socket.socket):
        self.channel, self.flags, self.calls = channel, ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, []
        self.answers: dict[str, Callable] = {}
        # pickle and dataclasses look for the classes of cells in __main__
        sys.modules["__main__"] = types.ModuleType("__main__")
        self.names = vars(sys.modules["__main__"])
        self.names |= {
            "__builtins__": builtins,
            "display": stub.NOTHING,
            "get_ipython": stub.NOTHING,
        }

    def obey(self) -> None:
        orders = {
            "load": self.load,
            "answer": self.answer,
            "call": self.call,
            "backward": self.backward,
        }
        while (frame := self.read()) is not None:
            message, buffers = wire.unpack(frame)
            orders[message["order"]](message, buffers)

    def read(self) -> bytes | None:
        head = self.channel.recv(8, socket.MSG_WAITALL)
        if len(head) < 8:
            return None
        return self.channel.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL)

    def reply(self, reply: dict, message: dict, buffers: list[bytes] = ()) -> None:
        """Answer an order; the answer carries the order's id."""
        self.channel.sendall(wire.pack(reply | {"id": message["id"]}, list(buffers)))

    def load(self, message, buffers) -> None:
        """Run the cells, with the solution of the exercise in question out of their reach."""
        solutions = {id: course.solution_at(place) for id, place in message["solutions"].items()}
        course.withhold(solutions[message["exercise"]])
        sys.modules[course.PACKAGE].__dict__[course.DECORATOR] = stub.exercise_decorator(
            solutions, set(message["unattempted"]), decorated := {}
        )
        for number, source in message["cells"]:
            try:
                self.run_cell(source, f"<cell {number}>")
                reply = {"cell": number, "raised": None}
            except BaseException as error:
                reply = {"cell": number} | raised(error)
            self.keep_answers(decorated)
            self.reply(reply, message)

    def keep_answers(self, decorated: dict[str, Callable]) -> None:
        """Keep what the names of the functions decorated in a cell mean at its end: a later cell
        may give them to something else."""
        for id, function in decorated.items():
            name = getattr(function, "__name__", None)
            self.answers[id] = self.names.get(name, function)
        decorated.clear()

    def run_cell(self, source: str, file: str) -> None:
        """Run a cell as a notebook does.

        await is allowed at the top, and a __future__ import applies to all cells that follow.
        """
        linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
        code = compile(source, file, "exec", flags=self.flags, dont_inherit=True)
        self.flags |= code.co_flags & FUTURES
        if (left := eval(code, self.names)) is not None:
            with contextlib.suppress(StopIteration):
                while True:
                    left.send(None)

    def answer(self, message, buffers) -> None:
        self.function = self.answers.get(message["exercise"], self.names.get(message["function"]))
        random.seed(message["seed"])
        np.random.seed(message["seed"])
        torch.manual_seed(message["seed"])
        self.calls = []
        self.reply({"there": callable(self.function)}, message)

    def call(self, message, buffers) -> None:
        received = ReceivedArguments(message, buffers)
        try:
            value = self.function(*received.arguments, **received.keywords)
            reply, sent = received.report(value)
        except BaseException as error:
            return self.reply(raised(error), message)
        reply["gradients_off"] = not torch.is_grad_enabled()
        self.calls.append((received.learned, received.returned))
        self.reply(reply, message, sent)

    def backward(self, message, buffers) -> None:
        learned, returned = self.calls[message["call"]]
        gradients = [wire.decode(gradient, buffers) for gradient in message["gradients"]]
        pairs = [
            (tensor, gradient)
            for tensor, gradient in zip(returned, gradients)
            if gradient is not None
        ]
        try:
            found = gradients_of(learned, pairs)
        except BaseException as error:
            return self.reply(raised(error), message)
        sent = []
        reply = {"gradients": [wire.encode(gradient, sent) for gradient in found]}
        self.reply(reply, message, sent)


def gradients_of(learned: list, pairs: list[tuple]) -> list:
    """The gradients of `learned`, from pairs of a result and its gradient."""
    if not learned:
        return []
    return torch.autograd.grad(
        [tensor for tensor, _ in pairs],
        learned,
        [gradient for _, gradient in pairs],
        retain_graph=True,
        allow_unused=True,
    )


def raised(error: BaseException) -> dict:
    """An exception as data: its first built-in class, its own name, its text, and its line."""
    known = next(
        kind.__name__
        for kind in type(error).__mro__
        if getattr(builtins, kind.__name__, None) is kind
    )
    places = [
        (frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    lines = [line for file, line in places if file.startswith("<cell ")]
    if isinstance(error, SyntaxError) and str(error.filename).startswith("<cell "):
        lines = [error.lineno]
    try:
        text = str(error)[:MAX_TEXT]
    except BaseException:
        text = ""
    return {
        "raised": known,
        "name": type(error).__name__[:60],
        "text": text,
        "line": lines[-1] if lines else None,
    }


class ReceivedArguments:
    """The arguments of one call, and what the call made of them.

    learned: the tensors and parameters that ask for a gradient. returned: results that have one.
    """

    def __init__(self, message: dict, buffers: list[memoryview]):
        self.tensors, self.lists, self.models, self.learned, self.returned = [], [], [], [], []
        self.arguments = [self.decode(data, buffers) for data in message["arguments"]]
        self.keywords = {
            name: self.decode(data, buffers) for name, data in message["keywords"].items()
        }
        self.before = [state(tensor) for tensor in self.tensors]

    def decode(self, data, buffers):
        return wire.decode(
            data, buffers, lambda kind, rest: getattr(self, f"make_{kind}")(buffers, *rest)
        )

    def make_variable(self, buffers, data, requires_grad, gradient):
        tensor = wire.decode(data, buffers).requires_grad_(requires_grad)
        tensor.grad = wire.decode(gradient, buffers)
        self.tensors.append(tensor)
        if requires_grad:
            self.learned.append(tensor)
        return tensor

    def make_changeable(self, buffers, elements):
        place, made = len(self.lists), []
        self.lists.append((made, None))
        made.extend(self.decode(element, buffers) for element in elements)
        self.lists[place] = (made, list(made))
        return made

    def make_model(self, buffers, name, parameters):
        model = copy.deepcopy(MODELS[name])
        for (_, parameter), (data, requires_grad) in zip(
            model.named_parameters(), parameters, strict=True
        ):
            parameter.data.copy_(wire.decode(data, buffers))
            parameter.requires_grad_(requires_grad)
            if requires_grad:
                self.learned.append(parameter)
        self.models.append((model, {path: state(p) for path, p in model.named_parameters()}))
        return model

    def report(self, value) -> tuple[dict, list[bytes]]:
        """The reply to a call that returned `value`, and the buffers that go with it."""
        sent = []
        reply = {
            "raised": None,
            "value": wire.encode(value, sent, lambda value: self.known(value, sent)),
            "tensors": [
                changes(tensor, before, sent) for tensor, before in zip(self.tensors, self.before)
            ],
            "lists": [
                None if same(now, before) else wire.encode(now, sent) for now, before in self.lists
            ],
            "models": [self.model_now(*model, sent) for model in self.models],
        }
        return reply, sent

    def known(self, value, sent):
        """How to send an argument that is returned, or a result with a gradient; else None.

        The latter is kept for `backward`.
        """
        for place, tensor in enumerate(self.tensors):
            if value is tensor:
                return ["argument", place]
        if type(value) is torch.Tensor and value.requires_grad and wire.travels(value):
            self.returned.append(value)
            return ["result", len(self.returned) - 1, *wire.numbers(value.detach(), sent)]

    def model_now(self, model, before, sent):
        after = dict(model.named_parameters())
        if after.keys() != before.keys():
            return wire.OTHER_PARAMETERS
        return [changes(after[path], before[path], sent) for path in before]


def state(tensor: torch.Tensor) -> tuple:
    """Copies of the numbers and the gradient: version counters miss changes made through .data."""
    gradient = tensor.grad
    return (
        tensor.detach().clone(),
        tensor.requires_grad,
        None if gradient is None else gradient.detach().clone(),
    )


def changes(tensor: torch.Tensor, before: tuple, sent: list[bytes]) -> list | None:
    """None if the tensor is as it was; else its numbers, requires_grad and the gradient."""
    numbers, requires_grad, gradient = before
    if gradient is None or tensor.grad is None:
        kept = gradient is tensor.grad
    else:
        kept = torch.equal(tensor.grad, gradient)
    if kept and tensor.requires_grad == requires_grad and torch.equal(tensor, numbers):
        return None
    return [
        wire.encode(tensor.detach(), sent),
        bool(tensor.requires_grad),
        wire.encode(tensor.grad, sent),
    ]


def same(now: list, before: list) -> bool:
    """Whether a list still holds the very same objects."""
    return len(now) == len(before) and all(one is other for one, other in zip(now, before))
