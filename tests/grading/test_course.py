"""The seam between the grader and the course: only grading/course.py imports from labs/."""

import ast
import re

import pytest
from course.registry import all_ids
from made import LABS

from grading.course import notebooks

GRADING = LABS.parent / "grading"
MODULES = [path for path in sorted(GRADING.rglob("*.py")) if path != GRADING / "course.py"]


NAMES = [*notebooks(), *all_ids()]  # of labs and exercises


def packages():
    """The names that can be imported from labs/: packages and modules."""
    return {path.stem for path in LABS.iterdir() if path.is_dir() or path.suffix == ".py"}


FOLDER = re.compile(rf"labs$|(labs|{'|'.join(sorted(packages()))})[/.]\w")


def imported(path):
    """The first part of each name that a module imports; relative imports stay in the grader."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.partition(".")[0]


def strings(path):
    return {
        node.value
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(GRADING).as_posix())
def test_only_the_seam_knows_the_course(path):
    assert not packages() & set(imported(path)), "import it in grading/course.py"
    assert "importlib" not in set(imported(path)), "names that are imported must stand in imports"
    assert not set(filter(FOLDER.match, strings(path))), "ask grading/course.py for the path"
    source = path.read_text("utf-8")
    assert not [name for name in NAMES if name in source], "the grader must not depend on one lab"


@pytest.mark.parametrize("text", ["labs", "labs/checks", "methods/sft.py", "course.registry"])
def test_folders_are_recognised(text):
    assert FOLDER.match(text)


def test_the_seam_is_what_imports_the_course():
    assert {"course", "checks"} <= packages() & set(imported(GRADING / "course.py"))
