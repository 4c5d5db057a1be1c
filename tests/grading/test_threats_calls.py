"""Answers that hang, crash or lie: rows G04-G08, G21-G23 and G37, each with its layer."""

import ast
import json
import pickle
import struct
import time
from pathlib import Path

import pytest
import torch
from made import submission
from threats import (
    LAB,
    SOLVED,
    TIERS,
    answer,
    answers,
    at_each_tier,
    attack,
    grade,
    leaves_nothing,
    marker_at,
    mistakes,
)

import grading
from grading.sandbox import fork_server, wire

LOOPS = {
    "in Python": "while True:\n    pass",
    "in C": "sum(iter(int, 1))",
    "in one call of C": "import re\nre.match(r'(a+)+$', 'a' * 60 + 'b')",
    "in a thread": "import threading\nthread = threading.Thread(target=lambda: sum(iter(int, 1)))\n"
    "thread.start()\nthread.join()",
}


# It does not end ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tier, loop", [(TIERS[place % len(TIERS)], loop) for place, loop in enumerate(LOOPS)]
)
def test_g04_an_endless_loop(tier, loop):
    """G04, monitor: processor time counts per call; two timeouts are enough for an exercise."""
    record = attack(
        tier, answers(sequence_loss=LOOPS[loop]), {"sft.sequence_loss": "timeout"}, cpu=0.3
    )
    assert record.run.seconds < 15 and "0.3 s" in mistakes(record, "sft.sequence_loss")[0]


def test_g04_waiting_for_ever():
    """G04, monitor: waiting uses no processor time, so the limit is on the clock, and met twice."""
    attack("T0", answers(loss="import time\ntime.sleep(60)"), {"sft.loss": "timeout"}, wall=0.5)


def test_g04_an_endless_loop_in_the_gradient():
    """G04, monitor: the computation of a gradient is watched too."""
    body = """
        import torch
        class Endless(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                return x.sum()
            @staticmethod
            def backward(ctx, gradient):
                {}
        return Endless.apply(logits)
        """
    results = {"sft.loss": {"failed", "timeout"}, "sft.sequence_loss": {"failed", "crashed"}}
    record = attack(
        "T0",
        answers(
            loss=body.format("while True: pass"),
            sequence_loss=body.format("import os; os._exit(0)"),
        ),
        results,
        cpu=0.5,
    )
    assert "computed for more than" in mistakes(record, "sft.loss")[-1]
    assert "ended the program" in mistakes(record, "sft.sequence_loss")[-1]


@pytest.mark.parametrize(
    "tier, cell, limits",
    [
        (TIERS[-1], "while True: pass", {"cpu": 0.5}),
        ("T0", "import time; time.sleep(60)", {"wall": 0.5}),
    ],
)
def test_g05_a_cell_that_does_not_end(tier, cell, limits):
    """G05, monitor: the cell is left out, the cells after it are run."""
    record = attack(tier, {}, {}, before=[cell], **limits)
    assert len(record.notes) == 1 and "was left out" in record.notes[0]


def test_g05_a_cell_that_does_not_end_under_an_answer():
    """G05, monitor: with its cell the answer is lost, and no other."""
    cell = SOLVED["sft.loss"] + "\nwhile True: pass"
    record = attack("T0", {"sft.loss": cell}, {"sft.loss": "error"}, cpu=0.5)
    assert "no function sft_loss" in mistakes(record, "sft.loss")[0]


# It ends the program ------------------------------------------------------------------------------

EXITS = {
    "mask_prompt": "raise SystemExit",
    "loss": "import sys\nsys.exit(0)",
    "sequence_loss": "raise KeyboardInterrupt",
    "gradient_step": "raise GeneratorExit",
    "silent_bug": "class Mine(BaseException):\n    pass\nraise Mine",
}


@at_each_tier
def test_g06_exceptions_that_end_programs(tier):
    """G06, worker: they are told as errors, in a call and in a cell."""
    cells = [
        "import sys; sys.exit(0)",
        "raise KeyboardInterrupt",
        "raise SystemExit('all tests passed')",
    ]
    record = attack(
        tier, answers(**EXITS), {f"sft.{name}": "error" for name in EXITS}, before=cells
    )
    assert len(record.notes) == 3 and "raised KeyboardInterrupt" in record.notes[1]


