"""Storing a lab: what is kept, what is taken out, and what is left alone when a lab fails."""

import builtins
import dis
import importlib
import json
import sys
import types
from pathlib import Path

import course
import nbformat
import nbformat.v4 as v4
import pytest
import run_labs
from course import find, registry, session

RECORD = (
    'import json, os, pathlib; pathlib.Path(os.environ["COURSE_RESULTS"], "01_tiny.json")'
    '.write_text(json.dumps({"device": "cpu", "claims": {"C1.01": {}}}))'
)

# A lab in a book of its own: as start() but for the folder, which the kernel cannot know.
START = f"""import sys
sys.path.insert(0, {str(Path(course.__file__).parents[1])!r})
import os, pathlib
from course import finish, session, sweep
session.LABS = pathlib.Path.cwd()
session._lab = session.Lab("01_tiny", "cpu", os.environ["COURSE_SCALE"])"""
SWEEP = """def run(rate):
    if rate == {fails}:
        raise ValueError("out of memory")
    return {{"loss": rate / 2}}
sweep("tiny.rates", run, [{{"rate": 1}}, {{"rate": 2}}, {{"rate": 3}}])"""


@pytest.fixture
def labs(tmp_path, monkeypatch):
    folder = tmp_path / "book" / "labs"
    (folder / "results").mkdir(parents=True)
    monkeypatch.setattr(run_labs, "LABS", folder)
    monkeypatch.setattr(session, "LABS", folder)
    return folder


def store(folder, *cells):
    path = folder / "01_tiny.ipynb"
    path.write_text(nbformat.writes(v4.new_notebook(cells=list(cells))))
    return path


def code(*sources):
    return [v4.new_code_cell(source) for source in sources]


def reference(values):
    """The largest value."""
    return max(values)


@pytest.fixture
def largest(monkeypatch):
    monkeypatch.setattr(registry, "EXERCISES", {})
    return course.Exercise("tiny.largest", reference=reference, minutes=1, difficulty=1)


def test_a_lab_is_stored_with_outputs_and_results_and_the_same_bytes_again(labs, capsys):
    prints = 'import os\nprint(os.environ["COURSE_STORED"], end=" ", flush=True)\nprint(object())'
    path = store(labs, *code(prints, RECORD))
    assert run_labs.main([]) == 0
    assert "01_tiny: stored after" in capsys.readouterr().out
    first = path.read_bytes()
    cell = json.loads(first)["cells"][0]
    assert cell["id"] == "01_tiny-000" and "execution" not in cell["metadata"]
    assert "".join(cell["outputs"][0]["text"]) == "1 <object object>\n"
    assert json.loads((labs / "results" / "01_tiny.json").read_text())["device"] == "cpu"
    assert run_labs.main(["01_tiny"]) == 0
    assert path.read_bytes() == first
    assert sorted(file.name for file in labs.iterdir()) == ["01_tiny.ipynb", "results"]


@pytest.mark.parametrize(
    "sources, told",
    [
        (
            ["x = 1", "raise ValueError('bad')", RECORD],
            "cell 2 (raise ValueError('bad')) raised ValueError: bad",
        ),
        ([RECORD, "print(1)\nimport os; os._exit(1)"], "cell 2 (print(1)) did not end"),
        (["import sys; print('careful', file=sys.stderr)", RECORD], "wrote to stderr: careful"),
        (["x = 1"], "must call finish()"),
    ],
    ids=["raises", "dies", "stderr", "no results"],
)
def test_a_failing_lab_leaves_everything_as_it_was(labs, capsys, sources, told):
    path = store(labs, *code(*sources))
    (labs / "results" / "01_tiny.json").write_text("old")
    before = path.read_bytes()
    assert run_labs.main([]) == 1
    assert told in capsys.readouterr().err
    assert path.read_bytes() == before
    assert (labs / "results" / "01_tiny.json").read_text() == "old"


def test_a_path_of_this_machine_is_refused(labs):
    cell = v4.new_code_cell("where", outputs=[v4.new_output("stream", text=f"{labs.parent}/x")])
    with pytest.raises(run_labs.LabError, match="shows a path of this machine"):
        run_labs.refuse_noise(v4.new_notebook(cells=[cell]))


def test_tidy_joins_streams_and_drops_widgets_and_addresses():
    widget = v4.new_output(
        "display_data", data={run_labs.WIDGET: {}, "text/plain": "<a at 0x7f00deadbeef>"}
    )
    pieces = [
        v4.new_output("stream", name=name, text=name[-3:])
        for name in ("stdout", "stdout", "stderr")
    ]
    notebook = v4.new_notebook(cells=[v4.new_code_cell("x", outputs=[*pieces, widget])])
    run_labs.tidy(notebook, "01_tiny")
    out, err, shown = notebook.cells[0].outputs
    assert (out.text, err.text, shown.data) == ("outout", "err", {"text/plain": "<a>"})


