"""What runs in the sandbox: one process that has everything imported, and forks of it that run a
submission's answers.

The judge starts the template once, `python -s -P -c "… worker.main(fd)"`, in an environment of its
own. For each check it asks it for a worker: a fork, shut into the sandbox before it sees any code
of a submission. A worker obeys four orders

    load        run cells of the notebook, one after the other, telling after each that it is done
    answer      pick the function that answers an exercise, and seed the random generators
    call        call it; tell what it returned, what it changed in its arguments, or what it raised
    backward    the gradient of what a call returned, in the call's arguments

and has no say in what they are worth. Nothing here is trusted once a cell has run.
"""

import __future__

import ast
import builtins
import contextlib
import copy
import functools
import importlib
import inspect
import io
import json
import linecache
import operator
import os
import pkgutil
import random
import socket
import sys
import traceback
import types

import numpy as np
import torch
from checks import models
from course.withheld import refuse

from . import sandbox, wire

MESSAGE = 300  # characters of an exception's text
MODELS = {}  # made before the doors close, and before a solution that they need is withheld
FUTURES = functools.reduce(
    operator.or_, (getattr(__future__, name).compiler_flag for name in __future__.all_feature_names)
)
PRELOADED = ("methods", "planning", "helpdesk")


# The template -------------------------------------------------------------------------------------


def main(control: int) -> None:
    """Fork a worker whenever the judge sends a socket for it; end with the judge."""
    torch.set_num_threads(1)
    for name in PRELOADED:
        for module in pkgutil.iter_modules(importlib.import_module(name).__path__):
            importlib.import_module(f"{name}.{module.name}")
    MODELS.update((name, make()) for name, make in models.RECIPES.items())
    sandbox.adopt()
    sandbox.end_with_the_parent()
    judge = socket.socket(fileno=control)
    judge.sendall(b"ready")
    while True:
        order, sockets, _, _ = socket.recv_fds(judge, 65536, 1)
        if not order:
            return
        if sockets:
            judge.sendall(str(fork_worker(judge, sockets[0], json.loads(order))).encode().ljust(16))
        else:
            judge.sendall(str(sandbox.end_children()).encode().ljust(16))


def fork_worker(judge: socket.socket, connection: int, settings: dict) -> int:
    """The pid of a new worker."""
    pid = os.fork()
    if pid:
        os.close(connection)
        return pid
    try:
        judge.close()
        run_worker(connection, settings)
    finally:
        os._exit(0)


def run_worker(connection: int, settings: dict) -> None:
    sandbox.enter(settings["tier"], settings["folder"], settings["limits"], keep=connection)
    sys.path[:] = [path for path in sys.path if path.startswith((sys.prefix, sys.base_prefix))]
    sys.stdout = sys.stderr = Nowhere()
    sys.modules["course"] = CourseInTheWorker("course")
    judge = socket.socket(fileno=connection)
    judge.sendall(wire.SHUT_IN)
    Worker(judge).obey()


# A worker -----------------------------------------------------------------------------------------


class Worker:
    def __init__(self, judge: socket.socket):
        self.judge, self.flags = judge, ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        sys.modules["__main__"] = types.ModuleType(
            "__main__"
        )  # where pickle and dataclasses look for a cell's classes
        self.names = vars(sys.modules["__main__"])
        self.names |= {"__builtins__": builtins, "display": NOTHING, "get_ipython": NOTHING}
        # of each call: its arguments that have gradients, and what it returned that has one
        self.calls = []

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
        head = self.judge.recv(8, socket.MSG_WAITALL)
        return (
            self.judge.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL)
            if len(head) == 8
            else None
        )

    def reply(self, message: dict, asked: dict, buffers: list[bytes] = ()) -> None:
        self.judge.sendall(wire.pack(message | {"id": asked["id"]}, list(buffers)))

    def load(self, message, buffers) -> None:
        """Run the cells, the solution of the exercise that is to be answered out of reach for
        good."""
        solutions = {id: solution_at(place) for id, place in message["solutions"].items()}
        inspect.unwrap(solutions[message["exercise"]]).__code__ = refuse.__code__
        sys.modules["course"].__dict__["exercise"] = exercise_of(
            solutions, set(message["untouched"])
        )
        for number, source in message["cells"]:
            try:
                self.run_cell(source, f"<cell {number}>")
                told = {"cell": number, "raised": None}
            except BaseException as error:
                told = {"cell": number} | raised(error)
            self.reply(told, message)

    def run_cell(self, source: str, file: str) -> None:
        """As a notebook does: with await at the top, and __future__ imports that count for all
        cells that follow."""
        linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
        code = compile(source, file, "exec", flags=self.flags, dont_inherit=True)
        self.flags |= code.co_flags & FUTURES
        if (left := eval(code, self.names)) is not None:
            with contextlib.suppress(StopIteration):
                while True:
                    left.send(None)

    def answer(self, message, buffers) -> None:
        self.function = self.names.get(message["function"])
        random.seed(message["seed"])
        np.random.seed(message["seed"])
        torch.manual_seed(message["seed"])
        self.calls = []
        self.reply({"there": callable(self.function)}, message)

    def call(self, message, buffers) -> None:
        given = Given(message, buffers)
        try:
            value = self.function(*given.arguments, **given.keywords)
            told, sent = given.account(value)
        except BaseException as error:
            return self.reply(raised(error), message)
        self.calls.append((given.learned, given.returned))
        self.reply(told, message, sent)

    def backward(self, message, buffers) -> None:
        learned, returned = self.calls[message["call"]]
        gradients = [wire.decode(gradient, buffers) for gradient in message["gradients"]]
        pairs = [
            (tensor, gradient)
            for tensor, gradient in zip(returned, gradients)
            if gradient is not None
        ]
        try:
            found = (
                torch.autograd.grad(
                    [tensor for tensor, _ in pairs],
                    learned,
                    [gradient for _, gradient in pairs],
                    retain_graph=True,
                    allow_unused=True,
                )
                if learned
                else []
            )
        except BaseException as error:
            return self.reply(raised(error), message)
        sent = []
        self.reply(
            {"gradients": [wire.encode(gradient, sent) for gradient in found]}, message, sent
        )


