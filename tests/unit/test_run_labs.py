"""Storing a lab: what is kept, what is taken out, and what is left alone when a lab fails."""

import json
from pathlib import Path

import course
import lab_sources
import nbformat.v4 as v4
import pytest
import run_labs
from course import session

RECORD = (
    'import json, os, pathlib; pathlib.Path(os.environ["COURSE_RESULTS"], "01_tiny.json")'
    '.write_text(json.dumps({"device": "cpu", "claims": {}, "measures": {}}))'
)

# A lab in a book of its own: as start() but for the folder, which the kernel cannot know.
START = f"""import sys
sys.path.insert(0, {str(Path(course.__file__).parents[1])!r})
import pathlib
from course import finish, measure, session
session.LABS = pathlib.Path.cwd()
session._lab = session.Lab("01_tiny", "cpu", "small")"""


@pytest.fixture
def labs(tmp_path, monkeypatch):
    folder = tmp_path / "book" / "labs"
    (folder / "results").mkdir(parents=True)
    monkeypatch.setattr(lab_sources, "LABS", folder)
    monkeypatch.setattr(session, "LABS", folder)
    return folder


def write(folder, *cells, text=""):
    """The source of a lab: some code cells, and text in the format as it stands."""
    path = folder / "01_tiny.py"
    path.write_text("\n\n".join([*(f"# %%\n{cell}" for cell in cells), text]))
    return path


def stored(folder):
    return folder / "01_tiny.ipynb"


def make(folder, *cells):
    """Write the source of a lab, run it, and return its stored notebook as JSON."""
    write(folder, *cells)
    assert run_labs.main([]) == 0
    return json.loads(stored(folder).read_text())


def test_a_lab_is_stored_with_outputs_and_results_and_the_same_bytes_again(labs, capsys):
    prints = 'import os\nprint(os.environ["COURSE_STORED"], end=" ", flush=True)\nprint(object())'
    write(labs, prints, RECORD)
    assert run_labs.main([]) == 0
    path = stored(labs)
    assert "01_tiny: stored after" in capsys.readouterr().out
    first = path.read_bytes()
    cell = json.loads(first)["cells"][0]
    assert cell["id"].startswith("01_tiny-") and "execution" not in cell["metadata"]
    assert "".join(cell["outputs"][0]["text"]) == "1 <object object>\n"
    assert json.loads((labs / "results" / "01_tiny.json").read_text())["device"] == "cpu"
    assert run_labs.main(["01_tiny"]) == 0
    assert path.read_bytes() == first
    assert sorted(file.name for file in labs.iterdir()) == [
        "01_tiny.ipynb",
        "01_tiny.py",
        "results",
    ]


@pytest.mark.parametrize(
    "sources, message",
    [
        (
            ["x = 1", "raise ValueError('bad')", RECORD],
            "cell 2 (raise ValueError('bad')) raised ValueError: bad",
        ),
        ([RECORD, "print(1)\nimport os; os._exit(1)"], "cell 2 (print(1)) did not end"),
        (["import sys; print('careful', file=sys.stderr)", RECORD], "wrote to stderr: careful"),
        (["x = 1"], 'must call start("01_tiny"), its last one finish()'),
    ],
    ids=["raises", "dies", "stderr", "no results"],
)
def test_a_failing_lab_leaves_everything_as_it_was(labs, capsys, sources, message):
    make(labs, RECORD)
    before = stored(labs).read_bytes()
    write(labs, *sources)
    (labs / "results" / "01_tiny.json").write_text("old")
    assert run_labs.main([]) == 1
    assert message in capsys.readouterr().err
    assert stored(labs).read_bytes() == before
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
    run_labs.tidy(notebook)
    out, err, shown = notebook.cells[0].outputs
    assert (out.text, err.text, shown.data) == ("outout", "err", {"text/plain": "<a>"})


EDITS = {
    "a changed cell": lambda cells: cells[0].update(source="x = 2"),
    "a cell of its own": lambda cells: cells.insert(1, v4.new_code_cell("x = 2")),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS.keys())
def test_a_notebook_edited_by_hand_is_not_overwritten_without_force(labs, capsys, edit):
    notebook = make(labs, "x = 1", RECORD)
    edit(notebook["cells"])
    stored(labs).write_text(json.dumps(notebook))
    before = stored(labs).read_bytes()
    assert run_labs.main([]) == 1
    message = capsys.readouterr().err
    assert "(x = 2) of 01_tiny.ipynb was written by hand and would be lost" in message
    assert "move it into 01_tiny.py" in message and "--force" in message
    assert stored(labs).read_bytes() == before
    assert run_labs.main(["--force"]) == 0
    assert "x = 2" not in stored(labs).read_text()


