"""Right answers that must lose nothing: rows G45-G47, each with the layer that sees to it."""

import threading

import pytest
from made import submission
from threats import SOLVED, TIERS, answer, answers, at_each_tier, attack, grade, marker_at, mistakes

from grading import notebook

TIER = TIERS[-1]


# Slow and noisy -----------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["cell", "call"])
def test_g45_a_slow_machine(where, tmp_path):
    """G45, marker: a cell or a call that was slow once has a second chance, and loses nothing."""
    marker = tmp_path / "wait"
    marker.touch()
    wait = f"import os, time\nwhile os.path.exists({str(marker)!r}):\n    time.sleep(0.01)\n"
    timer = threading.Timer(0.8, marker.unlink)
    timer.start()
    record = attack(
        "T0",
        answers(sequence_loss=wait + "RIGHT") if where == "call" else {},
        {},
        before=[wait] if where == "cell" else (),
        wall=0.6,
    )
    timer.join()
    assert record.notes == ()


@pytest.mark.parametrize("where", ["cell", "call"])
def test_g45_a_machine_without_memory(where, tmp_path):
    """G45, marker: a worker that the system ended once, for want of memory, loses nothing."""
    marker = tmp_path / "end"
    marker.touch()
    end = f"import os\nif os.path.exists({str(marker)!r}):\n    os.unlink({str(marker)!r})\n    os.kill(os.getpid(), 9)\n"
    record = attack(
        "T0",
        answers(sequence_loss=end + "RIGHT") if where == "call" else {},
        {},
        before=[end] if where == "cell" else (),
    )
    assert record.notes == () and not marker.exists()


# Names that are used again ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "later",
    [
        "from methods.sft import sft_loss",
        "sft_loss = 3.5",
        "del sft_loss",
        "def sft_loss(logits, labels):\n    return None",
        "import methods.sft as sft_loss",
    ],
)
def test_g47_a_later_cell_takes_the_name(later):
    """G47, worker: the answer is the function below the @exercise line, whatever its name means at
    the end."""
    attack(TIER, {}, {}, after=[later])


def test_g47_of_two_answers_the_later_one_counts():
    """G47, worker: as in the notebook, a cell that is written again replaces the first."""
    wrong = answer("sft.loss", "return logits.sum() * 0")
    attack(TIER, {}, {"sft.loss": {"failed"}}, after=[wrong])


@pytest.mark.parametrize("where", ["lab.device", "torch.device(lab.device)"])
def test_g47_the_lab_is_there_as_in_the_notebook(where):
    """G47, worker: an answer may move what it makes to the device that the notebook runs on."""
    body = f"logits, labels = logits.to({where}), labels.to({where})\nRIGHT"
    attack(TIER, answers(loss=body), {})


@pytest.mark.parametrize("tier", TIERS)
def test_gradients_left_off_lose_points_as_in_the_notebook(tier):
    body = "import torch\ntorch.set_grad_enabled(False)\nRIGHT"
    record = attack(tier, answers(loss=body), {"sft.loss": {"failed"}})
    assert any("switched off" in mistake for mistake in mistakes(record, "sft.loss"))


NOISE = """
import logging, os, sys, warnings
from tqdm.auto import tqdm
warnings.warn("noise"); logging.getLogger("transformers").error("noise"); logging.critical("noise")
for _ in tqdm(range(20)):
    print("\\x1b[2J" + "noise" * 10**4, file=sys.stderr)
    print("noise" * 10**4, flush=True)
for standard in (1, 2):
    os.write(standard, b"noise")
"""


@at_each_tier
def test_g46_a_noisy_answer(tier, capfd):
    """G46, sandbox: whatever is written to the standard streams goes nowhere, and costs nothing."""
    attack(tier, answers(loss=NOISE + "RIGHT", mask_prompt=NOISE + "RIGHT"), {}, before=[NOISE])
    assert "noise" not in "".join(capfd.readouterr())


# Unusual and right --------------------------------------------------------------------------------

