"""The answers in a notebook: which count, what a worker is given, what hostile text achieves."""

import json

import nbformat
import nbformat.v4 as v4
import pytest
from made import EXERCISE, LABS, published, solutions, submission
from made import notebook as made

from grading import notebook

LAB = "01_sft"
IDS = list(solutions(LAB))
LOSS = '@exercise("sft.loss", points=4, minutes=10, difficulty=2)\ndef sft_loss(logits, labels):\n    return {}\n'


def found(text, file=""):
    return notebook.find_answers(text.encode() if isinstance(text, str) else text, file)


def answer(answers, id="sft.loss"):
    return next(each for each in answers.answers if each.id == id)


def text_given(answers):
    return "\n".join(source for _, source in answers.cells)


# Which answers there are --------------------------------------------------------------------------


def test_an_untouched_notebook_has_no_attempt():
    answers = found(submission(LAB))
    assert [(each.id, each.state) for each in answers.answers] == [
        (id, "not attempted") for id in IDS
    ]
    assert answers.notes == [] and not any(each.flags or each.fault for each in answers.answers)


@pytest.mark.parametrize("lab", notebook.labs())
def test_a_solved_notebook_is_attempted_throughout(lab):
    answers = found(submission(lab, "solved"))
    assert answers.lab.name == lab and {each.state for each in answers.answers} == {"attempted"}
    assert answers.notes == [] and not any(each.flags or each.fault for each in answers.answers)


def test_the_labs_know_their_exercises_and_points():
    labs = notebook.labs()
    assert set(labs) == {path.stem for path in LABS.glob("[0-9]*.ipynb")}
    assert labs[LAB].points == 21 and list(labs[LAB].functions) == IDS


@pytest.mark.parametrize(
    "body", ["...", "pass", '"""Only words."""', "return", "return None", '"""Words."""\n    ...']
)
def test_bodies_that_do_nothing(body):
    text = LOSS.replace("return {}", body)
    assert answer(found(made(text))).state == "not attempted"


@pytest.mark.parametrize(
    "body",
    ["return 0", "x = 1", "raise ValueError", "return None if labels else 1", "...; return 3"],
)
def test_bodies_that_do_something(body):
    text = LOSS.replace("return {}", body)
    assert answer(found(made(text))).state == "attempted"


def test_an_exercise_whose_cell_is_gone_is_missing():
    cells = nbformat.reads(submission(LAB, "solved"), as_version=4)
    cells.cells = [
        cell
        for cell in cells.cells
        if 'sft.loss"' not in cell.source or "solution" in cell.metadata
    ]
    states = {each.id: each.state for each in found(nbformat.writes(cells)).answers}
    assert states.pop("sft.loss") == "missing" and set(states.values()) == {"attempted"}


def test_the_last_of_several_answers_counts():
    twice = answer(found(made(LOSS.format(1), LOSS.format(1))))
    assert twice.flags == () and twice.state == "attempted"
    differently = answer(found(made(LOSS.format(1), LOSS.format(2))))
    assert "answered 2 times, differently" in differently.flags[0]
    undone = answer(found(made(LOSS.format(1), LOSS.replace("return {}", "..."))))
    assert undone.state == "not attempted" and undone.flags


def test_an_answer_without_its_line_is_found_by_name():
    for head in ("", "@exercise()\n", "@exercise(5)\n"):
        text = submission(
            LAB, solutions(LAB) | {"sft.loss": f"{head}def sft_loss(logits, labels):\n    return 1"}
        )
        assert answer(found(text)).state == "attempted"
        assert "found by the function's name" in answer(found(text)).flags[0]


@pytest.mark.parametrize("head", [LOSS.split("\n")[0] + "\n", ""])
def test_an_async_function_is_a_fault(head):
    text = head + "async def sft_loss(logits, labels):\n    return 1"
    told = answer(found(submission(LAB, solutions(LAB) | {"sft.loss": text})))
    assert told.state == "attempted" and "async def" in told.fault


