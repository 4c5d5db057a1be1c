"""Storing a lab: what is kept, what is taken out, and what is left alone when a lab fails."""

import json
from pathlib import Path

import course
import nbformat
import nbformat.v4 as v4
import pytest
import run_labs
from course import registry, session

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