CRASHES = {
    "mask_prompt": "import os\nos._exit(0)",
    "loss": "import ctypes\nctypes.string_at(0)",
    "sequence_loss": "import os\nos.abort()",
    "gradient_step": "import os\nclass Last:\n    def __del__(self):\n        os._exit(0)\nLast()",
    "silent_bug": "import os, threading, time\nthreading.Timer(0.1, os._exit, [0]).start()\ntime.sleep(3)",
}
MORE = {
    "loss": "import sys\nsys.setrecursionlimit(10**7)\nx = []\nfor _ in range(200_000):\n    x = [x]\nrepr(x)",
    "mask_prompt": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
    "sequence_loss": "import os\nfor fd in range(3, 64):\n    try:\n        os.close(fd)\n    except OSError:\n"
    "        pass\nRIGHT",
}


@pytest.mark.parametrize("tier, crashes", [*((tier, CRASHES) for tier in TIERS), (TIERS[-1], MORE)])
def test_g07_g08_crashes(tier, crashes):
    """G07, G08, marker: a worker that has ended gave no answer, whatever its exit status."""
    attack(tier, answers(**crashes), {f"sft.{name}": "crashed" for name in crashes}, cpu=4)


@at_each_tier
def test_g07_a_cell_that_exits(tier):
    """G07, marker: the cell is left out; what waits for the end of the program never runs."""
    cells = ["import atexit, os; atexit.register(os._exit, 0)", "import os; os._exit(0)"]
    record = attack(tier, {}, {}, before=cells, after=["import ctypes; ctypes.string_at(0)"])
    assert len(record.notes) == 2


def test_g07_cells_that_exit_one_after_the_other():
    """G07, marker: there is a bound to starting again, and then a person decides."""
    marker = marker_at("T0")
    record = grade(marker, submission(LAB, "solved", before=["import os; os._exit(0)"] * 30))
    assert record.status == "needs review" and "20 cells" in record.reason
    leaves_nothing(marker)


def test_g08_recursion():
    """G08, worker: Python's own limit is an error of the function, and of nothing else."""
    attack("T0", answers(loss="return sft_loss(logits, labels)"), {"sft.loss": "error"})


# What comes back is not what it seems -------------------------------------------------------------

SPOOFS = [
    {
        "loss": "class Equal:\n    def __eq__(self, other): return True\n    __ne__ = __bool__ = lambda *_: True\n"
        "    __hash__ = None\nreturn Equal()",
        "sequence_loss": "import torch\nclass Spoof:\n    __class__ = torch.Tensor\n    requires_grad = True\n"
        "    def numel(self): return 1\n    def backward(self): pass\nreturn Spoof()",
        "mask_prompt": "class Equal(list):\n    def __eq__(self, other): return True\n    __getitem__ = lambda s, i: s\n"
        "return Equal([1]), Equal([2])",
        "silent_bug": "from unittest.mock import MagicMock\nreturn MagicMock(), MagicMock()",
    },
    {
        "loss": "class Float(float):\n    pass\nreturn Float(1)",
        "sequence_loss": "import torch\nclass Own(torch.Tensor):\n    @classmethod\n"
        "    def __torch_function__(cls, *args, **kwargs): return True\n"
        "return torch.zeros(()).as_subclass(Own)",
        "mask_prompt": "return (part for part in (prompt + response, [-100] * len(prompt) + response))",
        "silent_bug": "class Text(str):\n    pass\nreturn Text('ids'), Text('labels')",
    },
]


@pytest.mark.parametrize("bodies", SPOOFS, ids=["equal to everything", "subclasses"])
def test_g21_objects_that_pretend(bodies):
    """G21, boundary: what is not exactly of an agreed type arrives as an inert object."""
    attack("T0", answers(**bodies), {f"sft.{name}": "failed" for name in bodies})


VALUE = (
    "import torch\nvalue = -token_log_probs(logits, labels).sum() / (labels[:, 1:] != -100).sum()\n"
)
WRONG_VALUES = [
    "value * float('nan')",
    "value * float('inf')",
    "value.long()",
    "value.to_sparse()",
    "value.to('meta')",
    "value.expand(3)",
    "value.detach().numpy().astype('<U9')",
    "[value] * 3",
    "{'loss': value}",
    "value > 0",
]