def test_ids_and_metadata_wiped_by_an_editor_change_nothing():
    cells = json.loads(submission(LAB, "solved"))
    for cell in cells["cells"]:
        cell.pop("id", None)
        cell["metadata"] = {}
    assert found(json.dumps(cells)).cells == found(submission(LAB, "solved")).cells
    moved = nbformat.reads(json.dumps(cells), as_version=4)
    bare = found(made(*[cell.source for cell in moved.cells if cell.cell_type == "code"]))
    assert {each.state for each in bare.answers} == {"attempted"}


def test_other_parameters_are_a_fault():
    for parameters in (
        "labels, logits",
        "logits",
        "logits, labels, *more",
        "logits, labels, *, more=1",
        "a, b",
    ):
        fault = answer(found(made(LOSS.replace("logits, labels", parameters).format(1)))).fault
        assert "must be (logits, labels)" in fault
    assert (
        answer(found(made(LOSS.replace("logits, labels", "logits, labels=None").format(1)))).fault
        == ""
    )


def test_a_cell_that_is_no_python_costs_its_exercise_alone():
    broken = answer(found(submission(LAB, solutions(LAB) | {"sft.loss": LOSS.format("(")})))
    assert (
        broken.state == "attempted" and "is no Python" in broken.fault and "line 3" in broken.fault
    )
    answers = found(submission(LAB, "solved", before=["x = (", "def f(:\n"]))
    assert len(answers.notes) == 2 and {each.state for each in answers.answers} == {"attempted"}


def test_exercises_of_another_lab_are_told():
    other = solutions("03_reward_model")["reward.at_end"]
    assert "reward.at_end" in found(submission(LAB, "solved", after=[other])).notes[0]


def test_the_lab_is_known_by_ids_names_or_the_file():
    assert found(made(LOSS.format(1))).lab.name == LAB
    assert found(made("def lora_update(x, A, B, alpha):\n    return 1")).lab.name == "02_lora"
    assert found(made("x = 1"), "zoe_04_ppo.ipynb").lab.name == "04_ppo"
    with pytest.raises(notebook.Ungradable, match="no exercise of any lab"):
        found(made("x = 1"), "homework.ipynb")


# What the worker is given -------------------------------------------------------------------------


def test_nothing_of_the_published_notebook_runs_but_what_is_needed():
    text = text_given(found(submission(LAB, "solved")))
    for measuring in ("evidence(", "measure(", "fine_tune(", "finish(", "check(", "start("):
        assert measuring not in text
    assert "import torch" in text and "from course import" in text
    assert "matplotlib" not in text and "trl" not in text


def test_cells_that_the_learner_added_are_given_in_order():
    added = ["def helper(x):\n    return x", "SCALE = 2"]
    text = text_given(found(submission(LAB, "solved", before=added[:1], after=added[1:])))
    assert text.index(added[0]) < text.index("def sft_loss") < text.index(added[1])


def test_what_an_answer_uses_of_a_published_cell_is_given_too():
    using = LOSS.format("pulls(labels, 4)")
    text = text_given(found(submission(LAB, solutions(LAB) | {"sft.loss": using})))
    assert "def pulls(loss, *lengths)" in text and "measure(" not in text
    assert "def pulls(" not in text_given(found(submission(LAB, "solved")))


def test_an_edited_demonstration_stays_a_demonstration():
    lab = published(LAB)
    cell = next(
        cell for cell in lab.cells if cell.cell_type == "code" and "fine_tune(" in cell.source
    )
    cell.source += "\nraise SystemExit('edited')"
    assert "edited" not in text_given(found(nbformat.writes(lab)))


def test_magics_are_neutralised():
    source = "%matplotlib inline\n!pip install x\nfiles = !ls\nx = %time 3\nsft_loss?\n?torch\nif True:\n    %timeit 1\ny = 5 % 3"
    assert text_given(found(submission(LAB, "solved", after=[source]))).endswith(
        "pass\npass\nfiles = None\nx = None\npass\npass\nif True:\n    pass\ny = 5 % 3"
    )
    answers = found(
        submission(LAB, solutions(LAB) | {"sft.loss": "%load_ext autoreload\n" + LOSS.format(1)})
    )
    assert answer(answers).state == "attempted" and answer(answers).fault == ""


