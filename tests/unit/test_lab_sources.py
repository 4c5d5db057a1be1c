"""A lab's source makes its notebook: cells, solutions and ids, and a sentence where it cannot."""

import builtins
import dis
import importlib
import sys
import types
from pathlib import Path

import course
import jupytext
import lab_sources
import nbformat
import nbformat.v4 as v4
import pytest
from course import registry

LABS = Path(lab_sources.LABS)
NOTEBOOKS = sorted(LABS.glob("[0-9][0-9]_*.ipynb"))

EXERCISE = """# %%
@exercise("tiny.largest", points=1, minutes=1, difficulty=1)
def largest(values):
    ...
"""
SOLVED = '# %% [markdown] solution="tiny.largest"\n'


def reference(values):
    """The largest value."""
    return max(values)


@pytest.fixture(autouse=True)
def largest():
    yield course.Exercise("tiny.largest", reference=reference, minutes=1, difficulty=1)
    del registry.EXERCISES["tiny.largest"]


@pytest.fixture
def build(tmp_path):
    """A function that builds the notebook of a source with this text."""

    def build(text):
        path = tmp_path / "01_tiny.py"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return lab_sources.build(path)

    return build


# --- the stored labs ------------------------------------------------------------------------------


def test_every_notebook_has_a_source_and_every_source_a_notebook():
    assert NOTEBOOKS
    sources = sorted(LABS.glob("[0-9][0-9]_*.py"))
    assert [path.stem for path in NOTEBOOKS] == [path.stem for path in sources], (
        "write labs/NN_name.py and run make labs ARGS=NN_name"
    )


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_stored_notebook_is_what_its_source_makes(path):
    source = path.with_suffix(".py")
    assert lab_sources.difference(source, lab_sources.build(source)) == ""


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_survives_the_way_to_text_and_back(path, tmp_path):
    stored = nbformat.read(path, as_version=4)
    emptied = v4.new_notebook(
        cells=[
            {**cell, "source": "" if "solution" in cell.metadata else cell.source}
            for cell in stored.cells
        ]
    )
    text = jupytext.writes(nbformat.from_dict(emptied), fmt=lab_sources.PERCENT)
    copy = tmp_path / f"{path.stem}.py"
    copy.write_text(text[text.index("# %%") :], "utf-8")
    built = lab_sources.build(copy)
    assert list(map(lab_sources.parts, built.cells)) == list(map(lab_sources.parts, stored.cells))


# --- what a source makes --------------------------------------------------------------------------


def test_cells_come_out_as_they_stand_in_the_source(build):
    notebook = build(
        "# %% [markdown]\n# # Title\n#\n# text, *then*\n# - $x$\n\n\n"
        '# %% tags=["first-model"]\n# NBVAL_CHECK_OUTPUT\nx = 1\n\n\n'
        "# %%\ndef f():\n    return 1\n\n\nf()\n"
    )
    assert [(cell.cell_type, cell.source, dict(cell.metadata)) for cell in notebook.cells] == [
        ("markdown", "# Title\n\ntext, *then*\n- $x$", {}),
        ("code", "# NBVAL_CHECK_OUTPUT\nx = 1", {"tags": ["first-model"]}),
        ("code", "def f():\n    return 1\n\n\nf()", {}),
    ]
    assert notebook.metadata == lab_sources.METADATA
    nbformat.validate(notebook)


def test_a_solution_is_written_from_the_reference_under_the_name_in_the_notebook(build):
    head = EXERCISE.splitlines()[1]
    assert build(f"{EXERCISE}\n{SOLVED}").cells[1].source == (
        f"<details><summary>Solution</summary>\n\n```python\n{head}\ndef largest(values):\n"
        '    """The largest value."""\n    return max(values)\n```\n\n</details>'
    )


def test_a_changed_reference_changes_the_solution_alone(build, monkeypatch):
    before = build(f"{EXERCISE}\n{SOLVED}").cells
    monkeypatch.setattr(course.find("tiny.largest"), "reference", lab_sources.parts)
    after = build(f"{EXERCISE}\n{SOLVED}").cells
    assert before[0] == after[0] and before[1].id == after[1].id
    assert before[1].source != after[1].source


# --- the imports of a solution -------------------------------------------------------------------

IMPORTS = """\
import math
import torch
import torch.nn.functional as F
from collections.abc import Sequence, Iterable
from methods import kl
from methods.tokens import Tokens, pad as fill, IGNORE, masked_mean
from torch import nn, Tensor

HERE = 3


def helper(x):
    return x


"""


@pytest.fixture
def written_in(tmp_path, monkeypatch):
    """A function that puts a function into a module with IMPORTS above it, and returns it."""

    def written_in(source):
        (tmp_path / "reference_module.py").write_text(IMPORTS + source)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "reference_module", raising=False)
        importlib.invalidate_caches()
        return importlib.import_module("reference_module").f

    return written_in