@pytest.mark.parametrize("first, second", [*zip(WRONG_VALUES[::2], WRONG_VALUES[1::2])])
def test_g22_values_of_another_kind(first, second):
    """G22, boundary and check: no number, another type, shape or layout: the learner is told."""
    bodies = answers(loss=f"{VALUE}return {first}", sequence_loss=f"{VALUE}return {second}")
    record = attack(
        "T0", bodies, {"sft.loss": {"failed", "passed"}, "sft.sequence_loss": {"failed", "passed"}}
    )
    for id in bodies:
        exercise = next(each for each in record.exercises if each.id == id)
        assert exercise.checks[0].result == "failed" and mistakes(record, id)[0]


def test_g22_values_of_another_kind_that_are_right():
    """G22, boundary: double precision, views, strides and other integer types do not fail."""
    attack(
        "T0",
        answers(
            loss=f"{VALUE}return value.double()",
            sequence_loss="return -token_log_probs(logits, labels).sum(-1).mean().expand(3)[1]",
            token_log_probs="import torch\nx = logits[:, :-1].log_softmax(-1)\ny = labels[:, 1:]\nkeep = y != -100\n"
            "rows = x.gather(-1, y.where(keep, 0)[..., None])[..., 0].where(keep, 0)\n"
            "return torch.stack([rows, rows], -1)[..., 0]",
            silent_bug="import torch\nn = max(len(ids) for ids, _ in examples)\n"
            "both = [torch.tensor([part[k] + [fill] * (n - len(part[k])) for part in examples], "
            "dtype=torch.int32).T.contiguous().T for k, fill in ((0, pad_id), (1, -100))]\nreturn both",
        ),
        {},
    )


# What comes back is too much, or no answer --------------------------------------------------------

# In the worker, from inside a call: the worker's channel, the number of the question, and a frame
# of any content.
LINE = """
import json, struct, sys, time

def line():
    frame = sys._getframe()
    while not (frame.f_code.co_name == "call" and "message" in frame.f_locals):
        frame = frame.f_back
    return frame.f_locals["self"].channel, frame.f_locals["message"]["id"]

def send(text, buffers=b"", **numbers):
    text = text if isinstance(text, bytes) else json.dumps(text).encode()
    length = numbers.get("length", 4 + len(text) + len(buffers))
    line()[0].sendall(struct.pack(">QI", length, numbers.get("part", len(text))) + text + buffers)

def reply(**more):
    return {"id": line()[1], "raised": None, "value": ["as it is", None], "tensors": [None] * 2, "lists": [],
            "models": [], "sizes": []} | more
"""
FRAMES = {
    "nothing": "send(b'')",
    "no JSON": "send(b'{')",
    "no text": "send(bytes([0xff, 0xfe]) * 50)",
    "no object": "send([1, 2, 3])",
    "JSON within JSON": "send(b'[' * 200_000 + b']' * 200_000)",
    "another question's number": "send(reply(id='0' * 16))",
    "no number": "send({'sizes': []})",
    "a negative size": "send(reply(sizes=[-1, 1]))",
    "sizes that are no numbers": "send(reply(sizes=['1']))",
    "a huge length": "send(reply(), length=2**63)",
    "a length beyond the text": "send(reply(), part=2**31)",
    "bytes that are missing": "send(reply(sizes=[100]))",
    "no value": "reply = reply()\ndel reply['value']\nsend(reply)",
    "a value of no kind": "send(reply(value=['code', 'print(1)']))",
    "a tensor of no type": "send(reply(value=['tensor', 'object', [], 0], sizes=[0]))",
    "a tensor that is not there": "send(reply(value=['tensor', 'float32', [], 7]))",
    "a tensor of another shape": "send(reply(value=['tensor', 'float32', [1000], 0], sizes=[4]), bytes(4))",
    "a tensor of negative sides": "send(reply(value=['tensor', 'float32', [-1, -1], 0], sizes=[4]), bytes(4))",
    "truth values of 7": "send(reply(value=['tensor', 'bool', [4], 0], sizes=[4]), b'\\x07' * 4)",
    "an argument that is none": "send(reply(value=['argument', 99]))",
    "a result of whole numbers": "send(reply(value=['result', 0, 'int64', [], 0], sizes=[8]), bytes(8))",
    "changes of no argument": "send(reply(tensors=[None] * 9))",
    "changes of another type": "send(reply(tensors=[['as it is', 'text'], None]))",
    "models that are none": "send(reply(models=['other parameters']))",
    "an exception of no kind": "send(reply(raised=[]))",
    "an exception that stops": "send(reply(raised='SystemExit', name=7, text=[]))",
    "a class that is no exception": "send(reply(raised='eval', name='\\x1b[31m', line=-1))",
    "a number of 10,000 digits": "send(reply(value=['int', '9' * 10_000]))",
    "an infinite exponent": "send(reply(value=['float', '0x1p999999']))",
}
PLACES = ("loss", "sequence_loss", "mask_prompt", "gradient_step", "silent_bug")