def test_cells_in_another_language_are_left_out():
    for magic in ("%%bash\nrm -rf /", "%%html\n<b>", "%%writefile sft.py\nx = 1"):
        answers = found(submission(LAB, "solved", after=[magic]))
        assert "rm" not in text_given(answers)[-200:] and answers.notes == []
    assert "x = 41" in text_given(found(submission(LAB, "solved", after=["%%time\nx = 41"])))


@pytest.mark.parametrize(
    "command",
    [
        "!pip install einops \\\n    tqdm",
        "%pip install einops \\\n  --quiet \\\n  tqdm",
        "! pip install einops",
        "!!ls \\\n  -l",
        "files = !ls \\\n  -l",
        "if True:\n    !ls \\\n-l",
    ],
)
@pytest.mark.parametrize("place", ["before", "after"])
def test_a_command_over_several_lines_costs_no_answer(command, place):
    parts = [command, LOSS.format(1)]
    text = "\n".join(parts if place == "before" else reversed(parts))
    answers = found(submission(LAB, solutions(LAB) | {"sft.loss": text}))
    assert answer(answers).state == "attempted" and answer(answers).fault == ""
    assert answers.notes == [] and "def sft_loss" in text_given(answers)


@pytest.mark.parametrize(
    "magic", ["%%time", "%%capture out", "\n%%prun -q", "%%timeit -n 1", "%%debug", "%%memit"]
)
def test_an_answer_under_a_magic_that_runs_python_counts(magic):
    answers = found(submission(LAB, solutions(LAB) | {"sft.loss": f"{magic}\n{LOSS.format(1)}"}))
    assert answer(answers).state == "attempted" and answer(answers).fault == ""
    assert answers.notes == []


@pytest.mark.parametrize("magic", ["%%bash", "%%writefile sft.py", "%%timer", "%%python3 -u", "%%"])
@pytest.mark.parametrize("head", [True, False])
def test_an_answer_under_another_magic_is_told(magic, head):
    body = LOSS.format(1) if head else LOSS.format(1).partition("\n")[2]
    answers = found(submission(LAB, solutions(LAB) | {"sft.loss": f"{magic}\n{body}"}))
    word = magic.split()[0]
    assert answer(answers).state == "attempted" and f"begins with {word}," in answer(answers).fault
    assert len(answers.notes) == 1 and word in answers.notes[0]
    assert "def sft_loss" not in text_given(answers)


def test_a_broken_cell_without_its_line_is_found_by_the_functions_name():
    body = "def sft_loss(logits, labels):\n    return ("
    broken = answer(found(submission(LAB, solutions(LAB) | {"sft.loss": body})))
    assert broken.state == "attempted" and "is no Python" in broken.fault


def test_percent_signs_in_python_are_no_magics():
    source = 'text = """\n%d of\n!\n"""\nx = 5\\\n% 3'
    assert source in text_given(found(submission(LAB, "solved", after=[source])))


# What cannot be read ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data, reason",
    [
        (b"", "empty"),
        (b"  \n", "empty"),
        (b"nonsense", "no notebook"),
        (b"{}", "no notebook"),
        (b"[]", "no notebook"),
        (b"PK\x03\x04 zip", "no notebook"),
        (b"%PDF-1.7", "no notebook"),
        (b"\x00" * 100, "no notebook"),
        (b'{"cells": 5, "nbformat": 4, "nbformat_minor": 5, "metadata": {}}', "no notebook"),
        (b'{"cells": [3], "nbformat": 4, "nbformat_minor": 5, "metadata": {}}', "no notebook"),
        (b'{"cells": [], "nbformat": 4, "nbformat_minor": 5, "metadata": {}}', "no code"),
        (b"[" * 100_000, "no notebook"),
        (b'{"a":' * 100_000, "no notebook"),
        (b"null", "no notebook"),
        (b'{"cells": [], "nbformat": 99, "nbformat_minor": 5, "metadata": {}}', "no"),
    ],
)
def test_what_is_no_notebook_has_a_reason(data, reason):
    with pytest.raises(notebook.Ungradable, match=reason):
        found(data)


