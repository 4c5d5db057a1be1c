"""What passes between marker and worker: the same value on both sides, or an error."""

import json
import math
import random

import numpy as np
import pytest
import torch

from grading.sandbox import wire


def across(value):
    buffers = []
    message = {"value": wire.encode(value, buffers)}
    told, views = wire.unpack(wire.pack(message, buffers)[8:])
    return wire.decode(told["value"], views)


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        False,
        0,
        -5,
        10**300,
        0.1,
        -0.0,
        math.inf,
        "",
        "ä\0\n\ud800",
        [],
        (),
        [1, (2.5, "x"), [None]],
        ([[]],),
        5e-324,
    ],
)
def test_plain_values_arrive_as_they_are(value):
    arrived = across(value)
    assert arrived == value and type(arrived) is type(value) and repr(arrived) == repr(value)


def test_nan_arrives():
    assert math.isnan(across(math.nan))


@pytest.mark.parametrize("dtype", wire.DTYPES.values(), ids=str)
@pytest.mark.parametrize("shape", [(), (1,), (3, 2), (0,), (2, 0, 3)], ids=str)
def test_tensors_arrive_with_type_shape_and_numbers(dtype, shape):
    tensor = (torch.randn(shape) * 5).to(dtype)
    arrived = across(tensor)
    assert arrived.dtype == dtype and arrived.shape == tensor.shape and torch.equal(arrived, tensor)
    assert not arrived.requires_grad


def test_views_and_conjugates_arrive_as_their_numbers():
    tensor = torch.randn(4, 6, dtype=torch.complex64)
    one = tensor[0, 0].expand(1)  # the gradient of a loss of this shape looks so
    views = tensor.T, tensor[::2], tensor[0].expand(3, 6), tensor.conj(), tensor.imag, one
    for view in views:
        assert torch.equal(across(view), view)


def test_arrays_and_numpy_numbers():
    for array in (
        np.arange(6.0).reshape(2, 3),
        np.array(3),
        np.zeros((0, 2), dtype=np.int32),
        np.arange(8)[::-2],
    ):
        arrived = across(array)
        assert (
            isinstance(arrived, np.ndarray)
            and arrived.dtype == array.dtype
            and np.array_equal(arrived, array)
        )
    for number in (np.float32(0.5), np.int64(7), np.bool_(True)):
        assert across(number) == number and type(across(number)) is type(number)


class Sly(list):
    pass


class Always:
    def __eq__(self, other):
        return True

    @property
    def __class__(self):
        return torch.Tensor


@pytest.mark.parametrize(
    "value",
    [
        Sly(),
        Always(),
        object(),
        {"a": 1},
        {1},
        1j,
        b"x",
        (x for x in "ab"),
        type("Text", (str,), {})("x"),
        type("Real", (float,), {})(1.0),
        type("Whole", (int,), {})(1),
        torch.eye(2).to_sparse(),
        torch.empty(2, device="meta"),
        np.array(["x"]),
        np.array([None]),
        torch.Tensor._make_subclass(type("Mine", (torch.Tensor,), {}), torch.ones(2)),
        10**5000,
        int,
    ],
    ids=lambda value: type(value).__name__,
)
def test_everything_else_arrives_as_a_name(value):
    arrived = across(value)
    assert isinstance(arrived, wire.Foreign) and arrived is not value
    with pytest.raises(TypeError):
        arrived + 1


def test_a_foreign_name_is_a_plain_name():
    for name in ("a b", "x" * 500, "<script>", "é\u202e", "", "class"):
        assert (
            wire.foreign(name).__class__.__name__.isascii()
            and len(type(wire.foreign(name)).__name__) <= 40
        )


def test_lists_too_deep_are_foreign():
    deep = []
    for _ in range(50):
        deep = [deep]
    value = across(deep)
    for _ in range(wire.MAX_DEPTH):
        value = value[0]
    assert isinstance(value, wire.Foreign)


@pytest.mark.parametrize(
    "data",
    [
        ["tensor", "float32", [10**9], 0],
        ["tensor", "float32", [2, 3], 0],
        ["tensor", "float32", [-1, -1], 0],
        ["tensor", "float32", [1.0], 0],
        ["tensor", "object", [1], 0],
        ["tensor", "float32", [1], 7],
        ["tensor", "float32", [1], -9],
        ["tensor", "bool", [4], 0],
        ["tensor", "float32", [1] * 17, 0],
        ["tensor", "float32", "x", 0],
        ["tensor", "float32", [True], 0],
        ["tensor"],
        [],
        None,
        5,
        "tensor",
        {},
        ["nothing"],
        ["as it is", [1]],
        ["as it is", {"a": 1}],
        ["as it is"],
        ["int", "9" * 10_000],
        ["int", "x"],
        ["int", 5],
        ["float", "x"],
        ["float", 1.5],
        ["list", 5],
        ["list"],
        ["array", "bfloat16", [2], 0],
        ["argument", 0],
    ],
)
def test_a_lying_value_is_an_error(data):
    with pytest.raises(wire.WireError):
        value = wire.decode(data, [memoryview(b"\x02\x00\x00\x40")])
        if value is None:  # what nobody knows is asked of the caller, who knows nothing here
            raise wire.WireError


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\0\0\0",
        b"\0\0\0\x05hello",
        b"\xff\xff\xff\xff{}",
        b"\0\0\0\x02{}",
        b"\0\0\0\x02[]",
        b"\0\0\0\x04null",
        b"\0\0\0\x0c" + b'{"sizes":5}',
        b"\0\0\0\x0e" + b'{"sizes":[9]}',
        b"\0\0\0\x10" + b'{"sizes":[-1]} ',
        len(b"[" * 100_000).to_bytes(4, "big") + b"[" * 100_000,
    ],
)
def test_a_lying_frame_is_an_error(frame):
    with pytest.raises(wire.WireError):
        wire.unpack(frame)


def test_damaged_frames_never_do_anything_but_fail_or_give_values():
    buffers = []
    message = {
        "value": wire.encode([torch.randn(3), (1, "x", 2.5), np.arange(3), None], buffers),
        "id": "ab",
    }
    frame, rng = wire.pack(message, buffers)[8:], random.Random(0)
    for _ in range(3000):
        damaged = bytearray(frame)
        for _ in range(rng.randint(1, 4)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        try:
            told, views = wire.unpack(
                bytes(damaged[: rng.choice((None, rng.randrange(len(damaged))))])
            )
            wire.decode(told.get("value"), views)
        except wire.WireError:
            pass


def test_a_frame_says_its_length_first():
    frame = wire.pack({"a": 1}, [b"xyz"])
    assert int.from_bytes(frame[:8], "big") == len(frame) - 8
    assert json.loads(frame[12:-3]) == {"a": 1, "sizes": [3]}
