"""Cells of a notebook: which one recorded a result, and what its number stands on."""

import json

import pytest
from course import CourseError, cells, provenance, session
from IPython.core.history import HistoryManager
from IPython.core.interactiveshell import InteractiveShell

FILES = {
    "course/__init__.py": "from .learner import check, exercise\nfrom .rows import select\n",
    "course/learner.py": "def exercise(id):\n    pass\n\ndef check(function):\n    pass\n",
    "course/rows.py": "def select(rows):\n    return rows\n",
    "methods/lora.py": "def update(x):\n    return x\n\ndef inject(model):\n    return model\n",
    "checks/lora.py": (
        "from course import Exercise\nfrom methods import lora\n"
        'update = Exercise("lora.update", reference=lora.update)\n'
    ),
    "experiments/lora.py": (
        "from course import Sweep\ndef run(rate):\n    return {'loss': rate}\n"
        "def grid():\n    return [{'rate': 1}]\n"
        'RATES = Sweep("lora.rates", run=run, grid=grid, agree={"loss": 1})\n'
    ),
    "results/sweeps/lora.rates.json": json.dumps(
        {"vouched": [], "rows": [{"rate": 1, "loss": 1.0, "code": "a"}]}
    ),
}
SOURCES = [
    "import math\nfrom course import check, exercise, measure, select, sweep\n"
    "from experiments import lora as trials\nfrom methods import lora",
    "assert math.pi\nlab = 1",
    '@exercise("lora.update")\ndef update(x):\n    """Doc."""\n    ...',
    "check(update)",
    "ALPHA = 3\nOTHER = 4",
    "def fresh(rank):\n    return lora.inject(ALPHA * rank)",
    "model = fresh(2)",
    "print(model)\ncheck(model)\nshown = [str(model)]",
    "lora.inject(model)",
    "model.eval()",
    "rows, _ = sweep(trials.RATES, live=[model], update=update)",
    "for rate in select(rows):\n    print(rate)",
    "for rate in (1, 2):\n    best, _ = max(rows), 1\n    measure('lora.best', best)",
    "measure('lora.alpha', ALPHA)",
]
BEST, ALPHA = 12, 13


def notebook(sources=SOURCES, markdown=()):
    return [
        {
            "cell_type": "markdown" if number in markdown else "code",
            "source": source.splitlines(keepends=True),
            "id": f"id-{number}",
        }
        for number, source in enumerate(sources)
    ]


def changed(number, old, new):
    assert old in SOURCES[number]
    return [
        source.replace(old, new) if each == number else source
        for each, source in enumerate(SOURCES)
    ]


@pytest.fixture
def code(tmp_path, monkeypatch):
    """code(sources, files, number) -> the digest of a cell, in a tree of its own each time."""
    made = []

    def code(sources=SOURCES, number=BEST, **files):
        folder = tmp_path / str(len(made))
        made.append(folder)
        for name, text in (FILES | files.get("files", {})).items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        monkeypatch.setattr(session, "LABS", folder)
        return cells.code_of_cell(notebook(sources), number)

    return code


def test_a_cell_stands_on_the_cells_that_bind_or_change_what_it_uses(code):
    code()
    sources = tuple(SOURCES)
    book = cells.analysed(sources, provenance.tree())
    assert book.below(BEST) == [2, 4, 5, 6, 8, 9, 10, BEST]
    assert book.below(ALPHA) == [4, ALPHA]


@pytest.mark.parametrize(
    "sources",
    [
        changed(0, "import math", "import math, json"),
        changed(0, "import math", "import math  # and more"),
        changed(1, "lab = 1", "lab = 2"),
        changed(2, '"""Doc."""', '"""Other."""'),
        changed(3, "check(update)", "check(update)\nprint(update)"),
        changed(7, "str(model)", "repr(model)"),
        changed(11, "print(rate)", "print(rate, rate)"),
        changed(13, "ALPHA", "OTHER"),
        changed(12, "(1, 2)", "(1,  2)"),
    ],
)
def test_what_a_cell_does_not_stand_on_says_nothing(code, sources):
    assert code(sources) == code()


@pytest.mark.parametrize(
    "sources",
    [
        changed(12, "max", "min"),
        changed(10, "_ =", "rest ="),
        changed(9, "eval()", "train()"),
        changed(8, "inject(model)", "inject(model, 2)"),
        changed(6, "fresh(2)", "fresh(3)"),
        changed(5, "ALPHA * rank", "ALPHA + rank"),
        changed(4, "OTHER = 4", "OTHER = 5"),
        changed(2, "...", "return x"),
        changed(0, "from methods import lora", "from helpdesk import lora"),
        [*SOURCES[:9], "model = 3", *SOURCES[10:]],
        [*SOURCES[:11], "rows.append(1)", *SOURCES[12:]],
        [*SOURCES[:11], "rows[0] = 1", *SOURCES[12:]],
        [*SOURCES[:11], "model.rate = 1", *SOURCES[12:]],
        [*SOURCES[:11], "losses = fresh(rows)", *SOURCES[12:]],
        [*SOURCES[:11], "losses = [lora.inject(model) for _ in 'ab']", *SOURCES[12:]],
        [*SOURCES[:11], "torch.nn.init.zeros_(rows[0])", *SOURCES[12:]],
        [*SOURCES[:11], "del rows", *SOURCES[12:]],
        [*SOURCES[:11], "from math import fsum as rows", *SOURCES[12:]],
    ],
)
def test_what_a_cell_stands_on_counts(code, sources):
    assert code(sources) != code()


