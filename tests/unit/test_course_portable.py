"""What an answer may use of the notebook: the same in the notebook and in the grader."""

import ast

import nbformat.v4 as v4
import pytest
from course import portable, session
from nbclient import NotebookClient

ANSWER = """@exercise("sft.loss", points=4, minutes=10, difficulty=2)
def sft_loss(logits, labels):
    {body}
"""
RIGHT = "return -token_log_probs(logits, labels).sum() / (labels[:, 1:] != IGNORE).sum()"
KERNEL = [  # a cell, and what it has to print
    ("from course import check, exercise, start\nfrom experiments import shared", ""),
    ("from experiments.shared import fresh", ""),
    ("from methods.tokens import IGNORE, token_log_probs", ""),
    ('lab = start("01_sft")', "01_sft on"),
    ("model, tokenizer = fresh(), shared.tokenizer()", ""),
    (ANSWER.format(body=RIGHT), "your function is in use"),
    ("check(sft_loss)", "4/4 points"),
    (ANSWER.format(body="return -token_log_probs(logits, labels"), "SyntaxError"),
    ("check(sft_loss)", "0/4 — the cell with your function stopped with an error"),
    (ANSWER.format(body=f"logits = logits.to(lab.device)\n    {RIGHT}"), "in use"),
    ("check(sft_loss)", "4/4 points"),
    (ANSWER.format(body=f"tokenizer.eos_token_id; model\n    {RIGHT}"), "in use"),
    ("check(sft_loss)", "0/4 — your function uses model, tokenizer of this notebook"),
    ("model = tokenizer = SCALE = 1", ""),
    ("def helper():\n    return SCALE, train", ""),
    (ANSWER.format(body=f"helper if model else tokenizer\n    {RIGHT}"), "in use"),
    ("check(sft_loss)", "your function uses train of this notebook"),
    ("def helper():\n    return SCALE", ""),
    ("check(sft_loss)", "4/4 points"),
    (ANSWER.format(body="return logits.sum() + undefined"), "in use"),
    ("check(sft_loss)", "next: define it in the function"),
]


def text_of(cell):
    return "".join(
        output.get("text", "") + output.get("evalue", "") + output.get("ename", "")
        for output in cell.outputs
    )


def test_the_verdict_in_a_notebook_is_the_one_that_the_grader_will_come_to():
    notebook = v4.new_notebook(cells=[v4.new_code_cell(source) for source, _ in KERNEL])
    where = {"metadata": {"path": str(session.LABS)}}
    NotebookClient(notebook, resources=where, allow_errors=True, kernel_name="python3").execute()
    for cell, (_, words) in zip(notebook.cells, KERNEL):
        assert words in text_of(cell), f"{cell.source}\n→ {text_of(cell)}"


@pytest.mark.parametrize(
    "statement, kept",
    [
        ("import torch", True),
        ("from methods import sft", True),
        ("def f(): ...", True),
        ("class A: ...", True),
        ("BATCH = 32", True),
        ("A, B = (1, [2, 'x'])", True),
        ('lab = start("01_sft")', True),
        ("lab = start(name)", False),
        ("model = load()", False),
        ("x = BATCH + 1", False),
        ("for x in y: z = 1", False),
        ("x += 1", False),
    ],
)
def test_what_is_kept_is_what_the_grader_keeps(statement, kept):
    from grading.notebook import is_harmless

    node = ast.parse(statement).body[0]
    assert portable.is_kept(node) == is_harmless(node) == kept


def test_global_names_are_found_in_functions_inside_and_not_in_attributes():
    def function(x):
        return [model.tokenizer for _ in x], lambda: train  # noqa: F821

    names = set(portable.globals_of(function))
    assert {"model", "train"} <= names and "tokenizer" not in names
