"""What the tests of attacks share: answers that attack, a Marker for each tier, what must hold."""

import atexit
import contextlib
import functools
import os
import shutil
import subprocess
import tempfile
import textwrap
from dataclasses import replace
from pathlib import Path
from unittest import mock

import psutil
import pytest
from made import solutions, submission

from grading.marking import Marker, MarkingSettings
from grading.sandbox import tiers
from grading.sandbox.limits import Limits

ROOT = Path(__file__).resolve().parents[2]
LAB = "01_sft"
SECRET = b"known to the marker alone"
LIMITS = Limits(
    cpu=1, wall=4, total_cpu=30, memory=640 * 2**20, file=2 * 2**20, folder=8 * 2**20, files=300
)
SOLVED = solutions(LAB)
WITNESS = "sft.gradient_step"  # it has few checks
CANARY = "CANARY_OF_THE_GRADER"
MARKERS = contextlib.ExitStack()
atexit.register(MARKERS.close)

TIERS = ["T0", "T1"] if tiers.can_enter("T1") else ["T0"]
at_each_tier = pytest.mark.parametrize("tier", TIERS)
needs_t1 = pytest.mark.skipif("T1" not in TIERS, reason="this system has no Landlock or no seccomp")

HEADS = {
    "sft.mask_prompt": "mask_prompt(prompt, response)",
    "sft.loss": "sft_loss(logits, labels)",
    "sft.sequence_loss": "sequence_loss(logits, labels)",
    "sft.silent_bug": "fixed_collate(examples, pad_id)",
    "sft.token_log_probs": "token_log_probs(logits, labels)",
    "sft.gradient_step": "gradient_step(parameters, learning_rate)",
}
RIGHT = {
    "sft.mask_prompt": "return prompt + response, [-100] * len(prompt) + response",
    "sft.loss": "return -token_log_probs(logits, labels).sum() / (labels[:, 1:] != -100).sum()",
    "sft.sequence_loss": "return -token_log_probs(logits, labels).sum(-1).mean()",
}


def answer(exercise, body, above="", below=""):
    """The text of an exercise's cell: what is above the function, its body, and what is below it.

    "RIGHT" in the body becomes the line that returns the right value.
    """
    body = textwrap.dedent(body).strip().replace("RIGHT", RIGHT.get(exercise, ""))
    return (
        f'{textwrap.dedent(above)}\n@exercise("{exercise}")\ndef {HEADS[exercise]}:\n'
        f"{textwrap.indent(body, '    ')}\n\n{textwrap.dedent(below)}"
    )


def answers(**bodies):
    """Cells by exercise, from bodies by the exercise's name: answers(loss="return 0")."""
    return {f"sft.{name}": answer(f"sft.{name}", body) for name, body in bodies.items()}


def cells(**bodies):
    """The same for a right submission's other exercises."""
    return SOLVED | answers(**bodies)


# In the worker: try things that must not work. If one works, or fails for another reason than a
# refusal, the function raises.
REFUSED = """
import ctypes, errno, os, socket, subprocess, sys, time
libc = ctypes.CDLL(None, use_errno=True)

def refused(*attempts, by=PermissionError):
    for attempt in attempts:
        try:
            done = attempt()
        except by:
            continue
        raise RuntimeError(done)

def call(*arguments):
    if libc.syscall(*arguments) < 0:
        raise OSError(ctypes.get_errno(), "")
"""


def refuses(*attempts, by="PermissionError"):
    """A cell whose function returns the right value if the system refuses all these expressions."""
    tries = ", ".join(f"lambda: {attempt}" for attempt in attempts)
    return {"sft.loss": answer("sft.loss", f"refused({tries}, by={by})\nRIGHT", REFUSED)}


# The markers --------------------------------------------------------------------------------------


@functools.cache
def folder():
    """The folder for everything that a marker here writes, so that what stays behind is seen."""
    made = tempfile.mkdtemp(prefix="threats-")
    # shutil gives up on folders nested too deeply.
    atexit.register(subprocess.run, ["rm", "-rf", made])
    return Path(made)


@functools.cache
def marker_at(tier):
    """The one Marker of the tier; its environment at the start holds a canary and a trap."""
    trap = Path(tempfile.mkdtemp(prefix="trap-"))
    atexit.register(shutil.rmtree, trap)
    (trap / "sitecustomize.py").write_text(f"import os\nos.environ['{CANARY}'] = 'the trap'\n")
    with mock.patch.dict(os.environ, {CANARY: "the grader's own", "PYTHONPATH": str(trap)}):
        return MARKERS.enter_context(Marker(MarkingSettings(SECRET, tier, LIMITS)))


@contextlib.contextmanager
def limited(marker, **limits):
    """The marker under other limits for a while."""
    with mock.patch.object(marker.fork_server, "limits", replace(LIMITS, **limits)):
        yield


def grade(marker, text, kept=None):
    """The marks of a notebook's text; temporary folders are made in folder()."""
    with mock.patch.object(tempfile, "tempdir", str(folder())):
        return marker.mark(text.encode(), f"{LAB}.ipynb", kept)


@functools.cache
def honest():
    """The results of a right submission, by exercise."""
    record = grade(marker_at(TIERS[-1]), submission(LAB, "solved"))
    assert (record.status, record.earned, record.points) == ("graded", 21, 21)
    return {exercise.id: exercise for exercise in record.exercises}


# What must hold -----------------------------------------------------------------------------------


def attack(tier, attacked, expected, before=(), after=(), **limits):
    """Mark a right submission except for the answers `attacked`, and compare with `expected`.

    If cells are added or several exercises attacked, all exercises are marked; otherwise only the
    attacked one and WITNESS. Returns the marks.

    expected: by exercise, the result that all its checks have, or a set of results that they may
    have. limits: other than LIMITS.
    """
    alone = len(attacked) == 1 and not before and not after
    kept = {
        id: exercise
        for id, exercise in honest().items()
        if alone and id not in (*attacked, WITNESS)
    }
    marker = marker_at(tier)
    open_files = psutil.Process().num_fds()
    with limited(marker, **limits):
        record = grade(marker, submission(LAB, SOLVED | attacked, before, after), kept)
    wanted = {id: {word} if isinstance(word, str) else word for id, word in expected.items()}
    assert record.status == "graded", record.reason
    for id in HEADS:
        found = set(results(record, id))
        assert found and found <= wanted.get(id, {"passed"}), (
            id,
            found,
            record.notes,
            mistakes(record, id),
        )
    assert psutil.Process().num_fds() <= open_files
    leaves_nothing(marker)
    return record


def results(record, id):
    """The result of each check of an exercise."""
    return [
        check.result
        for exercise in record.exercises
        if exercise.id == id
        for check in exercise.checks
    ]


def mistakes(record, id):
    """What each check of an exercise tells the learner."""
    return [
        check.mistake
        for exercise in record.exercises
        if exercise.id == id
        for check in exercise.checks
    ]


def leaves_nothing(marker):
    """No process, no file, and a marker that gives a right submission its points."""
    server = psutil.Process(marker.fork_server.process.pid)
    started = {each.fork_server.process.pid for each in map(marker_at, TIERS)}
    assert server.children(recursive=True) == []
    assert {child.pid for child in psutil.Process().children()} <= started
    assert [*folder().glob("answer-*")] == []
    kept = {id: exercise for id, exercise in honest().items() if id != WITNESS}
    record = grade(marker, submission(LAB, "solved"), kept)
    assert (record.status, record.earned, record.notes) == ("graded", 21, ())
