"""The options of a grading run: what the command line and pytest share, and pytest's own.

pytest must know them before it looks at its arguments, so this module is a plugin of its own: an
unknown option makes pytest take its value for a test folder and run a learner's conftest.py.
"""

from collections.abc import Callable
from pathlib import Path

from .records.counting import POLICIES
from .sandbox.tiers import TIERS

SHARED = {
    "--results": {
        "type": Path,
        "help": "where the results go (default: the folder's name with .graded appended)",
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


def default_results(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.graded")


def pytest_addoption(parser):
    group = parser.getgroup("grading")
    group.addoption(
        "--submissions", type=Path, help="a folder of submitted notebooks, or one of them"
    )
    group.addoption("--notebook", type=Path, help="your own notebook, to see what its checks say")
    add_shared_options(group.addoption)
