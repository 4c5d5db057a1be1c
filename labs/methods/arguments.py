"""Arguments that are not what a docstring asks for are refused here, in one sentence.

PyTorch spreads (batch, 1) or () over (batch, time) without a word, and what comes out is no error
but another quantity. So every function that takes several tensors compares their shapes first.
"""

import operator

import torch
from torch import Tensor


def check_shapes(**tensors: Tensor) -> None:
    """Raises TypeError unless all are tensors, ValueError unless they have one shape."""
    for name, value in tensors.items():
        if not isinstance(value, Tensor):
            raise TypeError(f"{name} is of the type {type(value).__name__}: give a tensor")
    if len({tensor.shape for tensor in tensors.values()}) > 1:
        shapes = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in tensors.items())
        raise ValueError(f"these must have one shape: {shapes}")


def check_shape(name: str, tensor: Tensor, *sizes: int | None) -> None:
    """Raises TypeError unless it is a tensor, ValueError unless it has these sizes; None fits any."""
    check_shapes(**{name: tensor})
    fits = len(sizes) == tensor.dim() and all(
        size in (None, own) for size, own in zip(sizes, tensor.shape)
    )
    if not fits:
        wanted = ", ".join("any" if size is None else str(size) for size in sizes)
        wanted += "," if len(sizes) == 1 else ""
        raise ValueError(f"{name} has the shape {tuple(tensor.shape)} and must have ({wanted})")


def check_tables(counts: Tensor, **tables: Tensor) -> None:
    """The same as check_shapes, for tables (batch, time) and the places in them that count.

    Raises TypeError also where `counts` is no table of bool.
    """
    check_shapes(**tables, counts=counts)
    if counts.dtype != torch.bool:
        raise TypeError(f"counts is a table of {counts.dtype}: give one of torch.bool")


def check_rows(counts: Tensor) -> None:
    """Raises ValueError for a row in which no place counts: what belongs to its end has no place."""
    if len(empty := (~counts.any(-1)).nonzero().flatten()):
        raise ValueError(f"row {empty[0].item()} holds no token that counts: leave it out")


def check_whole(name: str, value: int, least: int = 1) -> None:
    """Raises ValueError unless the value is a whole number, and at least `least`."""
    try:
        fits = not isinstance(value, bool) and operator.index(value) >= least
    except TypeError:
        fits = False
    if not fits:
        raise ValueError(f"{name} is {value!r}: it must be a whole number from {least} up")


def check_positive(name: str, value: float) -> None:
    """Raises ValueError unless the value is a finite number above 0."""
    if not 0 < value < float("inf"):
        raise ValueError(f"{name} is {value}: it must be a finite number above 0")


def check_from_0(name: str, value: float) -> None:
    """Raises ValueError unless the value is a finite number, 0 or above."""
    if not 0 <= value < float("inf"):
        raise ValueError(f"{name} is {value}: it must be finite, from 0 up")