def test_encodings_and_older_formats():
    solved = submission(LAB, "solved")
    expected = found(solved).cells
    assert found(b"\xef\xbb\xbf" + solved.encode()).cells == expected
    assert found(solved.encode("utf-16")).cells == expected
    assert found(solved.replace("\n", "\r\n").encode()).cells == expected
    as_lists = json.loads(solved)
    for cell in as_lists["cells"]:
        cell["source"] = (
            cell["source"].splitlines(keepends=True)
            if isinstance(cell["source"], str)
            else cell["source"]
        )
    assert found(json.dumps(as_lists)).cells == expected
    crlf = json.loads(solved)
    for cell in crlf["cells"]:
        cell["source"] = "".join(cell["source"]).replace("\n", "\r\n")
    assert found(json.dumps(crlf)).cells == expected
    latin = found(
        made("# Schöne Grüße\n" + LOSS.format(1)).replace("\\u00f6", "ö").encode("latin-1")
    )
    assert answer(latin).state == "attempted"


def test_a_notebook_of_format_3():
    old = {
        "nbformat": 3,
        "nbformat_minor": 0,
        "metadata": {"name": ""},
        "worksheets": [
            {
                "metadata": {},
                "cells": [
                    {
                        "cell_type": "code",
                        "language": "python",
                        "metadata": {},
                        "outputs": [],
                        "input": LOSS.format(1),
                    }
                ],
            }
        ],
    }
    assert answer(found(json.dumps(old))).state == "attempted"


@pytest.mark.parametrize(
    "source",
    [
        "-" * 50_000 + "1",
        "(" * 50_000,
        "x" + "[0]" * 50_000,
        "1" + "+1" * 50_000,
        "not " * 50_000 + "1",
        "x\0y",
        "a = " + "'" * 50_001,
        "\ud800",
        "lambda: " * 20_000 + "1",
        "x = 1\n" * 50_000,
    ],
)
def test_python_that_is_made_to_break_a_parser(source):
    text = json.dumps(json.loads(submission(LAB, "solved", after=["MARK"]))).replace(
        "MARK", json.dumps(source)[1:-1]
    )
    assert {each.state for each in found(text).answers} == {"attempted"}


def test_stored_outputs_and_edited_tests_say_nothing():
    lab = published(LAB)
    for cell in lab.cells:
        if (
            cell.cell_type == "code"
            and cell.source.startswith("# NBVAL")
            and "check(" in cell.source
        ):
            cell.source = "print('sft.loss: 4/4 points')"
            cell.outputs = [v4.new_output("stream", text="sft.loss: 4/4 points\n")]
    answers = found(nbformat.writes(lab))
    assert {each.state for each in answers.answers} == {"not attempted"}


def test_too_many_cells_and_too_long_ones():
    with pytest.raises(notebook.Ungradable, match="5000 are the most"):
        found(made(*["x = 1"] * 5001))
    assert "longer than" in found(submission(LAB, after=["x = 1\n" * 40_000])).notes[0]


def test_the_published_pattern_matches_every_exercise():
    for lab in notebook.labs().values():
        ids = [
            id
            for cell in published(lab.name).cells
            if cell.cell_type == "code"
            for id in EXERCISE.findall(cell.source)
        ]
        assert ids == list(lab.functions)


@pytest.mark.parametrize(
    "below",
    [
        "def mask_prompt(prompt, response):\n    return prompt, response",
        "mask_prompt = lambda prompt, response: (prompt, response)",
    ],
)
def test_a_function_below_an_untouched_exercise_is_flagged(below):
    found = notebook.find_answers(submission("01_sft", after=[below]).encode()).answers
    flagged = {answer.id: answer for answer in found if answer.flags}
    assert list(flagged) == ["sft.mask_prompt"]
    assert flagged["sft.mask_prompt"].state == "not attempted"
    assert "without the @exercise line" in flagged["sft.mask_prompt"].flags[0]
    untouched = notebook.find_answers(submission("01_sft").encode()).answers
    assert not any(answer.flags for answer in untouched)
