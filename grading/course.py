"""The seam between the grader and this course: no other module of the grader imports from labs/.

It serves both kinds of process. The one that decides marks asks for exercises, checks and digests.
A worker asks for the packages that answers may import, for models, and for the solutions that it
must put out of reach.
"""

import importlib
import inspect
import pkgutil
import re
import sys
import types
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

# The packages in labs/ are not installed: they lie beside the notebooks.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "labs"))

from checks import models, policies  # noqa: F401  (policies adds a recipe)
from course import Exercise, Mistake, find
from course.learner import NOTEBOOK_SEED
from course.registry import Check, explain, one_line
from course.registry import seeded as run_check
from course.withheld import SolutionWithheld, refuse

from .errors import GradingError

if TYPE_CHECKING:
    from experiments import capstone
    from torch import nn

__all__ = [
    "Check",
    "Exercise",
    "Mistake",
    "NOTEBOOK_SEED",
    "SolutionWithheld",
    "find",
    "one_line",
    "run_check",
]

ROOT = Path(__file__).resolve().parents[1]
LABS = ROOT / "labs"
PACKAGE = "course"  # what a notebook imports; in a worker another module stands in its place
DECORATOR = "exercise"  # from that package: @exercise("id") marks the function that answers
START = "start"  # from it as well: lab = start("…"), and an answer may ask for lab.device
IMPORTABLE = ("methods", "planning", "helpdesk")  # packages that an answer may import
# What decides the marks beside the notebooks: files, or folders with all their Python files.
ENGINE, LOCK = "grading", "constraints.txt"
DECISIVE = (ENGINE, "labs/checks", "labs/methods", "labs/course", "labs/planning", LOCK)


# Labs and exercises -------------------------------------------------------------------------------


def notebooks() -> dict[str, Path]:
    """The published notebooks, by the names of their labs: "01_sft" and so on."""
    return {path.stem: path for path in sorted(LABS.glob("[0-9][0-9]_*.ipynb"))}


def parameters(id: str) -> list[str]:
    """The names of the parameters that the exercise's function must have."""
    return list(inspect.signature(find(id).reference).parameters)


def complaint(error: Exception, check: Check) -> str:
    """What to tell a learner whose answer made a check raise this error."""
    return one_line(explain(error, None, check))


# Digests ------------------------------------------------------------------------------------------


def digest_of_files(*names: str) -> str:
    """The SHA-256 of files of the repository; a folder stands for all Python files below it."""
    paths = [
        path for name in names for path in (sorted((ROOT / name).rglob("*.py")) or [ROOT / name])
    ]
    return sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


def digest_of_all_that_decides_marks() -> str:
    """The SHA-256 of the grader, the course and the published notebooks: no run may change them."""
    published = (str(path.relative_to(ROOT)) for path in notebooks().values())
    return digest_of_files(*DECISIVE, *published)


@cache
def digest_of_checks(id: str) -> str:
    """The SHA-256 of what an exercise's verdicts depend on.

    That is the module of its checks, the modules of checks which that one imports, and the module
    of its reference.
    """
    names, found = [f"labs/checks/{id.partition('.')[0]}.py"], []
    while names:
        if (name := names.pop()) not in found:
            found.append(name)
            text = (ROOT / name).read_text("utf-8")
            uses = re.findall(r"^from checks\.(\w+) import", text, re.MULTILINE)
            names += [f"labs/checks/{module}.py" for module in uses]
    reference = find(id).reference.__module__.replace(".", "/")
    return digest_of_files(*sorted(found), f"labs/{reference}.py")


# Models -------------------------------------------------------------------------------------------


def recipe_of(value) -> str | None:
    """The name of the recipe that made a model; None for a value that no recipe made."""
    return getattr(value, "recipe", None)


def make_models() -> dict[str, "nn.Module"]:
    """A model from each recipe, by the recipe's name."""
    return {name: make() for name, make in models.RECIPES.items()}


# The capstone -------------------------------------------------------------------------------------


def examine_adapter(folder: Path, word: str) -> tuple["capstone.Report | None", str]:
    """What an adapter in a folder is worth on hidden tickets, or else what is wrong with it.

    Raises GradingError where the course's own base cannot be loaded, which is no learner's fault.
    """
    from experiments import capstone  # it needs the experiments, which nothing else here does
    from helpdesk.base import BaseError
    from methods.targets import AdapterError
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    try:
        return capstone.examine(folder, word), ""
    except BaseError as error:
        raise GradingError(str(error)) from None
    except AdapterError as error:
        return None, one_line(str(error), 300)
    except Exception as error:  # what a library makes of a strange file must not stop the others
        return None, one_line(
            f"it could not be examined ({type(error).__name__}: {error}): save the adapter again "
            "with adapter_files.save",
            300,
        )


# Solutions ----------------------------------------------------------------------------------------


def place_of_solution(id: str) -> list[str]:
    """Where a worker finds the exercise's solution: module and name."""
    reference = find(id).reference
    return [reference.__module__, reference.__qualname__]


def solution_at(place: list[str]) -> types.FunctionType:
    module, name = place
    return getattr(importlib.import_module(module), name)


def withhold(solution: types.FunctionType) -> None:
    """Make the solution refuse every call in this process, under whatever name it is called."""
    inspect.unwrap(solution).__code__ = refuse.__code__


def load_importable_packages() -> None:
    """Import all that answers may import: in the sandbox, the course's files cannot be read."""
    for name in IMPORTABLE:
        for module in pkgutil.iter_modules(importlib.import_module(name).__path__):
            importlib.import_module(f"{name}.{module.name}")
