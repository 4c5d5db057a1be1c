"""The options of a grading run, known to pytest before it looks at anything.

They cannot stand in conftest.py: as long as pytest does not know an option, it takes the folder
behind it for one with tests, and runs the conftest.py that somebody handed in there.
"""

from pathlib import Path

from .sandbox import TIERS


def pytest_addoption(parser):
    group = parser.getgroup("grading")
    group.addoption(
        "--submissions", type=Path, help="a folder of submitted notebooks, or one of them"
    )
    group.addoption(
        "--results",
        type=Path,
        help="where everything goes (the folder's name with .graded behind it)",
    )
    group.addoption("--require-tier", choices=TIERS, help="refuse to grade in a weaker sandbox")
    group.addoption(
        "--seed-secret",
        type=Path,
        help="a file; who knows its content knows the inputs of the checks",
    )
    group.addoption(
        "--policy",
        choices=("latest", "best"),
        default="latest",
        help="which of several submissions of one learner for one lab counts",
    )
    group.addoption("--notebook", type=Path, help="your own notebook, to see what its checks say")
