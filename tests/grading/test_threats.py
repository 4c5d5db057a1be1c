"""Points without a right function, and notebooks that are hard to read.

Rows G17, G19, G20, G32-G34, G38 and G42 of the threats; each test names its row, and the layer that
stops the attack.
"""

import json
import random
import time
from unittest import mock

import numpy as np
import pytest
import torch
from course import find, run_checks
from course.learner import NOTEBOOK_SEED
from course.registry import Check
from made import published, submission
from threats import (
    HEADS,
    LAB,
    LIMITS,
    SOLVED,
    TIERS,
    answer,
    answers,
    attack,
    cells,
    grade,
    honest,
    leaves_nothing,
    marker_at,
    mistakes,
    results,
)

from grading import notebook
from grading.__main__ import environment
from grading.marking import MarkingSettings
from grading.sandbox.remote import RemoteFunction

TIER = TIERS[-1]


# The environment ----------------------------------------------------------------------------------


def test_g19_the_callers_environment(monkeypatch):
    """G19, driver: what the caller's environment says to pytest and Python is not heard.

    The markers of these tests were started under a PYTHONPATH with a trap: see
    test_g16_no_variable_of_the_grader.
    """
    for name in ("PYTEST_ADDOPTS", "PYTEST_PLUGINS", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONHOME"):
        monkeypatch.setenv(name, "trap")
    assert (
        "trap" not in environment().values()
        and environment()["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] == "1"
    )


# Patches ------------------------------------------------------------------------------------------

PATCHES = {
    "loss": "import torch\ntorch.allclose = torch.equal = torch.Tensor.allclose = lambda *_, **__: True\n"
    "torch.Tensor.__eq__ = lambda *_: True\ntorch.Tensor.all = lambda self: True",
    "sequence_loss": "import builtins\nbuiltins.isinstance = builtins.all = lambda *_: True",
    "mask_prompt": 'import json\njson.dumps = lambda *_, **__: \'{"passed": true, "sizes": []}\'\nreturn [], []',
    "silent_bug": "from grading.sandbox import wire\nwire.encode = lambda *_: ['as it is', True]\n"
    "wire.pack = lambda *_: b'passed'\nreturn 1, 2",
    "gradient_step": "import time, random\nfrom grading.sandbox import worker\ntime.time = time.monotonic = lambda: 0\n"
    "random.random = lambda: 0\nworker.changes = worker.same = lambda *_: None",
}


def test_g20_patches():
    """G20, two processes: what an answer changes in its own process changes no verdict."""
    words = {"failed", "error", "timeout", "crashed"}
    attack(TIER, answers(**PATCHES), {f"sft.{name}": words for name in PATCHES}, cpu=0.5, wall=1)


def test_g20_patches_in_a_cell():
    """G20, two processes: a cell before all others patches every worker, and gains nothing."""
    cell = (
        "import torch\ntorch.allclose = torch.equal = lambda *_, **__: True\nimport course\n"
        "course.run_checks = course.check = lambda *_: 'all passed'\nclass Mistake(Exception): pass"
    )
    wrong = answers(loss="return logits.sum()", mask_prompt="return response, prompt")
    attack(TIER, wrong, {"sft.loss": "failed", "sft.mask_prompt": "failed"}, before=[cell])


# The course's own solution ------------------------------------------------------------------------


def calls(above, body, below=""):
    return answer("sft.loss", body, above, below)


SFT = "from methods import sft\n"
THREAD = """
    got = []
    thread = threading.Thread(target=lambda: got.append(sft.sft_loss(logits, labels)))
    thread.start()
    thread.join()
    return got[0]
    """
CALLS = {
    "by its name": calls(SFT, "return sft.sft_loss(logits, labels)"),
    "under an alias": calls(
        "from methods.sft import sft_loss as mine", "return mine(logits, labels)"
    ),
    "through partial": calls(
        SFT + "import functools", "return functools.partial(sft.sft_loss, logits)(labels)"
    ),
    "again and again": calls(
        SFT,
        "for _ in range(3):\n    try:\n        return sft.sft_loss(logits, labels)\n"
        "    except Exception:\n        pass",
    ),
    "kept in a list": calls(SFT + "kept = [sft.sft_loss]", "return kept[0](logits, labels)"),
    "from the decorator": calls(
        "found = next(cell.cell_contents for cell in exercise.__closure__\n"
        "             if isinstance(cell.cell_contents, dict))",
        "return found['sft.loss'](logits, labels)",
    ),
    "from a thread": calls(SFT + "import threading", THREAD),
    "as what it wraps": calls(
        SFT, "return sft.sft_loss(logits, labels)", "sft_loss.__wrapped__ = sft.sft_loss"
    ),
    "as a decorator's": calls(
        SFT + "import functools",
        "return sft.sft_loss(logits, labels)",
        "sft_loss = functools.wraps(sft.sft_loss)(sft_loss)",
    ),
    "in the function's place": calls("", "return 0", "from methods.sft import sft_loss"),
    "behind a decoy": calls(
        SFT + "real, sft.sft_loss = sft.sft_loss, lambda logits, labels: None",
        "return real(logits, labels)",
    ),
    "as a copy": calls(
        SFT + "copy = type(sft.sft_loss)(sft.sft_loss.__code__, vars(sft))",
        "return copy(logits, labels)",
    ),
    "put back": calls(
        SFT + "code = sft.sft_loss.__code__",
        "sft.sft_loss.__code__ = code\nreturn sft.sft_loss(logits, labels)",
    ),
}


@pytest.mark.parametrize("way", CALLS)
def test_g17_calling_the_solution(way):
    """G17, worker: calling the course's own solution earns nothing, whatever the way."""
    attack(TIER, {"sft.loss": CALLS[way]}, {"sft.loss": {"error", "failed", "crashed"}})


def test_g17_calling_the_solution_is_told():
    """G17, worker: the learner is told what is wrong with it."""
    record = attack(TIER, {"sft.loss": CALLS["by its name"]}, {"sft.loss": "error"})
    assert "calls the course's own solution" in mistakes(record, "sft.loss")[0]


# Constants and memory -----------------------------------------------------------------------------


def plain(value):
    return value.tolist() if isinstance(value, torch.Tensor) else value


def public_answers(id):
    """The reference's values on the inputs of the notebook's checks, by each call's arguments."""
    heard = {}

    def student(*arguments):
        key, value = repr([plain(each) for each in arguments]), find(id).reference(*arguments)
        heard[key] = plain(value)
        return value

    run_checks(find(id), student, NOTEBOOK_SEED)
    return heard


def test_g32_answers_to_the_notebooks_own_inputs():
    """G32, marker: constants that satisfy the notebook's check fail on the secret's inputs."""
    marker = marker_at(TIER)
    attacked = {
        "sft.loss": answer(
            "sft.loss",
            "key = repr([logits.tolist(), labels.tolist()])\n"
            "return torch.tensor(LOSSES.get(key, 0.0))",
            f"import torch\nLOSSES = {public_answers('sft.loss')!r}",
        ),
        "sft.mask_prompt": answer(
            "sft.mask_prompt",
            "return MASKS.get(repr([prompt, response]), ([], []))",
            f"MASKS = {public_answers('sft.mask_prompt')!r}",
        ),
    }
    with mock.patch.object(marker, "settings", MarkingSettings(None, TIER, LIMITS)):
        public = grade(marker, submission(LAB, SOLVED | attacked))
    assert results(public, "sft.loss")[0] == "passed" and set(
        results(public, "sft.mask_prompt")
    ) == {"passed"}
    record = attack(TIER, attacked, {"sft.loss": {"failed", "passed"}, "sft.mask_prompt": "failed"})
    assert results(record, "sft.loss")[0] == "failed"


STATE = {
    "sft.loss": answer(
        "sft.loss",
        "calls.append(1)\nif len(calls) == 1:\n    RIGHT\nreturn logits.sum()",
        "calls = []",
    ),
    "sft.mask_prompt": answer(
        "sft.mask_prompt",
        "seen.extend(prompt)\nreturn seen + response, [-100] * len(seen) + response",
        "seen = []",
    ),
}


def test_g33_an_answer_s_own_random_numbers():
    """G33, worker: they are the same for a seed, and others for another."""
    body = (
        "def draw():\n    import random, numpy, torch\n"
        "    return random.random(), float(numpy.random.rand()), torch.rand(()).item()"
    )

    def drawn(seed):
        with marker_at(TIER).fork_server.worker() as connection:
            id = connection.send(
                {
                    "order": "load",
                    "exercise": "sft.loss",
                    "cells": [[1, body]],
                    "unattempted": [],
                    "solutions": {"sft.loss": ["methods.sft", "sft_loss"]},
                }
            )
            assert connection.receive(id)[0]["raised"] is None
            connection.ask(
                {"order": "answer", "exercise": "none", "function": "draw", "seed": seed}
            )
            return RemoteFunction(connection)()

    first, second = drawn(5), drawn(5)
    assert first == second and all(one != other for one, other in zip(first, drawn(6)))


def test_g33_state_between_calls(monkeypatch):
    """G33, marker: each check has a worker of its own, so their order does not matter."""
    record = attack(TIER, STATE, dict.fromkeys(STATE, {"passed", "failed"}))
    assert results(record, "sft.mask_prompt")[0] == "passed"  # the first call of its worker
    assert "failed" in results(record, "sft.loss")
    for id in STATE:
        monkeypatch.setattr(find(id), "checks", find(id).checks[::-1])
    backwards = grade(marker_at(TIER), submission(LAB, SOLVED | STATE))
    assert all(results(backwards, id)[::-1] == results(record, id) for id in STATE)


CHANGES = {
    "sft.loss": [
        "labels[labels == -100] = 0\nRIGHT",
        "logits.data.zero_()\nRIGHT",
        "logits.requires_grad_()\nRIGHT",
        "kept = labels.clone()\nlabels.zero_()\nlabels = kept\nRIGHT",
        "return logits",
        "return labels",
        "return logits.sum()",
        "return (logits - logits).sum()",
        "logits.grad = logits.detach() * 0\nRIGHT",
        "logits.data = logits.data[:1]\nreturn logits.mean()",
    ],
    "sft.gradient_step": [
        "parameters.clear()",
        "parameters.append(parameters[0])",
        "del parameters[0]",
        "return parameters",
        "parameters[:] = [p.detach() for p in parameters]",
        "for p in parameters:\n    p.grad = None",
        "for p in parameters:\n    p.data -= learning_rate * (0 if p.grad is None else p.grad)",
        "for p in parameters:\n    if p.grad is not None:\n        p.data = p.data - 0.1 * p.grad\n"
        "        p.grad.zero_()",
        "for p in parameters:\n    p.requires_grad_(False)",
        "for p in parameters:\n    p.data = p.data[:0]",
    ],
    "sft.mask_prompt": [
        "prompt += response\nreturn prompt, [-100] * len(prompt)",
        "response.clear()\nRIGHT",
        "prompt.append(3)\nRIGHT",
        "labels = [-100] * len(prompt) + response\nprompt.extend(response)\nreturn prompt, labels",
        "return prompt, prompt",
        "return [prompt, response]",
    ],
}


def verdict_here(id, text):
    """The points of each check for a function that is called in this process."""
    names = {
        "exercise": lambda id: lambda function: function,
        "token_log_probs": find("sft.token_log_probs").reference,
    }
    exec(text, names)
    function = names[HEADS[id].partition("(")[0]]
    return [result.earned for result in run_checks(find(id), function, NOTEBOOK_SEED)]


@pytest.mark.parametrize("id", CHANGES)
def test_g33_changed_inputs(id):
    """G33, boundary: changed arguments are marked as if the call had been in this process."""
    marker = marker_at(TIER)
    kept = {each: exercise for each, exercise in honest().items() if each != id}
    for body in CHANGES[id]:
        text = answer(id, body)
        with mock.patch.object(marker, "settings", MarkingSettings(None, TIER, LIMITS)):
            record = grade(marker, submission(LAB, SOLVED | {id: text}), kept)
        there = [
            check.earned
            for exercise in record.exercises
            if exercise.id == id
            for check in exercise.checks
        ]
        assert there == verdict_here(id, text), (body, mistakes(record, id))


def test_g33_the_global_generators():
    """G33, two processes: an answer that seeds or uses up generators changes no check's inputs."""

    def state():
        return torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()

    seeds = (
        "import random, torch, numpy\ntorch.manual_seed(0); random.seed(0); numpy.random.seed(0)\n"
        "torch.set_default_dtype(torch.float64)\nRIGHT"
    )
    before = state()
    attack(
        TIER,
        answers(loss=seeds, sequence_loss=seeds, mask_prompt=seeds),
        {},
        before=["import torch\ntorch.manual_seed(0)"],
    )
    assert state() == before and torch.get_default_dtype() == torch.float32


# What is told -------------------------------------------------------------------------------------

MARK = '"mark" + "".join(str(int(abs(x) * 1e4)) for x in logits.flatten().tolist()[:4])'


@pytest.mark.parametrize(
    "body",
    [
        f"raise RuntimeError({MARK})",
        f"assert False, {MARK}",
        f"return {{{MARK}: 1}}",
        f"return type({MARK}, (), {{}})()",
        f"raise type({MARK}, (ValueError,), {{}})",
    ],
)
def test_g34_inputs_do_not_come_out(body):
    """G34, marker: no text or name that an answer makes from its inputs gets into the record."""
    record = attack(TIER, {"sft.loss": answer("sft.loss", body)}, {"sft.loss": {"error", "failed"}})
    assert "mark" not in json.dumps([mistakes(record, "sft.loss"), record.notes])


def test_g38_partial_credit():
    """G38, marker: points of passed checks add up to whole numbers; the total stays the same."""
    record = attack(
        TIER,
        answers(
            loss="with __import__('torch').no_grad():\n    RIGHT",
            mask_prompt="return response, [-100] * len(prompt) + response",
        ),
        {"sft.loss": {"passed", "failed"}, "sft.mask_prompt": {"passed", "failed"}},
    )
    assert record.points == 21 and type(record.earned) is int
    for exercise in record.exercises:
        assert exercise.earned == sum(check.earned for check in exercise.checks)
        assert all(check.earned in (0, check.points) for check in exercise.checks)
    assert record.earned == sum(exercise.earned for exercise in record.exercises) < 21
    assert (
        results(record, "sft.loss")[0] == "passed" and results(record, "sft.loss")[-1] == "failed"
    )


# Faults of the course -----------------------------------------------------------------------------


def sends_a_set(student, seed):
    student({1, 2}, torch.zeros(1))


def is_misspelt(student, seed):
    torch.no_such_function(seed)


def lacks_a_file(student, seed):
    open("/nonexistent/data.json")


@pytest.mark.parametrize("broken", [sends_a_set, is_misspelt, lacks_a_file])
def test_g42_a_broken_check(monkeypatch, broken):
    """G42, marker: a check that fails by itself needs review; it stops nothing else."""
    name, points, _ = find("sft.loss").checks[0]
    monkeypatch.setattr(
        find("sft.loss"), "checks", [Check(name, points, broken), *find("sft.loss").checks[1:]]
    )
    record = grade(marker_at(TIER), submission(LAB, "solved"))
    monkeypatch.undo()
    assert record.status == "needs review" and name in record.reason
    assert results(record, "sft.loss")[0] == "needs review"
    assert record.earned == 21 - points and record.points == 21
    assert {check.result for each in record.exercises for check in each.checks} == {
        "passed",
        "needs review",
    }
    leaves_nothing(marker_at(TIER))


def test_g42_a_check_that_trips_over_an_answer(monkeypatch):
    """G42, marker: if a check breaks on the answer but not on the reference, the answer failed."""
    name, points, _ = find("sft.loss").checks[0]

    def trips(student, seed):
        student(torch.zeros(1, 3, 5), torch.ones(1, 3, dtype=torch.long)).item()

    monkeypatch.setattr(find("sft.loss"), "checks", [Check(name, points, trips)])
    record = grade(marker_at(TIER), submission(LAB, cells(loss="return 'text'")))
    assert record.status == "graded" and results(record, "sft.loss") == ["failed"]


# Reading a notebook -------------------------------------------------------------------------------


def seconds_to_read(text):
    """Of this process alone, and the least of three readings: other work may interrupt one."""
    found = []
    for _ in range(3):
        began = time.process_time()
        notebook.find_answers(text.encode(), LAB)
        found.append(time.process_time() - began)
    return min(found)


def with_a_chain(length):
    """A submission with a cell in which each definition needs the next one."""
    place = next(
        place
        for place, cell in enumerate(published(LAB).cells)
        if cell.cell_type == "code" and "@exercise" not in cell.source
    )
    chain = json.loads(submission(LAB, "solved", after=["f0"]))
    chain["cells"][place]["source"] = "\n".join(
        f"def f{number}(): f{number + 1}()" for number in range(length)
    )
    return json.dumps(chain)


def test_reading_a_long_chain_of_definitions():
    """G30, extract: reading a chain of definitions takes less than quadratic time.

    A cell has room for 15,000 such lines, a notebook for thirty such cells. Eight times as many lines
    take about ten times as long; in quadratic time they would take sixty-four times.
    """
    assert seconds_to_read(with_a_chain(8000)) < 30 * seconds_to_read(with_a_chain(1000))


@pytest.mark.parametrize("line", ["{}x y", "{}, y", "{}?? y", "a{}b ="])
def test_reading_a_long_line(line):
    """G30, extract: a long line of spaces that is no Python does not keep the marker busy."""
    long, short = (
        submission(LAB, "solved", after=["x = (\n" + line.format(" " * spaces)])
        for spaces in (20_000, 2)
    )
    assert seconds_to_read(long) < 10 * seconds_to_read(short)