@pytest.mark.parametrize("place", range(0, len(FRAMES), len(PLACES)))
def test_g23_frames_that_are_no_answer(place):
    """G23, boundary: the marker believes nothing that it reads; a bad frame is a failed check."""
    bodies = {
        f"sft.{name}": answer(f"sft.{name}", FRAMES[frame], LINE)
        for name, frame in zip(PLACES, [*FRAMES][place:])
    }
    attack("T0", bodies, {id: {"failed", "error"} for id in bodies})


def test_g23_half_a_frame_and_then_nothing():
    """G23, monitor: who begins an answer and does not end it is out of time."""
    body = "line()[0].sendall(struct.pack('>QI', 100, 90) + b'{\"id\"')\ntime.sleep(9)"
    attack("T0", {"sft.loss": answer("sft.loss", body, LINE)}, {"sft.loss": "timeout"}, wall=0.5)


def test_g23_a_frame_a_byte_at_a_time():
    """G23, monitor: an answer that goes on arriving does not stop the clock."""
    body = (
        "line()[0].sendall(struct.pack('>QI', 10**6, 10**6))\nwhile True:\n"
        "    line()[0].sendall(b' ')\n    time.sleep(0.01)"
    )
    attack("T0", {"sft.loss": answer("sft.loss", body, LINE)}, {"sft.loss": "timeout"}, wall=0.5)


def test_g23_answers_before_the_question():
    """G23, boundary: an answer bears the number of its question, which nobody knows beforehand."""
    early = "send(reply())\nsend(reply())\nRIGHT"
    spray = (
        "import os\nfor fd in range(3, 64):\n    try:\n        os.write(fd, b'passed' * 99)\n"
        "    except OSError:\n        pass\nRIGHT"
    )
    attack(
        "T0",
        {"sft.loss": answer("sft.loss", early, LINE), **answers(sequence_loss=spray)},
        {"sft.loss": "failed", "sft.sequence_loss": "failed"},
    )


def test_g23_an_answer_in_the_name_of_another_cell():
    """G23, marker: a cell that answers for a later one gains nothing, and is no fault of ours."""
    cell = LINE.replace('"call"', '"load"') + "send({'id': line()[1], 'raised': [], 'sizes': []})"
    record = attack(
        "T0",
        {},
        {
            f"sft.{name}": {"passed", "failed", "error", "crashed"}
            for name in (
                "mask_prompt",
                "token_log_probs",
                "loss",
                "sequence_loss",
                "gradient_step",
                "silent_bug",
            )
        },
        after=[cell],
    )
    assert record.status == "graded"


BIG = {
    "loss": "import torch\nreturn torch.zeros(50 * 2**18)",
    "sequence_loss": "deep = 0\nfor _ in range(5000):\n    deep = [deep]\nreturn deep",
    "mask_prompt": "return list(range(10**6)), [0] * 10**6",
    "silent_bug": "return {str(k): k for k in range(10**6)}",
}


def test_g23_too_much():
    """G23, boundary: sizes and depths have a bound, and are told."""
    record = attack("T0", answers(**BIG), {f"sft.{name}": {"failed", "timeout"} for name in BIG})
    assert "too big: 50 MiB" in mistakes(record, "sft.loss")[0]


def frame(sizes, buffers=b""):
    text = json.dumps({"sizes": sizes}).encode()
    return struct.pack(">I", len(text)) + text + buffers


