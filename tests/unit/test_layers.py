"""Imports go one way: which package of labs/ may use which other."""

import ast
from pathlib import Path

import pytest

LABS = Path(__file__).parents[2] / "labs"
USES = {
    "methods": set(),
    "planning": set(),
    "course": set(),
    "helpdesk": {"course"},  # for the number of threads
    "inbox": {"course", "helpdesk"},  # for the real model, and for another in its place
    "checks": {"course", "methods", "planning"},
    "experiments": {"course", "helpdesk", "inbox", "methods", "planning"},
}
MODULES = [path for package in USES for path in sorted((LABS / package).rglob("*.py"))]


def imported(source):
    """The packages of labs/ that a module imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module.partition(".")[0])
    return found & USES.keys()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(LABS).as_posix())
def test_a_module_imports_only_what_stands_below_it(path):
    package = path.relative_to(LABS).parts[0]
    above = imported(path.read_text(encoding="utf-8")) - USES[package] - {package}
    assert not above, f"{path.name} imports {', '.join(above)}: see CONTRIBUTING.md"


def test_no_method_imports_ppo():
    """Another method takes what it shares with PPO from tokens, rollouts and optimize."""
    for path in (LABS / "methods").glob("*.py"):
        names = [
            f"{node.module}.{alias.name}"
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        ]
        assert not [name for name in names if name.startswith("methods.ppo")], path.name


def test_every_package_has_its_rule():
    packages = {path.parent.name for path in LABS.glob("*/*.py")}
    assert packages == USES.keys()


@pytest.mark.parametrize(
    "source, packages",
    [
        ("from helpdesk import base", {"helpdesk"}),
        ("import methods.ppo, os", {"methods"}),
        ("def f():\n    from course.machine import versions", {"course"}),
        ("from . import course", set()),
        ("import coursework", set()),
    ],
)
def test_imports_are_seen(source, packages):
    assert imported(source) == packages
