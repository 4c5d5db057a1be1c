"""The format of what travels to and from a worker: JSON and the bytes of tensors, never code.

A frame is its length (8 bytes), the length of its JSON (4 bytes), the JSON, and the buffers that
the JSON refers to by position. A reader trusts none of it: sizes are checked before memory is
allocated, values become exactly the types below, and anything else arrives as `Foreign`, an object
that is nothing but the name of a type.

    None, bool, int, float, str, list, tuple
    torch.Tensor of a dtype in DTYPES, dense, on the CPU
    numpy arrays and numpy scalars of such a dtype
"""

import json
import math
import re
import struct
from collections.abc import Callable

import numpy as np
import torch

DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        torch.float64,
        torch.float32,
        torch.float16,
        torch.bfloat16,
        torch.int64,
        torch.int32,
        torch.int16,
        torch.int8,
        torch.uint8,
        torch.bool,
        torch.complex64,
        torch.complex128,
    )
}
NUMPY = {name: np.dtype(name) for name in DTYPES if name != "bfloat16"}
HEAD = struct.Struct(">QI")
READY = b"ready"  # the first thing that the fork server sends
ANSWER_LENGTH = 16  # bytes of each answer of the fork server, a number
SHUT_IN = b"shut in"  # the first thing that a worker sends, before any frame
OTHER_PARAMETERS = "other parameters"  # sent if a function changed which parameters a model has
MAX_DEPTH = 20  # of lists within lists
MAX_DIMENSIONS = 16
MAX_BUFFERS = 10_000
MAX_SIDE = 10**6  # of a tensor without elements, whose shape costs nothing to send
MAX_DIGITS = 4000  # of an integer


class WireError(Exception):
    """Data that does not have the agreed form."""


class Foreign:
    """Stands for an object of a type that is not sent. Its class has the name of that type."""


def foreign(name: str) -> Foreign:
    """An object that can do nothing, of a class with this name."""
    return type(re.sub(r"[^A-Za-z_]", "_", name)[:40] or "object", (Foreign,), {})()


# Frames -------------------------------------------------------------------------------------------


def pack(message: dict, buffers: list[bytes]) -> bytes:
    """A frame, ready to be sent. `message` must contain only types that JSON has."""
    text = json.dumps(message | {"sizes": list(map(len, buffers))}).encode()
    return b"".join([HEAD.pack(4 + len(text) + sum(map(len, buffers)), len(text)), text, *buffers])


def unpack(frame: bytes, max_json: int = 2**32) -> tuple[dict, list[memoryview]]:
    """The message and the buffers of a frame without its first 8 bytes. Raises WireError.

    max_json: bytes; JSON takes up to 40 times as much memory once it is read
    """
    length = int.from_bytes(frame[:4], "big")
    if length > max_json:
        raise WireError("more than can be read, tensors aside")
    try:
        message, rest = json.loads(frame[4 : 4 + length]), memoryview(frame)[4 + length :]
        sizes = message.pop("sizes")
        whole = all(type(size) is int and size >= 0 for size in sizes) and sum(sizes) == len(rest)
        if not whole or len(sizes) > MAX_BUFFERS:
            raise ValueError("the buffers do not have the stated sizes")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, MemoryError) as error:
        raise WireError(f"a message that cannot be read ({type(error).__name__})") from None
    ends = np.cumsum([0, *sizes]).tolist()
    return message, [rest[start:end] for start, end in zip(ends, ends[1:])]


# Values to JSON -----------------------------------------------------------------------------------


