"""What is stored was made by the code that stands here: rows of sweeps, measures and claims.

A test that fails names what nothing vouches for any more, and the command that makes it good.
"""

import json
import re
from pathlib import Path

import pytest
import readme_picture
import sweeps
from course import session
from course.cells import code_of_cell
from course.sweep import load

LABS = session.LABS
DECLARED = [declared for many in sweeps.find().values() for declared in many]
NOTEBOOKS = sorted(LABS.glob("[0-9][0-9]_*.ipynb"))


def cells_of(notebook):
    return json.loads(notebook.read_text("utf8"))["cells"]


def results_of(lab):
    """Every claim and measure that the lab has stored, by name."""
    record = json.loads((LABS / "results" / f"{lab}.json").read_text("utf8"))
    return record["claims"] | record["measures"]


def named(names):
    """The first names of many, for a sentence."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def complaints(lab, results, cells):
    """One sentence for each kind of result that the notebook no longer vouches for."""
    places = {cell.get("id"): number for number, cell in enumerate(cells)}
    lost = [name for name, entry in results.items() if entry.get("cell") not in places]
    codes = {}  # by cell: several results come from one
    for name, entry in results.items():
        if name not in lost:
            codes[entry["cell"]] = code_of_cell(cells, places[entry["cell"]])
    stale = [
        name
        for name, entry in results.items()
        if name not in lost and entry.get("code") != codes[entry["cell"]]
    ]
    reasons = {
        "were measured in no cell of the notebook": lost,
        "were measured by other code": stale,
    }
    return [
        f"{lab}: {named(names)} {reason}: run make labs ARGS={lab}"
        for reason, names in reasons.items()
        if names
    ]


def unwritten(names, sources):
    """The names that stand in no source in full, between quotes."""
    text = "\n".join(sources)
    return [name for name in names if not re.search(rf"""["']{re.escape(name)}["']""", text)]


def sources_of(lab):
    """What may name the results of a lab: its source, or the cells of its notebook, and the
    experiments."""
    for path in [*LABS.glob(f"{lab}.py"), *LABS.glob("experiments/*.py")]:
        yield path.read_text("utf8")
    for cell in cells_of(LABS / f"{lab}.ipynb"):
        yield "".join(cell["source"])


@pytest.mark.parametrize("lab", [path.stem for path in NOTEBOOKS])
def test_every_stored_result_was_measured_by_the_present_code(lab):
    assert complaints(lab, results_of(lab), cells_of(LABS / f"{lab}.ipynb")) == []


@pytest.mark.parametrize("lab", [path.stem for path in NOTEBOOKS])
def test_the_name_of_every_stored_measure_can_be_searched_for(lab):
    missing = unwritten(results_of(lab), sources_of(lab))
    assert missing == [], f"{lab}: written nowhere in full: {named(missing)}"


def test_every_stored_row_was_made_by_the_present_code(monkeypatch):
    sentences = []
    for lab, declared in sweeps.find().items():
        # the small scale reads the book's rows, on whatever machine this is
        monkeypatch.setattr(session, "_lab", session.Lab(lab, "cpu", "small"))
        for stored in map(load, declared):
            sentences += filter(None, [stored.not_vouched_for()])
            sentences += [f"{stored.declared.name}: no row for {key}" for key in stored.missing]
    assert sentences == []


@pytest.mark.parametrize("declared", DECLARED, ids=lambda declared: declared.name)
def test_the_rows_are_those_of_the_grid(declared, monkeypatch):
    monkeypatch.setattr(session, "_lab", session.Lab("01_sft", "cpu", "small"))
    stored = load(declared)
    assert stored.rows.keys() == stored.grid.keys()


def test_the_picture_of_the_readme_is_the_labs():
    stored = readme_picture.PICTURE.read_text("utf-8")
    assert stored == readme_picture.figure(), "run python tools/readme_picture.py"
    assert str(readme_picture.PICTURE.relative_to(readme_picture.ROOT)) in (
        readme_picture.ROOT / "README.md"
    ).read_text("utf-8")


def test_every_sweep_that_is_stored_is_declared():
    """Each file of rows belongs to a sweep in labs/experiments."""
    declared = {each.name for many in sweeps.find().values() for each in many}
    stored = {path.stem for path in Path(LABS, "results", "sweeps").glob("*.json")}
    assert stored <= declared, f"declared nowhere: {named(sorted(stored - declared))}"


# the tests above can fail

CELLS = [
    {"cell_type": "code", "id": "a", "source": ["rate = 1\n"]},
    {"cell_type": "code", "id": "b", "source": ["measure('sft.loss', rate)\n"]},
    {"cell_type": "markdown", "id": "c", "source": ["# Heading"]},
]


def test_a_result_of_the_present_code_is_vouched_for():
    entry = {"cell": "b", "code": code_of_cell(CELLS, 1)}
    assert complaints("01_sft", {"sft.loss": entry}, CELLS) == []


@pytest.mark.parametrize(
    "entry, reason",
    [
        ({}, "were measured in no cell of the notebook"),
        ({"cell": "gone", "code": "0123456789ab"}, "were measured in no cell of the notebook"),
        ({"cell": "b"}, "were measured by other code"),
        ({"cell": "b", "code": "0123456789ab"}, "were measured by other code"),
    ],
)
def test_a_result_of_other_code_is_named(entry, reason):
    results = {f"sft.loss_{number}": entry for number in range(7)}
    assert complaints("01_sft", results, CELLS) == [
        "01_sft: sft.loss_0, sft.loss_1, sft.loss_2, sft.loss_3, sft.loss_4 and 2 more "
        f"{reason}: run make labs ARGS=01_sft"
    ]


def test_a_changed_cell_above_is_other_code():
    entry = {"cell": "b", "code": code_of_cell(CELLS, 1)}
    changed = [{**CELLS[0], "source": ["rate = 2"]}, *CELLS[1:]]
    assert complaints("01_sft", {"sft.loss": entry}, changed) == [
        "01_sft: sft.loss were measured by other code: run make labs ARGS=01_sft"
    ]


@pytest.mark.parametrize(
    "source, missing",
    [
        ("measure('sft.loss', 1)", []),
        ('NAMES = {"sft.loss": 1}', []),
        ("measure(f'sft.{name}', 1)", ["sft.loss"]),
        ("measure('sft.loss_end', 1)", ["sft.loss"]),
        ("measure('sft_loss', 1)", ["sft.loss"]),
        ("# sft.loss", ["sft.loss"]),
    ],
)
def test_a_name_that_is_made_up_at_run_time_is_found(source, missing):
    assert unwritten(["sft.loss"], [source]) == missing
