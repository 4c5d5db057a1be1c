"""A submission's function: it is called here and runs in a worker.

A call sends the arguments as data and brings back the result. What the function changed in its
arguments is changed in the caller's too, and a gradient of the result is computed where the
function ran. So the checks of a notebook run here without any change.
"""

import torch

from .. import course
from . import wire
from .failures import Unsendable, Unusable, exception_in
from .fork_server import Connection


class RemoteFunction:
    """The function that answers an exercise, in the worker at the other end of `connection`.

    Calls raise the exceptions of the module failures.
    """

    def __init__(self, connection: Connection):
        self.connection, self.calls = connection, 0

    def __call__(self, *arguments, **keywords):
        sent = SentArguments(arguments, keywords)
        reply, buffers = self.connection.ask(
            {"order": "call", "arguments": sent.arguments, "keywords": sent.keywords}, sent.buffers
        )
        if error := exception_in(reply):
            raise error
        if reply.get("gradients_off") is True:
            torch.set_grad_enabled(False)  # as in a notebook; the check takes it back
        call, self.calls = self.calls, self.calls + 1
        try:
            sent.apply_changes(reply, buffers)
            results = []
            value = wire.decode(reply["value"], buffers, sent.reader(results, buffers))
            return with_gradients(
                value, results, sent.learned, lambda *gradients: self.backward(call, gradients)
            )
        except (wire.WireError, KeyError, TypeError, ValueError, IndexError, RuntimeError) as error:
            name = type(error).__name__
            raise Unusable(f"what your function returned cannot be read ({name})") from None

    def backward(self, call: int, gradients: tuple) -> list:
        """The gradients of a call's arguments, from those of its results."""
        sent = []
        order = {
            "order": "backward",
            "call": call,
            "gradients": [wire.encode(each, sent) for each in gradients],
        }
        reply, buffers = self.connection.ask(order, sent)
        if error := exception_in(reply):
            raise error
        try:
            return [wire.decode(gradient, buffers) for gradient in reply["gradients"]]
        except (wire.WireError, KeyError, TypeError) as error:
            raise Unusable(f"a gradient that cannot be read ({type(error).__name__})") from None


class SentArguments:
    """The arguments of one call: as data for the worker, and as objects to be changed like its own.

    learned: the tensors and parameters that ask for a gradient.
    """

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
        if (recipe := course.recipe_of(value)) is not None:
            parameters = list(value.parameters())
            self.models.append(parameters)
            self.learned += [parameter for parameter in parameters if parameter.requires_grad]
            return [
                "model",
                recipe,
                [
                    [wire.encode(parameter.detach(), self.buffers), parameter.requires_grad]
                    for parameter in parameters
                ],
            ]
        if value is not None and type(value) not in (bool, int, float, str, tuple):
            raise Unsendable(f"a {type(value).__name__} cannot be given to a submission's function")

    def apply_changes(self, reply: dict, buffers: list[memoryview]) -> None:
        """Change the arguments as the function changed its own."""
        for values, changes in (
            (self.tensors, reply["tensors"]),
            *zip(self.models, reply["models"], strict=True),
        ):
            if changes == wire.OTHER_PARAMETERS:
                raise Unusable("your function changed which parameters the model has")
            for tensor, change in zip(values, changes, strict=True):
                if change is not None:
                    self.change(tensor, *change, buffers)
        for mine, now in zip(self.lists, reply["lists"], strict=True):
            if now is not None:
                mine[:] = wire.decode(now, buffers, self.reader([], buffers))

    def change(self, tensor: torch.Tensor, numbers, requires_grad: bool, gradient, buffers) -> None:
        tensor.data = wire.decode(numbers, buffers)
        if tensor.is_leaf:
            tensor.requires_grad_(bool(requires_grad))
            tensor.grad = wire.decode(gradient, buffers)

    def reader(self, results: list, buffers: list[memoryview]):
        """What wire.decode needs to read arguments that are returned, and results with gradients.

        The latter are added to `results`.
        """

        def special(kind, rest):
            if kind == "argument":
                return self.tensors[rest[0]]
            if kind == "result" and rest[0] == len(results):
                results.append(wire.tensor_of(*rest[1:], buffers))
                return results[-1]
            raise wire.WireError("a value of no known kind")

        return special


class RemoteAutograd(torch.autograd.Function):
    """Results that were computed in a worker, as a function of the arguments here."""

    @staticmethod
    def forward(ctx, backward, count, *tensors):
        ctx.remote_backward, ctx.number_learned = backward, len(tensors) - count
        return tuple(tensor.clone() for tensor in tensors[:count])

    @staticmethod
    def backward(ctx, *gradients):
        found = ctx.remote_backward(*gradients)
        if len(found) != ctx.number_learned:
            raise Unusable("gradients of other arguments than those that were given")
        return None, None, *[None] * len(gradients), *found


def with_gradients(value, results: list, learned: list, backward):
    """The value, with results whose gradients are computed in the worker."""
    if not results:
        return value
    if learned:
        linked = RemoteAutograd.apply(backward, len(results), *results, *learned)
    else:  # their gradients lead only to tensors that the function made itself
        linked = [result.requires_grad_() for result in results]
    return replaced(value, {id(old): new for old, new in zip(results, linked)})


def replaced(value, by: dict):
    if type(value) in (list, tuple):
        return type(value)(replaced(element, by) for element in value)
    return by.get(id(value), value)