@pytest.mark.parametrize(
    "name, old, new, counts",
    [
        ("methods/lora.py", "return x", "return 2 * x", True),  # the solution of the exercise
        ("methods/lora.py", "return model", "return None", True),
        ("experiments/lora.py", "{'loss': rate}", "{'loss': 1}", True),
        ("experiments/lora.py", "'rate': 1", "'rate': 2", True),
        ("experiments/lora.py", '"loss": 1}', '"loss": 2}', True),
        ("course/rows.py", "return rows", "return rows[:1]", False),
        ("course/learner.py", "pass", "return 1", False),
        ("results/sweeps/lora.rates.json", "1.0", "2.0", True),
        ("results/sweeps/lora.rates.json", '"code": "a"', '"code": "b"', False),
        ("results/sweeps/lora.rates.json", '"vouched": []', '"vouched": [1]', False),
    ],
)
def test_what_a_cell_reaches_in_labs_counts(code, name, old, new, counts):
    assert old in FILES[name]
    assert (code(files={name: FILES[name].replace(old, new)}) != code()) is counts


def test_what_a_function_of_a_cell_imports_counts(code):
    sources = [
        "def f():\n    from methods.lora import update\n    return update(1)",
        "measure('a.b', f())",
    ]
    files = {"methods/lora.py": FILES["methods/lora.py"].replace("return x", "return 2 * x")}
    assert code(sources, 1, files=files) != code(sources, 1)


def test_what_picks_rows_counts_where_it_is_used(code):
    files = {"course/rows.py": FILES["course/rows.py"].replace("return rows", "return rows[:1]")}
    assert code(number=11, files=files) != code(number=11)


def test_a_function_sees_what_is_bound_when_it_is_called(code):
    sources = ["x = 1", "x = 1\ndef f():\n    return x", "x = 3", "measure('a.b', f())"]
    assert code(sources, 3) != code([*sources[:2], "x = 4", sources[3]], 3)


@pytest.mark.parametrize(
    "cell, counts",
    [
        ("x = 2\nmeasure('a.b', x)", False),
        ("for x in 'ab':\n    measure('a.b', x)", False),
        ("with open('a') as x:\n    pass\nmeasure('a.b', x)", False),
        ("for i in 'ab':\n    y = i\nmeasure('a.b', y)", True),
        ("for i in 'ab':\n    x = i\nmeasure('a.b', x)", True),
        ("if 1:\n    x = 2\nmeasure('a.b', x)", True),
        ("x += 1\nmeasure('a.b', x)", True),
        ("try:\n    x = 1\nexcept OSError:\n    pass\nmeasure('a.b', x)", True),
        ("measure('a.b', x)\nx = 2", True),
        ("measure('a.b', [x for x in 'ab'])", False),
        ("measure('a.b', (lambda: x)())", True),
    ],
)
def test_what_a_cell_binds_before_it_uses_it_comes_from_nowhere_else(code, cell, counts):
    assert (code(["x = y = 1", cell], 1) != code(["x = y = 3", cell], 1)) is counts


def test_an_exercise_without_a_solution_is_told(code):
    sources = changed(2, "lora.update", "lora.gone")
    with pytest.raises(CourseError, match=r"labs/checks has no Exercise\('lora.gone', reference"):
        code(sources)


def test_a_cell_that_is_no_python_is_told(code):
    with pytest.raises(CourseError, match="cell 1 cannot be read as Python"):
        code(["%matplotlib inline", "1"], 1)


# the record of a run


def test_a_record_is_stamped_with_the_cells_of_the_stored_notebook(code):
    code()
    record = {
        "lab": "02_lora",
        "claims": {"C1.01": {"value": 1, "cell": cells.mark(SOURCES[ALPHA] + "\n")}},
        "measures": {"lora.best": {"value": 2, "cell": cells.mark(SOURCES[BEST])}},
    }
    before = json.dumps(record)
    stamped = cells.stamp(record, {"cells": notebook()})
    assert stamped == {
        "lab": "02_lora",
        "claims": {"C1.01": {"value": 1, "cell": "id-13", "code": code(number=ALPHA)}},
        "measures": {"lora.best": {"value": 2, "cell": "id-12", "code": code(number=BEST)}},
    }
    assert json.dumps(record) == before


@pytest.mark.parametrize("entry", [{}, {"cell": "0123456789ab"}, {"cell": None}])
def test_a_result_of_no_cell_is_refused(code, entry):
    code()
    record = {"claims": {}, "measures": {"lora.best": {"value": 1} | entry}}
    with pytest.raises(CourseError, match="lora.best was recorded by no cell of the notebook"):
        cells.stamp(record, {"cells": notebook()})


def test_the_running_cell_is_known_in_a_notebook_only(monkeypatch):
    assert cells.running() is None
    monkeypatch.setattr(HistoryManager, "enabled", False)  # no file on disk
    shell = InteractiveShell()
    monkeypatch.setattr("IPython.get_ipython", lambda: shell)
    shell.user_ns["running"] = cells.running
    text = "# a note\nmark = running()\n"
    shell.run_cell("1 + 1", store_history=True)
    shell.run_cell(text, store_history=True)
    assert shell.user_ns["mark"] == cells.mark(text)
