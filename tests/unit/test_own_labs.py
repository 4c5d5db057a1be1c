"""A learner's own copies of the labs: without outputs, never overwritten, and gradable."""

import json
import re

import own_labs
import pytest
from nbclient import NotebookClient
from nbformat import v4

from grading.notebook import find_answers, labs


def read(path):
    return json.loads(path.read_text("utf8"))


@pytest.fixture
def own(tmp_path):
    return tmp_path / "mine"


def test_a_copy_has_all_cells_and_no_outputs(own):
    told = own_labs.complete(own=own)
    names = sorted(path.name for path in own.iterdir())
    notebooks = sorted(f"{name}.ipynb" for name in labs())
    assert names == [*notebooks, own_labs.PROGRAM]
    assert told == [f"New copies for you in mine/: {', '.join(names)}."]
    for name in notebooks:
        first, *cells = read(own / name)["cells"]
        published = read(own_labs.ROOT / "labs" / name)["cells"]
        assert "%cd -q ../labs" in first["source"]
        assert [cell["source"] for cell in cells] == [cell["source"] for cell in published]
        assert [cell["metadata"] for cell in cells] == [cell["metadata"] for cell in published]
        assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)


def test_what_is_there_is_left_alone_and_a_missing_one_comes_back(own):
    own_labs.complete(own=own)
    mine, gone = own / "01_sft.ipynb", own / "02_lora.ipynb"
    (own / own_labs.PROGRAM).write_text("my work", "utf8")
    mine.write_text("my work", "utf8")
    gone.unlink()
    assert own_labs.complete(own=own) == ["New copies for you in mine/: 02_lora.ipynb."]
    assert mine.read_text("utf8") == "my work" and gone.exists()
    assert (own / own_labs.PROGRAM).read_text("utf8") == "my work"
    assert own_labs.complete(own=own) == []


def test_a_copy_of_an_earlier_version_is_kept_and_told(own, tmp_path):
    labs_folder = tmp_path / "labs"
    labs_folder.mkdir()
    (labs_folder / "01_sft.ipynb").write_bytes(
        (own_labs.ROOT / "labs" / "01_sft.ipynb").read_bytes()
    )
    own_labs.complete(labs_folder, own)
    before = (own / "01_sft.ipynb").read_bytes()
    changed = read(labs_folder / "01_sft.ipynb")
    changed["cells"][2]["outputs"] = []
    (labs_folder / "01_sft.ipynb").write_text(json.dumps(changed), "utf8")
    assert own_labs.complete(labs_folder, own) == []
    changed["cells"][2]["source"] = "print('new')"
    (labs_folder / "01_sft.ipynb").write_text(json.dumps(changed), "utf8")
    (told,) = own_labs.complete(labs_folder, own)
    assert "mine/01_sft.ipynb is of an earlier version" in told and "rename yours" in told
    assert (own / "01_sft.ipynb").read_bytes() == before


def test_a_copy_runs_where_a_lab_runs(own):
    """The first two cells: into the folder of the labs, and what the lab imports there."""
    notebook = v4.new_notebook(
        cells=[
            v4.new_code_cell(own_labs.HOME["source"]),
            v4.new_code_cell("from course import start\nlab = start('01_sft')"),
        ]
    )
    where = {"metadata": {"path": str(own_labs.ROOT / "tools")}}  # beside labs/, as mine/ is
    NotebookClient(notebook, resources=where, kernel_name="python3").execute()
    assert "01_sft on" in notebook.cells[1].outputs[0]["text"]


def test_a_copy_is_graded_as_the_notebook_itself(own):
    own_labs.complete(own=own)
    for path in own.glob("*.ipynb"):
        data = re.sub(rb'"    \.\.\.(\\n)?"', b'"    return None + 1"', path.read_bytes())
        answers = find_answers(data, path.name)
        assert answers.lab.name == path.stem and not answers.notes
        assert {answer.state for answer in answers.answers} == {"attempted"}