def encode(
    value, buffers: list[bytes], special: Callable = lambda value: None, depth: int = 0
) -> list:
    """A value as JSON; the bytes of its tensors are added to `buffers`.

    special: tried first on every value; what it returns, unless None, is the value's JSON
    """
    found = special(value)
    if found is not None:
        return found
    kind = type(value)
    if value is None or kind in (bool, str):
        return ["as it is", value]
    if kind is int and abs(value) < 10**MAX_DIGITS:
        return ["int", str(value)]
    if kind is float:
        return ["float", value.hex()]
    named = issubclass(kind, tuple) and hasattr(kind, "_fields")  # a named tuple counts as a tuple
    if (kind in (list, tuple) or named) and depth < MAX_DEPTH:
        return [
            "tuple" if named else kind.__name__,
            [encode(each, buffers, special, depth + 1) for each in value],
        ]
    if kind in (torch.Tensor, torch.nn.Parameter) and travels(value):
        return ["tensor", *numbers(value.detach(), buffers)]
    if kind is np.ndarray and value.dtype.name in NUMPY and value.ndim <= MAX_DIMENSIONS:
        return ["array", *numbers(torch.from_numpy(np.array(value, order="C")), buffers)]
    if isinstance(value, np.generic) and value.dtype.name in NUMPY:
        return ["scalar", *numbers(torch.from_numpy(np.array(value)), buffers)]
    return ["foreign", kind.__name__ if isinstance(kind.__name__, str) else "object"]


def travels(tensor: torch.Tensor) -> bool:
    return (
        tensor.layout is torch.strided
        and tensor.device.type == "cpu"
        and not tensor.is_quantized
        and tensor.dtype in DTYPES.values()
        and tensor.ndim <= MAX_DIMENSIONS
    )


def numbers(tensor: torch.Tensor, buffers: list[bytes]) -> tuple[str, list[int], int]:
    """dtype, shape and the index of the bytes, which are added to `buffers`."""
    plain = tensor.resolve_conj().resolve_neg().contiguous().reshape(-1)
    # A single number spread to (1,) has stride 0, counts as contiguous, and cannot be seen as bytes.
    plain = plain.clone(memory_format=torch.contiguous_format) if plain.stride() != (1,) else plain
    buffers.append(plain.view(torch.uint8).numpy().tobytes() if plain.numel() else b"")
    return str(tensor.dtype).removeprefix("torch."), list(tensor.shape), len(buffers) - 1


# JSON to values -----------------------------------------------------------------------------------


def decode(data, buffers: list[memoryview], special: Callable = lambda kind, rest: None):
    """The value that encode turned into `data`; tensors are new, without gradient.

    special: called with (kind, rest) for each kind that is not one of encode's own. Raises
    WireError for anything else, in whatever way it is wrong.
    """
    try:
        return value_of(data, buffers, special)
    except WireError:
        raise
    except Exception as error:
        raise WireError(f"a value that cannot be read ({type(error).__name__})") from None


def value_of(data, buffers, special):
    kind, *rest = data
    if kind == "as it is" and (rest[0] is None or type(rest[0]) in (bool, str)):
        return rest[0]
    if kind == "int" and len(rest[0]) <= MAX_DIGITS + 1:
        return int(rest[0])
    if kind == "float":
        return float.fromhex(rest[0])
    if kind in ("list", "tuple"):
        return {"list": list, "tuple": tuple}[kind](
            value_of(element, buffers, special) for element in rest[0]
        )
    if kind == "tensor":
        return tensor_of(*rest, buffers)
    if kind == "array":
        return tensor_of(*rest, buffers).numpy()
    if kind == "scalar":
        return tensor_of(*rest, buffers).numpy()[()]
    if kind == "foreign":
        return foreign(str(rest[0]))
    return special(kind, rest)


def tensor_of(dtype: str, shape: list[int], place: int, buffers: list[memoryview]) -> torch.Tensor:
    if len(shape) > MAX_DIMENSIONS or not all(type(side) is int and side >= 0 for side in shape):
        raise WireError("a tensor of an impossible shape")
    if type(place) is not int or place < 0 or buffers[place] is None:
        raise WireError("a tensor whose bytes are missing")
    # Each buffer is read only once, so that no more is made than was sent.
    data, buffers[place] = buffers[place], None
    count = math.prod(shape)
    if count * DTYPES[dtype].itemsize != len(data) or count == 0 and max(shape) > MAX_SIDE:
        raise WireError("a tensor whose bytes do not fill its shape")
    if dtype == "bool" and not set(bytes(data)) <= {0, 1}:
        raise WireError("a tensor of truth values that are neither true nor false")
    if count == 0:
        return torch.empty(shape, dtype=DTYPES[dtype])
    return torch.frombuffer(bytearray(data), dtype=DTYPES[dtype]).reshape(shape)
