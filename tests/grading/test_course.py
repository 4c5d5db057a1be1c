"""The seam between the grader and the course: only grading/course.py imports from labs/."""

import ast

import pytest
from made import LABS

GRADING = LABS.parent / "grading"
MODULES = [path for path in sorted(GRADING.rglob("*.py")) if path != GRADING / "course.py"]


def packages():
    """The names that can be imported from labs/: packages and modules."""
    return {path.stem for path in LABS.iterdir() if path.is_dir() or path.suffix == ".py"}


def imported(path):
    """The first part of each name that a module imports; relative imports stay in the grader."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.partition(".")[0]


def texts(path):
    return {
        node.value
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(GRADING).as_posix())
def test_only_the_seam_knows_the_course(path):
    assert not packages() & set(imported(path)), "import it in grading/course.py"
    assert "importlib" not in set(imported(path)), "names that are imported must stand in imports"
    assert not {text for text in texts(path) if text.startswith("labs")}, "ask grading/course.py"


def test_the_seam_is_what_imports_the_course():
    assert {"course", "checks"} <= packages() & set(imported(GRADING / "course.py"))