@pytest.mark.parametrize(
    "source, lines",
    [
        ("def f(x):\n    return sum(x)\n", []),
        ("def f(x):\n    return torch.ones(x)\n", ["import torch"]),
        ("def f(x: Tensor, layer: nn.Module):\n    return x\n", ["from torch import Tensor, nn"]),
        (
            "def f(x: Tensor, y: Iterable):\n    return math.pi + F.relu(torch.ones(x)).sum()\n",
            [
                "import math",
                "from collections.abc import Iterable",
                "",
                "import torch",
                "import torch.nn.functional as F",
                "from torch import Tensor",
            ],
        ),
        (
            "def f(x: Tokens):\n    return fill(x, IGNORE), kl.k1, masked_mean\n",
            [
                "from methods import kl",
                "from methods.tokens import IGNORE, Tokens, masked_mean, pad as fill",
            ],
        ),
        ("def f(x):\n    return helper(HERE)\n", ["from reference_module import HERE, helper"]),
        ("def f(x):\n    math, HERE = x\n    return math + HERE\n", []),
    ],
    ids=["none", "module", "list", "groups", "course", "own names", "local"],
)
def test_a_solution_imports_each_name_from_where_it_is_defined(written_in, source, lines):
    found = lab_sources.imports_of(written_in(source), {})
    assert found == ("\n".join(lines) + "\n\n\n" if lines else "")


def test_what_the_reader_has_written_is_not_imported(written_in):
    f = written_in("def f(x):\n    return masked_mean(helper(x), x)\n")
    helper, mean = f.__globals__["helper"], f.__globals__["masked_mean"]
    assert lab_sources.imports_of(f, {"helper": helper, "masked_mean": mean}) == ""
    assert lab_sources.imports_of(f, {"helper": helper, "masked_mean": helper, "other": mean}) == (
        "from methods.tokens import masked_mean\n\n\n"
    )


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_solution_runs_below_its_own_imports(path):
    """With the lab's other exercises in place, every name that a solution reads is there."""
    cells = lab_sources.read_cells(path.with_suffix(".py"))
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    heads = {id: (head, name) for head, id, name in lab_sources.EXERCISE.findall(code)}
    assert heads
    for id, (_, name) in heads.items():
        text = lab_sources.solution(id, heads).split("```python\n")[1].split("\n```")[0]
        here = {name: course.find(other).reference for other, (_, name) in heads.items()}
        here["exercise"] = lambda *_, **__: lambda answer: answer
        exec(compile(text, id, "exec"), here)
        assert globals_of(here[name].__code__) <= here.keys() | set(dir(builtins)), id


def globals_of(code):
    """The global names that a function and the functions inside it read."""
    inside = (constant for constant in code.co_consts if isinstance(constant, types.CodeType))
    read = {step.argval for step in dis.get_instructions(code) if step.opname == "LOAD_GLOBAL"}
    return read.union(*map(globals_of, inside))


# --- ids -----------------------------------------------------------------------------------------


def test_ids_stay_when_a_cell_comes_or_goes_elsewhere(build):
    text = f"{EXERCISE}\n{SOLVED}\n# %%\nx = 1\n\n# %%\nx = 1\n"
    before = [cell.id for cell in build(text).cells]
    assert len(set(before)) == 4 and before[1] == "01_tiny-solution-tiny-largest"
    assert [cell.id for cell in build(f"# %% [markdown]\n# new\n\n{text}").cells][1:] == before
    changed = [cell.id for cell in build(text.replace("points=1", "points=2")).cells]
    assert changed[0] != before[0] and changed[1:] == before[1:]


def test_text_and_code_of_the_same_words_have_different_ids(build):
    assert len({cell.id for cell in build("# %%\nx\n\n# %% [markdown]\n# x\n").cells}) == 2