# Cells of sft.sequence_loss; VALUE is the right value, EXERCISE the line above the function.
STYLES = {
    "a class that can be called": """
        class Loss:
            def __call__(self, logits, labels):
                return VALUE
        EXERCISE
        def sequence_loss(logits, labels):
            return 0
        sequence_loss = Loss()
        """,
    "partial": """
        import functools
        def general(sign, logits, labels):
            return sign * VALUE
        EXERCISE
        def sequence_loss(logits, labels):
            return 0
        sequence_loss = functools.partial(general, 1)
        """,
    "decorators": """
        import functools, torch
        def logged(function):
            @functools.wraps(function)
            def inner(*arguments):
                print(arguments)
                return function(*arguments)
            return inner
        EXERCISE
        @logged
        @torch.enable_grad()
        def sequence_loss(logits, labels=None):
            return VALUE
        """,
    "annotations from the future": """
        from __future__ import annotations
        EXERCISE
        def sequence_loss(logits: Nowhere, labels: Nowhere | None) -> Nowhere:
            return VALUE
        """,
    "a dataclass": """
        from dataclasses import dataclass
        @dataclass
        class Held:
            values: "Tensor"
        EXERCISE
        def sequence_loss(logits, labels):
            return Held(-token_log_probs(logits, labels)).values.sum(-1).mean()
        """,
    "threads": """
        import torch
        from concurrent.futures import ThreadPoolExecutor
        EXERCISE
        def sequence_loss(logits, labels):
            with ThreadPoolExecutor(3) as pool:
                return -torch.stack([*pool.map(torch.sum, token_log_probs(logits, labels))]).mean()
        """,
    "vmap": """
        import torch
        EXERCISE
        def sequence_loss(logits, labels):
            return -torch.func.vmap(lambda x, y: token_log_probs(x[None], y[None]).sum())(logits, labels).mean()
        """,
    "displayed": """
        import matplotlib.pyplot as plt
        from IPython.display import clear_output, display
        EXERCISE
        def sequence_loss(logits, labels):
            clear_output()
            plt.plot([1, 2]); plt.show(); plt.close()
            display(logits)
            return VALUE
        """,
    "files": """
        import shutil, torch
        from pathlib import Path
        EXERCISE
        def sequence_loss(logits, labels):
            torch.save(labels, "labels.pt")
            shutil.copy2("labels.pt", "copy.pt")
            Path("copy.pt").touch()
            Path("run").mkdir(exist_ok=True)
            labels = torch.load(Path("copy.pt").rename("run/copy.pt"))
            return VALUE
        """,
    "display() without an import": """
        EXERCISE
        def sequence_loss(logits, labels):
            display(logits)
            return VALUE
        """,
    "get_ipython()": """
        get_ipython().run_line_magic("matplotlib", "inline")
        EXERCISE
        def sequence_loss(logits, labels):
            return VALUE
        """,
    "TorchScript": """
        import torch
        @torch.jit.script
        def negative(x):
            return -x
        EXERCISE
        def sequence_loss(logits, labels):
            return negative(token_log_probs(logits, labels)).sum(-1).mean()
        """,
    "its own source": """
        import inspect
        EXERCISE
        def sequence_loss(logits, labels):
            assert "labels" in inspect.getsource(sequence_loss)
            return VALUE
        """,
    "a class that pickle knows": """
        import pickle
        class One:
            pass
        pickle.loads(pickle.dumps(One()))
        EXERCISE
        def sequence_loss(logits, labels):
            return VALUE
        """,
    "a class that type hints know": """
        import typing
        class One:
            pass
        class Two:
            one: "One"
        typing.get_type_hints(Two)
        EXERCISE
        def sequence_loss(logits, labels):
            return VALUE
        """,
    "the decorator as a function": """
        def mine(logits, labels):
            return VALUE
        sequence_loss = exercise("sft.sequence_loss", points=3, minutes=5, difficulty=1)(mine)
        """,
    "under a condition": """
        import torch
        if torch.__version__ > "1":
            EXERCISE
            def sequence_loss(logits, labels):
                return VALUE
        """,
    "a magic, and a question": """
        %matplotlib inline
        EXERCISE
        def sequence_loss(logits, labels):
            return VALUE  # the mean?
        """,
    "a magic, and lines that begin with an operator": """
        !pip list
        EXERCISE
        def sequence_loss(logits, labels):
            told = ("%d tokens"
                    % labels.numel())
            return VALUE
        """,
    "await at the top": """
        import asyncio
        await asyncio.sleep(0)
        EXERCISE
        def sequence_loss(logits, labels):
            return VALUE
        """,
}


def cell_of(style):
    text = "\n".join(line[8:] for line in STYLES[style].split("\n"))
    return text.replace(
        "EXERCISE", '@exercise("sft.sequence_loss", points=3, minutes=5, difficulty=1)'
    ).replace("VALUE", "-token_log_probs(logits, labels).sum(-1).mean()")


@pytest.mark.parametrize("style", STYLES)
def test_g47_unusual_and_right(style):
    """G47, extract and worker: what the notebook's own check takes, the grader takes as well."""
    attack(TIER, {"sft.sequence_loss": cell_of(style)}, {}, cpu=4)