def test_g23_a_small_frame_stays_small():
    """G23, boundary: no short text makes the marker take much memory."""
    with pytest.raises(wire.WireError):
        wire.unpack(frame([0] * 200_000))  # would be a view of 200 bytes for two characters
    for shape in ([2**40, 0], [0, 2**62], [1, 0, 2**50]):
        with pytest.raises(wire.WireError):
            wire.decode(
                ["tensor", "int64", shape, 0], [memoryview(b"")]
            )  # .tolist() of the first never ends


def test_g23_text_has_a_bound_of_its_own():
    """G23, boundary: 30 MiB of brackets would be a gigabyte of lists."""
    text = b"[" + b"[]," * 2**20 + b"[]]"
    with pytest.raises(wire.WireError, match="more than can be read"):
        wire.unpack(struct.pack(">I", len(text)) + text, fork_server.MAX_MESSAGE)
    record = attack(TIERS[-1], answers(loss="return 'x' * (3 * 2**20)"), {"sft.loss": "failed"})
    assert "more than can be read" in mistakes(record, "sft.loss")[0]


def test_g23_a_buffer_is_read_once():
    """G23, boundary: 60 bytes of text must not copy a megabyte, again and again."""
    twice = ["list", [["tensor", "uint8", [2**20], 0]] * 50]
    with pytest.raises(wire.WireError):
        wire.decode(twice, [memoryview(bytes(2**20))])


def test_g22_a_tensor_without_elements_and_with_many_rows():
    """G22, boundary: what holds no number must not keep the marker busy, and earns nothing."""
    body = "import torch\nempty = torch.empty({}, dtype=torch.long)\nreturn empty, empty"
    seconds = []
    for sides in ("0, 0", "2**22, 0", "0, 2**62"):
        began = time.monotonic()
        attack("T0", answers(silent_bug=body.format(sides)), {"sft.silent_bug": "failed"})
        seconds.append(time.monotonic() - began)
    assert max(seconds) < 10 * seconds[0]


# Code in the clothes of data ----------------------------------------------------------------------


def test_g37_objects_that_are_code_when_read(tmp_path):
    """G37, boundary: an object that unpickling would run arrives as a name.

    A pickled notebook is no notebook.
    """

    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    body = (
        "class Trap:\n    def __reduce__(self):\n        import pathlib\n"
        f"        return pathlib.Path.touch, (pathlib.Path({str(tmp_path / 'ran')!r}),)\nreturn Trap()"
    )
    attack("T0", answers(loss=body), {"sft.loss": "failed"})
    record = marker_at("T0").mark(pickle.dumps([Trap()]), f"{LAB}.ipynb")
    assert record.status == "ungradable" and not (tmp_path / "ran").exists()


def test_g37_nothing_here_reads_pickles():
    """G37, marker: no module of the trusted side can read a pickle, or run a text."""
    for path in Path(grading.__file__).parent.rglob("*.py"):
        if path.name == "worker.py":
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            words = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import | ast.ImportFrom)
                else [node.func.id]
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
                else [node.attr]
                if isinstance(node, ast.Attribute)
                else []
            )
            assert not {"pickle", "dill", "joblib", "eval", "exec", "load_module"} & set(words), (
                path
            )
            assert not (
                isinstance(node, ast.Attribute)
                and node.attr == "load"
                and getattr(node.value, "id", "") in ("torch", "np", "numpy")
            ), path


def test_g37_the_marker_holds_plain_tensors():
    """G37, boundary: whatever a frame says, what comes out of it is of exactly the agreed types."""
    values = [
        ["as it is", "text"],
        ["int", "7"],
        ["float", "0x1p0"],
        ["list", []],
        ["tuple", []],
        ["tensor", "float32", [1], 0],
        ["array", "float32", [1], 0],
        ["scalar", "float32", [], 0],
    ]
    kinds = {type(wire.decode(value, [memoryview(bytes(4))])).__name__ for value in values}
    assert kinds == {"str", "int", "float", "list", "tuple", "Tensor", "ndarray", "float32"}
    assert type(wire.decode(["foreign", "Tensor"], [])).__mro__[1] is wire.Foreign
    assert torch.Tensor not in type(wire.decode(["foreign", "Tensor"], [])).__mro__