def test_an_edit_during_the_run_is_not_overwritten_either(labs, capsys):
    edit = (
        "import json, pathlib; path = pathlib.Path('01_tiny.ipynb')\n"
        "notebook = json.loads(path.read_text()); notebook['cells'][0]['source'] = 'y = 3'\n"
        "path.write_text(json.dumps(notebook))"
    )
    make(labs, "x = 1", RECORD)
    write(labs, "x = 1", edit, RECORD)
    assert run_labs.main([]) == 1
    assert "cell 1 (y = 3) of 01_tiny.ipynb was written by hand" in capsys.readouterr().err
    assert "y = 3" in stored(labs).read_text()


def test_an_edit_that_was_moved_into_the_source_is_no_hindrance(labs):
    notebook = make(labs, "x = 1", RECORD)
    notebook["cells"].insert(0, v4.new_code_cell("x = 2"))
    stored(labs).write_text(json.dumps(notebook))
    make(labs, "x = 2", "x = 3", RECORD)  # x = 1 was made by a source: it may go
    assert run_labs.main(["--check"]) == 0


def test_a_stored_file_that_is_no_notebook_is_named_and_kept(labs, capsys):
    write(labs, RECORD)
    stored(labs).write_text("<<<<<<< ours")
    for task in ([], ["--check"]):
        assert run_labs.main(task) == 1
        assert "01_tiny.ipynb is no notebook that can be read" in capsys.readouterr().err
    assert stored(labs).read_text() == "<<<<<<< ours"
    assert run_labs.main(["--force"]) == 0


def test_a_source_with_a_fault_leaves_the_notebook_as_it_was(labs, capsys):
    make(labs, RECORD)
    before = stored(labs).read_bytes()
    write(labs, "x = (1", RECORD)
    for task in ([], ["--force"], ["--check"]):
        assert run_labs.main(task) == 1
        assert capsys.readouterr().err == (
            "01_tiny: 01_tiny.py: cell 1 (x = (1) is no valid Python: '(' was never closed "
            "(line 1 of the cell)\n"
        )
    assert stored(labs).read_bytes() == before


def test_check_says_whether_the_notebook_is_what_its_source_makes(labs, capsys):
    write(labs, "x = 1", RECORD)
    assert run_labs.main(["--check"]) == 1
    assert "01_tiny.ipynb has not been made yet: run make labs ARGS=01_tiny" in (
        capsys.readouterr().err
    )
    make(labs, "x = 1", RECORD)
    before = stored(labs).read_bytes()
    assert run_labs.main(["--check"]) == 0
    write(labs, "x = 2", RECORD)
    assert run_labs.main(["--check"]) == 1
    assert "cell 1 (x = 2) of 01_tiny.py does not stand there" in capsys.readouterr().err
    assert stored(labs).read_bytes() == before


def test_results_of_a_gpu_go_to_their_own_folder(labs):
    make(labs, RECORD.replace("cpu", "cuda"))
    assert (labs / "results" / "gpu" / "01_tiny.json").exists()


def test_a_measure_says_which_cell_made_it_and_with_which_code(labs):
    (labs.parent / "chapters").mkdir()
    (labs.parent / "chapters" / "claims.yml").write_text("[]")
    cells = (START, "loss = 0.5", 'measure("tiny.loss", loss, "nats")', "finish()")
    notebook = make(labs, *cells)
    measured = json.loads((labs / "results" / "01_tiny.json").read_text())["measures"]["tiny.loss"]
    assert measured["value"] == 0.5 and measured["cell"] == notebook["cells"][2]["id"]
    again = make(labs, *cells[:1], "loss = 0.25 * 2", *cells[2:])
    other = json.loads((labs / "results" / "01_tiny.json").read_text())["measures"]["tiny.loss"]
    assert other["cell"] == again["cells"][2]["id"] and other["code"] != measured["code"]


def test_a_lab_that_is_not_there_is_named(labs, capsys):
    assert run_labs.main([]) == 1
    assert "labs/ holds no lab" in capsys.readouterr().err
    write(labs, RECORD)
    assert run_labs.main(["02_huge"]) == 1
    assert "There is no lab '02_huge'; these are the labs: 01_tiny." in capsys.readouterr().err