@pytest.mark.parametrize("lab", notebook.labs())
def test_g47_the_solutions_of_a_lab(lab):
    """G01, all: in the strongest tier in use, each lab's own solutions earn every point."""
    record = grade(marker_at(TIER), submission(lab, "solved"))
    lost = [
        (each.id, check.name, check.mistake)
        for each in record.exercises
        for check in each.checks
        if check.result != "passed"
    ]
    assert (record.status, lost, record.notes) == ("graded", [], ())


def test_g47_a_named_tuple():
    """G47, boundary: the notebook's check takes a named tuple for the tuple that it is."""
    above = (
        "from typing import NamedTuple\nclass Pair(NamedTuple):\n    ids: list\n    labels: list"
    )
    body = "return Pair(prompt + response, [-100] * len(prompt) + response)"
    attack(TIER, {"sft.mask_prompt": answer("sft.mask_prompt", body, above)}, {})


def test_g47_the_future_of_an_earlier_cell():
    """G47, worker: in a notebook a __future__ import counts for the cells that follow."""
    cell = cell_of("annotations from the future").replace("from __future__ import annotations", "")
    attack(TIER, {"sft.sequence_loss": cell}, {}, before=["from __future__ import annotations"])


MASKED = """
    ids = np.array(prompt + response)
    labels = ids.copy()
    labels[:len(prompt)] = -100
    return ids.tolist(), list(labels)
    """
OPTIMISED = """
    kept = [parameter for parameter in parameters if parameter.grad is not None]
    optimiser = torch.optim.SGD(kept, lr=learning_rate)
    optimiser.step()
    optimiser.zero_grad()
    """
IN_PLACE = """
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.sub_(parameter.grad.mul_(learning_rate))
            parameter.grad = None
    """


def test_g47_other_ways_of_computing():
    """G47, boundary: numpy, double precision, in-place operations, no_grad modes, optimisers."""
    entropy = (
        "return F.cross_entropy(logits[:, :-1].flatten(0, 1).double(), labels[:, 1:].flatten())"
    )
    attack(
        TIER,
        {
            "sft.mask_prompt": answer("sft.mask_prompt", MASKED, "import numpy as np"),
            "sft.loss": answer("sft.loss", entropy, "import torch.nn.functional as F"),
            "sft.gradient_step": answer("sft.gradient_step", OPTIMISED, "import torch"),
            "sft.silent_bug": SOLVED["sft.silent_bug"].replace(
                "def fixed", "@torch.inference_mode()\ndef fixed"
            ),
        },
        {},
    )
    text = answer("sft.gradient_step", IN_PLACE, "import torch").replace(
        "def ", "@torch.inference_mode()\ndef "
    )
    attack(TIER, {"sft.gradient_step": text}, {})


def test_g47_cells_around_an_answer():
    """G47, extract and worker: helpers after the answer, globals, comparisons with the course."""
    helper = (
        "SIGN: int = -1\ndef helper(logits, labels):\n"
        "    return SIGN * token_log_probs(logits, labels).sum(-1).mean()"
    )
    compared = (
        "import torch\nfrom methods import sft\nx, y = torch.randn(2, 4, 9), torch.ones(2, 4).long()\n"
        "assert torch.allclose(sft_loss(x, y), sft.sft_loss(x, y))\n"
        "check(sft_loss)\nraise RuntimeError('the end')"
    )
    record = attack(
        TIER,
        {"sft.sequence_loss": answer("sft.sequence_loss", "return helper(logits, labels)")},
        {},
        after=[helper, compared],
    )
    assert [note for note in record.notes if "RuntimeError" not in note] == []


def test_g47_what_is_not_installed():
    """G47, marker: a package that is missing here is told, and costs its own exercise alone."""
    attacked = {"sft.loss": "import einops_is_not_there\n" + SOLVED["sft.loss"]}
    record = attack(TIER, attacked, {"sft.loss": "error"})
    assert "ModuleNotFoundError" in " ".join(record.notes)


def test_g47_compiled_with_torch():
    """G47, sandbox: torch.compile works if it needs no compiler; no worker may start one."""
    body = (
        "def negative(x):\n    return -x.sum(-1).mean()\n"
        "return torch.compile(negative, backend={!r})(token_log_probs(logits, labels))"
    )
    for backend, words, limits in (
        ("eager", {"passed"}, {"cpu": 20, "wall": 40}),
        ("inductor", {"passed", "error", "timeout"}, {}),
    ):
        text = answer("sft.sequence_loss", body.format(backend), "import torch")
        attack(TIER, {"sft.sequence_loss": text}, {"sft.sequence_loss": words}, **limits)
