"""Every lab runs from top to bottom, prints what is stored, and is written as a lab."""

import re
from pathlib import Path

import nbformat
import pytest

LABS = sorted((Path(__file__).resolve().parents[2] / "labs").glob("[0-9][0-9]_*.ipynb"))
LONGEST = 26  # lines of a code cell; the first one, with the imports, may be longer
EXERCISE = re.compile(r'@exercise\("([^"]+)"')


def code(path):
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def test_there_is_a_lab():
    assert LABS


@pytest.mark.parametrize("lab", LABS, ids=lambda path: path.stem)
class TestLab:
    def test_runs_and_prints_what_is_stored(self, lab, validate):
        outcome = validate(lab)
        assert outcome.status == 0, outcome.text
        assert (outcome.ran, outcome.skipped, outcome.failed) == (len(code(lab)), 0, 0), (
            outcome.text
        )

    def test_is_stored_as_run_in_order_without_errors(self, lab):
        cells = code(lab)
        assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
        loud = [
            cell.source
            for cell in cells
            for output in cell.outputs
            if output.output_type == "error" or output.get("name") == "stderr"
        ]
        assert loud == []

    def test_begins_and_ends_as_a_lab(self, lab):
        cells = code(lab)
        assert f'start("{lab.stem}")' in cells[0].source
        assert "finish()" in cells[-1].source

    def test_cells_are_short(self, lab):
        long = [cell.source for cell in code(lab)[1:] if len(cell.source.splitlines()) > LONGEST]
        assert long == []

    def test_exercises_are_open_checked_and_solved_below(self, lab):
        notebook = nbformat.read(lab, as_version=4)
        ids = [id for cell in code(lab) for id in EXERCISE.findall(cell.source)]
        solved = [cell.metadata.solution for cell in notebook.cells if "solution" in cell.metadata]
        assert ids and solved == ids
        verdicts = [
            output.text
            for cell in code(lab)
            if "# NBVAL_CHECK_OUTPUT" in cell.source
            for output in cell.outputs
            if output.output_type == "stream"
        ]
        for id in ids:
            assert any(f"{id}: not attempted\n" in text for text in verdicts), id