def solution_at(place: list[str]):
    module, name = place
    return getattr(importlib.import_module(module), name)


def raised(error: BaseException) -> dict:
    """An exception as data: the first of its classes that Python itself has, its own name, text,
    and line."""
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
        text = str(error)[:MESSAGE]
    except BaseException:
        text = ""
    return {
        "raised": known,
        "name": type(error).__name__[:60],
        "text": text,
        "line": lines[-1] if lines else None,
    }


class Given:
    """The arguments of one call, and what became of them."""

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

    def account(self, value) -> tuple[dict, list[bytes]]:
        """What is told of the call, and the buffers that go with it."""
        sent = []
        told = {
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
        return told, sent

    def known(self, value, sent):
        """One of the arguments is told as such; a result with a gradient is kept for `backward`."""
        for place, tensor in enumerate(self.tensors):
            if value is tensor:
                return ["argument", place]
        if type(value) is torch.Tensor and value.requires_grad and wire.travels(value):
            self.returned.append(value)
            return ["result", len(self.returned) - 1, *wire.numbers(value.detach(), sent)]

    def model_now(self, model, before, sent):
        after = dict(model.named_parameters())
        if after.keys() != before.keys():
            return "other parameters"
        return [changes(after[path], before[path], sent) for path in before]


def state(tensor: torch.Tensor) -> tuple:
    """Copies of numbers and gradient: a version counter does not see what goes through .data."""
    gradient = tensor.grad
    return (
        tensor.detach().clone(),
        tensor.requires_grad,
        None if gradient is None else gradient.detach().clone(),
    )


def changes(tensor: torch.Tensor, before: tuple, sent: list[bytes]) -> list | None:
    """None if the tensor is as it was, else its numbers, whether it asks for a gradient, and the
    gradient."""
    numbers, requires_grad, gradient = before
    kept = (
        tensor.grad is None
        if gradient is None
        else tensor.grad is not None and torch.equal(tensor.grad, gradient)
    )
    if kept and tensor.requires_grad == requires_grad and torch.equal(tensor, numbers):
        return None
    return [
        wire.encode(tensor.detach(), sent),
        bool(tensor.requires_grad),
        wire.encode(tensor.grad, sent),
    ]


def same(now: list, before: list) -> bool:
    """Whether a list still holds the very same elements."""
    return len(now) == len(before) and all(one is other for one, other in zip(now, before))


# The course, as cells see it here -----------------------------------------------------------------


class CourseInTheWorker(types.ModuleType):
    """Stands in the place of the package course: nothing is drawn, measured or checked here."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (Exception,), {}) if name.endswith(("Error", "Mistake")) else NOTHING


class Nothing:
    """Whatever is done with it, it stays what it is."""

    def __call__(self, *args, **kwargs):
        return self

    __getattr__ = __getitem__ = __enter__ = __call__

    def __exit__(self, *error):
        return False

    def __iter__(self):
        return iter(())


NOTHING = Nothing()


class Nowhere(io.TextIOBase):
    """Takes what is printed, and writes it to no file."""

    def write(self, text):
        return len(text)


def exercise_of(solutions: dict, untouched: set[str]):
    """The decorator: an untouched body is replaced by the solution, as in the notebook."""

    def exercise(id=None, *args, **kwargs):
        return lambda function: solutions[id] if id in untouched else function

    return exercise
