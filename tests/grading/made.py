"""Submissions made from the published labs, and records for tests of what is done with records."""

import re
from pathlib import Path

import nbformat
import nbformat.v4 as v4

from grading.records.record import Provenance, Record, Status, Timing

LABS = Path(__file__).resolve().parents[2] / "labs"
EXERCISE = re.compile(r'@exercise\("([^"]+)"')
CODE = re.compile(r"```python\n(.*)\n```", re.DOTALL)


def published(lab):
    return nbformat.read(LABS / f"{lab}.ipynb", as_version=4)


def solutions(lab):
    """The text of each exercise's cell with its solution, by exercise."""
    return {
        cell.metadata.solution: CODE.search(cell.source)[1]
        for cell in published(lab).cells
        if "solution" in cell.metadata
    }


def submission(lab, answers=None, before=(), after=()):
    """The notebook of a lab as a learner hands it in, as a string.

    answers: the text of the cell by exercise, or "solved". before, after: the texts of cells added
    at the start and at the end.
    """
    answers, notebook = solutions(lab) if answers == "solved" else answers or {}, published(lab)
    for cell in notebook.cells:
        found = EXERCISE.findall(cell.source) if cell.cell_type == "code" else []
        if found and found[0] in answers:
            cell.source = answers[found[0]]
    for place, texts in ((1, before), (len(notebook.cells), after)):
        notebook.cells[place:place] = [v4.new_code_cell(text) for text in texts]
    return nbformat.writes(notebook)


def notebook(*sources):
    """A notebook of code cells alone, as a string."""
    return nbformat.writes(v4.new_notebook(cells=[v4.new_code_cell(source) for source in sources]))


def record(**fields):
    """A record of a graded submission by zoe with 0 of 21 points, with these fields."""
    defaults = {
        "submission": "zoe",
        "student": "zoe",
        "file": "zoe.ipynb",
        "attempt": None,
        "modified": 0.0,
        "sha256": "ab" * 32,
        "lab": "01_sft",
        "status": "graded",
        "reason": "",
        "earned": 0,
        "points": 21,
        "exercises": (),
        "notes": (),
        "grader": Provenance("T1", {}, "", "", "", "", {}),
        "run": Timing(0.81, "2026-11-25T02:00:00Z"),
    }
    made = defaults | fields
    return Record(**made | {"status": Status(made["status"])})
