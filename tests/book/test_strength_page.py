"""The directive that shows how strong the checks are."""

import importlib.util
import json
import re
from pathlib import Path

import pytest
from sphinx.errors import ExtensionError

ROOT = Path(__file__).resolve().parents[2]
FILE = "labs/results/checks/strength.json"
ENTRY = {
    "id": "demo.loss",
    "lab": "01_demo",
    "points": 4,
    "checks": 3,
    "wrong": 12,
    "accepted": ["summed"],
    "right": 3,
    "rejected": [],
    "blind_wrong": 7,
    "blind_accepted_at_first": 2,
    "blind_accepted": ["wrong_3"],
    "blind_right": 4,
    "blind_rejected": [],
    "mutants": 40,
    "equivalent": {"sign: x": "why"},
    "survivors": ["order: y", "constant: 0"],
    "flakes": 1,
    "verdicts": 1320,
}
OTHER = ENTRY | {"id": "demo.step", "points": 2, "accepted": [], "survivors": [], "flakes": 0}


@pytest.fixture(scope="module")
def strength():
    spec = importlib.util.spec_from_file_location(
        "ext_strength", ROOT / "chapters/_ext/course_strength.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_row_tells_what_was_counted_and_the_last_one_adds_up(strength):
    head, _, loss, step, total = strength.table([ENTRY, OTHER])
    assert head.startswith(
        "| Exercise | Points | Checks | Wrong caught | Right accepted | Wrong, blind: at first | now"
    )
    assert (
        loss
        == "| `demo.loss` | 4 | 3 | 11 of 12 | 3 of 3 | 5 of 7 | 6 of 7 | 4 of 4 | 37 of 39 | 1 | 1 of 1,320 |"
    )
    assert (
        step
        == "| `demo.step` | 2 | 3 | 12 of 12 | 3 of 3 | 5 of 7 | 6 of 7 | 4 of 4 | 39 of 39 | 1 | 0 of 1,320 |"
    )
    assert (
        total
        == "| all | 6 | 6 | 23 of 24 | 6 of 6 | 10 of 14 | 12 of 14 | 8 of 8 | 76 of 78 | 2 | 1 of 2,640 |"
    )


def test_the_books_own_file_can_be_shown(strength):
    labs = strength.read(ROOT)
    for path in (ROOT / "labs").glob("[0-9][0-9]_*.ipynb"):
        assert path.stem in labs, f"{path.stem} has no exercise in it: run python tools/strength.py"
    for entries in labs.values():
        assert len(strength.table(entries)) == len(entries) + 3


@pytest.mark.parametrize("text", [None, '{"exercises": ['])
def test_a_file_that_cannot_be_used_is_named(strength, tmp_path, text):
    if text:
        (tmp_path / FILE).parent.mkdir(parents=True)
        (tmp_path / FILE).write_text(text, "utf8")
    with pytest.raises(
        ExtensionError, match="strength.json cannot be read: .*; python tools/strength.py makes it"
    ):
        strength.read(tmp_path)


def test_the_page_has_a_table_for_each_lab(tmp_path, write_book, build_book):
    write_book(tmp_path, "# Book\n\n```{check-strength}\n```\n")
    (tmp_path / FILE).parent.mkdir(parents=True)
    (tmp_path / FILE).write_text(json.dumps({"exercises": [ENTRY, OTHER]}), "utf8")
    built = build_book(tmp_path, tmp_path)
    assert built.status == 0, built.log
    html = (built.html / "index.html").read_text("utf8")
    table = re.search(r'<table class="[^"]*ledger-summary[^"]*".*?</table>', html, re.DOTALL)[0]
    text = " ".join(re.sub(r"<[^>]+>", " ", table).split())
    assert "Mutants killed Equivalent Flakes demo.loss 4 3 11 of 12" in text
    assert '<a class="reference internal" href="labs/01_demo.html">' in html