def test_solutions_are_written_from_the_reference(labs, largest, capsys):
    cell = v4.new_markdown_cell("old", metadata={"solution": "tiny.largest"})
    path = store(labs, v4.new_markdown_cell("plain"), cell)
    assert run_labs.main(["--check-solutions"]) == 1
    assert "the solution of tiny.largest is not" in capsys.readouterr().err
    assert "old" in path.read_text()
    notebook = nbformat.read(path, as_version=4)
    assert run_labs.refresh_solutions(notebook) == ["tiny.largest"]
    assert notebook.cells[0].source == "plain"
    assert notebook.cells[1].source == (
        "<details><summary>Solution</summary>\n\n```python\ndef reference(values):\n"
        '    """The largest value."""\n    return max(values)\n```\n\n</details>'
    )
    store(labs, *notebook.cells)
    assert run_labs.main(["--check-solutions"]) == 0


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
    found = run_labs.imports_of(written_in(source), {})
    assert found == ("\n".join(lines) + "\n\n\n" if lines else "")


def test_what_the_reader_has_written_is_not_imported(written_in):
    f = written_in("def f(x):\n    return masked_mean(helper(x), x)\n")
    helper, mean = f.__globals__["helper"], f.__globals__["masked_mean"]
    assert run_labs.imports_of(f, {"helper": helper, "masked_mean": mean}) == ""
    assert run_labs.imports_of(f, {"helper": helper, "masked_mean": helper, "other": mean}) == (
        "from methods.tokens import masked_mean\n\n\n"
    )


def test_every_published_solution_runs_below_its_own_imports():
    """With the notebook's other exercises in place; names that a solution needs are all there."""
    for path in run_labs.lab_paths([]):
        notebook = nbformat.read(path, as_version=4)
        code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
        heads = {id: (head, name) for head, id, name in run_labs.EXERCISE.findall(code)}
        for id in heads:
            text = run_labs.solution(id, heads).split("```python\n")[1].split("\n```")[0]
            here = {name: find(other).reference for other, (_, name) in heads.items()}
            here["exercise"] = lambda *_, **__: lambda answer: answer
            exec(compile(text, id, "exec"), here)
            needed = globals_of(here[heads[id][1]].__code__)
            assert needed <= here.keys() | set(dir(builtins)), id


def globals_of(code):
    """The global names that a function and the functions inside it read."""
    inside = (constant for constant in code.co_consts if isinstance(constant, types.CodeType))
    read = {step.argval for step in dis.get_instructions(code) if step.opname == "LOAD_GLOBAL"}
    return read.union(*map(globals_of, inside))


def test_results_of_a_gpu_go_to_their_own_folder(labs):
    store(labs, *code(RECORD.replace("cpu", "cuda")))
    assert run_labs.main([]) == 0
    assert (labs / "results" / "gpu" / "01_tiny.json").exists()


@pytest.fixture
def swept(labs, monkeypatch):
    """A function that completes the sweep of a lab with a result of its own, and returns the exit
    status."""
    for name in ("COURSE_SCALE", "COURSE_RESULTS", "COURSE_SWEEPS"):
        monkeypatch.setenv(name, "small")  # what you set for yourself does not count
    (labs.parent / "chapters").mkdir()
    (labs.parent / "chapters" / "claims.yml").write_text("[]")
    (labs / "results" / "01_tiny.json").write_text("old")

    def swept(fails, last="finish()"):
        path = store(labs, *code(START, SWEEP.format(fails=fails), last))
        before = path.read_bytes()
        status = run_labs.main(["--sweeps", "01_tiny"])
        assert path.read_bytes() == before
        assert (labs / "results" / "01_tiny.json").read_text() == "old"
        assert sorted(file.name for file in labs.iterdir()) == ["01_tiny.ipynb", "results"]
        return status

    return swept


def rates(labs):
    return [
        row["rate"]
        for row in json.loads((labs / "results" / "sweeps" / "tiny.rates.json").read_text())["rows"]
    ]


def test_a_sweep_that_breaks_off_keeps_its_rows_and_is_completed_the_next_time(labs, swept, capsys):
    assert swept(fails=3) == 1
    assert capsys.readouterr().err == (
        "01_tiny: cell 2 (def run(rate):) raised ValueError: out of memory\n"
    )
    assert rates(labs) == [1, 2]
    assert swept(fails=1) == 0  # the first is not run again
    assert capsys.readouterr() == ("01_tiny: tiny.rates has 3 rows, which took 0 s\n", "")
    assert rates(labs) == [1, 2, 3]


def test_a_lab_that_does_not_finish_keeps_its_sweeps(labs, swept, capsys):
    assert swept(fails=0, last="1") == 1
    assert "must call finish()" in capsys.readouterr().err
    assert rates(labs) == [1, 2, 3]


def test_a_lab_without_a_sweep_is_not_run(labs, capsys):
    store(labs, v4.new_markdown_cell("sweep("), *code("raise ValueError"))
    assert run_labs.main(["--sweeps"]) == 0
    assert capsys.readouterr() == ("01_tiny: has no sweep\n", "")


def test_a_sweep_may_take_its_time(labs, monkeypatch):
    monkeypatch.setattr(run_labs, "TIMEOUT", 1)
    store(labs, *code("import time; time.sleep(3)  # sweep()", RECORD))
    assert run_labs.main(["--sweeps"]) == 0


def test_a_lab_that_is_not_there_is_named(labs, capsys):
    assert run_labs.main([]) == 1
    assert "labs/ holds no notebook" in capsys.readouterr().err
    store(labs)
    assert run_labs.main(["02_huge"]) == 1
    assert "There is no lab '02_huge'; these are the labs: 01_tiny." in capsys.readouterr().err