# --- what no notebook can be made of --------------------------------------------------------------


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "must begin with a cell marker"),
        ("import os\n\n# %%\nx = 1\n", "must begin with a cell marker"),
        ("# %%\nx = 1\n\n# %%\ndef f(:\n", "cell 2 (def f(:) is no valid Python"),
        ("# %%\nif True:\n\n# %%\n    x = 1\n", "cell 1 (if True:) is no valid Python"),
        ("# %% [markdown]\n# a line\nno comment\n", "line 3: invalid syntax; a line of text must"),
        ("# %%\n\n# %% [markdwn]\n# text\n", "line 3: '# %% [markdwn]' is no cell marker"),
        ("# %% [markdown] solution=tiny.largest\n", "is no cell marker"),
        ('# %% [markdown] solution="tiny.largest\n', "is no cell marker"),
        ('# %% [markdown] sulution="tiny.largest"\n', "is no cell marker"),
        ('# %% solution="tiny.largest"\n', "is no cell marker"),
        ("# %%\nx = 1\n#%%\ny = 2\n", "line 3: '#%%' is no cell marker"),
        ("# %%\nx = 1\n# %%y = 2\n", "line 3: '# %%y = 2' is no cell marker"),
        ("# %%\nif x:\n    # %%\n    y = 2\n", "line 3: '# %%' is no cell marker"),
        (SOLVED, "the solution of 'tiny.largest', but no cell of the lab"),
        (f"{EXERCISE}\n{SOLVED.replace('largest', 'smallest')}", "solution of 'tiny.smallest'"),
        (EXERCISE, "the exercise 'tiny.largest' has no solution cell"),
        (f"{EXERCISE}\n{SOLVED}\n{SOLVED}", "cell 3 is a second solution cell"),
        (f"{EXERCISE}\n{SOLVED}# mine\n", "cell 2 has text below its marker"),
        (b"# %%\nx = '\xff'\n", "01_tiny.py is not UTF-8 text"),
    ],
)
def test_a_faulty_source_gets_one_sentence(build, text, message):
    with pytest.raises(lab_sources.LabError) as error:
        build(text)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_an_exercise_that_no_check_knows_is_named(build):
    text = f"{EXERCISE}\n{SOLVED}".replace("tiny.largest", "tiny.smallest")
    with pytest.raises(course.CourseError, match="There is no exercise 'tiny.smallest'"):
        build(text)


# --- how a notebook and its source drift apart ----------------------------------------------------


@pytest.fixture
def pair(build, tmp_path):
    """The path of a source, beside its notebook, and that notebook."""
    notebook = build("# %%\nx = 1\n\n# %%\ny = 2\n")
    nbformat.write(notebook, tmp_path / "01_tiny.ipynb")
    return tmp_path / "01_tiny.py", notebook


def difference(source):
    return lab_sources.difference(source, lab_sources.build(source))


@pytest.mark.parametrize(
    "text, cell",
    [
        ("# %%\nx = 1\n\n# %%\ny = 3\n", "cell 2 (y = 3) of 01_tiny.py"),
        ("# %%\nz = 0\n\n# %%\nx = 1\n\n# %%\ny = 2\n", "cell 1 (z = 0) of 01_tiny.py"),
        ("# %%\nx = 1\n", "cell 2 (y = 2) of 01_tiny.ipynb"),
        ('# %%\nx = 1\n\n# %% tags=["a"]\ny = 2\n', "cell 2 (y = 2) of 01_tiny.py"),
    ],
    ids=["changed", "inserted", "taken out", "tagged"],
)
def test_an_edited_source_is_noticed(pair, text, cell):
    source, _ = pair
    assert difference(source) == ""
    source.write_text(text)
    assert difference(source).startswith(f"{cell} does not stand there")
    assert "run make labs ARGS=01_tiny" in difference(source)


@pytest.mark.parametrize(
    "edit, cell",
    [
        (lambda cells: cells[1].update(source="y = 3"), "cell 2 (y = 3)"),
        (lambda cells: cells.insert(0, v4.new_markdown_cell("note")), "cell 1 (note)"),
        (lambda cells: cells.append(v4.new_code_cell("z")), "cell 3 (z)"),
    ],
    ids=["changed", "inserted", "appended"],
)
def test_an_edited_notebook_is_noticed(pair, edit, cell):
    source, notebook = pair
    edit(notebook.cells)
    nbformat.write(notebook, source.with_suffix(".ipynb"))
    assert difference(source) == (
        f"{cell} of 01_tiny.ipynb is not the source's: move it into 01_tiny.py, then run make labs "
        "ARGS=01_tiny"
    )


def test_cells_taken_out_or_moved_in_a_notebook_are_noticed(pair):
    source, notebook = pair
    for cells in (notebook.cells[1:], notebook.cells[::-1], []):
        nbformat.write(v4.new_notebook(cells=cells), source.with_suffix(".ipynb"))
        assert "does not stand there in 01_tiny.ipynb" in difference(source)


# What a learner is told to plan -------------------------------------------------------------------


@pytest.mark.parametrize("path", lab_sources.lab_paths([]), ids=lambda path: path.stem)
def test_points_and_minutes_are_told_at_the_start_and_on_the_page(path):
    text = path.with_suffix(".py").read_text("utf8")
    exercises = [registry.find(id) for _, id, _ in lab_sources.EXERCISE.findall(text)]
    points, minutes = (
        sum(getattr(each, what) for each in exercises) for what in ("points", "minutes")
    )
    beginning = " ".join(text.partition("\n# %%\n")[0].replace("\n# ", " ").split())
    assert f"worth {points} points; plan {minutes} minutes for them" in beginning
    page = (path.parents[1] / "chapters" / "using.md").read_text("utf8")
    counts = f"{{fixed}}`{len(exercises)}` | {{fixed}}`{points}` | {{fixed}}`{minutes} minutes`"
    row = f"| {{doc}}`/labs/{path.stem}` | {counts} |"
    assert row in page
