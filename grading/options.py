"""The options of a grading run: what the command line and pytest share, and pytest's own.

pytest must know them before it looks at its arguments, so this module is a plugin of its own: an
unknown option makes pytest take its value for a test folder and run a learner's conftest.py.
"""

import argparse
import re
from collections.abc import Callable
from pathlib import Path

from .records.counting import POLICIES
from .sandbox.tiers import TIERS

MAX_PARTS = 1000
Part = tuple[int, int]  # which, from 1, and of how many


def read_part(text: str) -> Part:
    """The part that an option names, such as 3/10; argparse and pytest print the complaint."""
    match = re.fullmatch(r"(\d{1,4})/(\d{1,4})", text)
    number, of = map(int, match.groups()) if match else (0, 0)
    if not 1 <= number <= of <= MAX_PARTS:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no part: write which and of how many, as in 3/10, up to {MAX_PARTS}"
        )
    return number, of


SHARED = {
    "--results": {
        "type": Path,
        "help": "where the results go (default: the folder's name with .graded appended)",
    },
    "--part": {
        "type": read_part,
        "metavar": "K/N",
        "help": "grade only the K-th of N parts of the folder, as in 3/10: the others are left to "
        "other machines",
    },
    "--require-tier": {"choices": TIERS, "help": "refuse to grade in a weaker sandbox"},
    "--seed-secret": {
        "type": Path,
        "help": "a file with a secret from which the checks' inputs are drawn, the same on all "
        "machines (default: a secret made for this folder)",
    },
    "--policy": {
        "choices": POLICIES,
        "default": POLICIES[0],
        "help": "which of several submissions by one learner for one lab counts (default: "
        "%(default)s)",
    },
}


def add_shared_options(add: Callable) -> None:
    """Declare the shared options with argparse's add_argument or pytest's addoption."""
    for name, settings in SHARED.items():
        add(name, **settings)


def default_results(folder: Path, part: Part | None = None) -> Path:
    """Where the results go: beside the folder, and those of a part to a folder of their own."""
    if part is None:
        return folder.with_name(f"{folder.name}.graded")
    return folder_of_parts(folder) / f"{part[0]}-of-{part[1]}"


def folder_of_parts(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.parts")


def pytest_addoption(parser):
    group = parser.getgroup("grading")
    group.addoption(
        "--submissions", type=Path, help="a folder of submitted notebooks, or one of them"
    )
    group.addoption("--notebook", type=Path, help="your own notebook, to see what its checks say")
    add_shared_options(group.addoption)
